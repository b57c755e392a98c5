"""Latent traversals: what each code does to the picture."""

from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from infogan.callbacks.generation import fixed_latents
from infogan.errors import check_at_least
from infogan.latents import code_names
from infogan.loggers import log_picture
from infogan.loggers.reach import run_folder
from infogan.modules.gan import GANModule
from infogan.pictures.grids import (
    annotate,
    save_animation,
    save_png,
    side_by_side,
    tile,
    to_bytes,
)


class LatentTraversal(pl.Callback):
    """Draw the paper's grid of every code: fixed noise draws across, the code's values down.

    The pictures go to `traversals/` in the run folder and to every logger that takes images; at the
    end of `fit` there are an overview of all codes and an animation of it over the epochs.

    Args:
        every_n_epochs: Epochs between two sets of grids; 0 turns the callback off.
        num_columns: Noise draws across.
        num_values: Values of a continuous code down; a discrete code shows all of its own.
        seed: Seed of the noise draws, fixed so that grids compare across epochs and runs.
        scale: Screen pixels per image pixel.
    """

    def __init__(
        self,
        every_n_epochs: int = 1,
        num_columns: int = 10,
        num_values: int = 10,
        seed: int = 0,
        scale: int = 2,
    ) -> None:
        check_at_least(
            every_n_epochs=(every_n_epochs, 0),
            num_columns=(num_columns, 1),
            num_values=(num_values, 1),
            scale=(scale, 1),
        )
        self.every_n_epochs = every_n_epochs
        self.num_columns = num_columns
        self.num_values = num_values
        self.seed = seed
        self.scale = scale

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw, save and log the grids of this epoch."""
        due = self.every_n_epochs and (trainer.current_epoch + 1) % self.every_n_epochs == 0
        folder = run_folder(trainer)
        if due and trainer.is_global_zero and folder is not None:
            assert isinstance(pl_module, GANModule)
            self.draw(trainer, pl_module, folder)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write `overview.png`, rows in the order of the classes, and `overview.gif`."""
        folder = run_folder(trainer)
        if not (self.every_n_epochs and trainer.is_global_zero and folder is not None):
            return
        assert isinstance(pl_module, GANModule)
        overview = side_by_side(list(self.grids(pl_module, by_class=True).values()))
        save_png(folder / "overview.png", overview)
        said = "; ".join(f"{name}: {sets}" for name, sets in pl_module.code_captions.items())
        log_picture(trainer.loggers, "overview", overview, trainer.global_step, caption=said)
        frames = sorted(folder.glob("traversals/step_*/overview.png"))
        if frames:
            save_animation(folder / "overview.gif", frames, seconds=6.0)

    def draw(self, trainer: pl.Trainer, module: GANModule, folder: Path) -> None:
        """Save and log one grid a code and their overview."""
        grids = self.grids(module)
        step_folder = folder / "traversals" / f"step_{trainer.global_step:08d}"
        for name, picture in grids.items():
            save_png(step_folder / f"{name}.png", picture)
            log_picture(trainer.loggers, f"traversal/{name}", picture, trainer.global_step)
        save_png(step_folder / "overview.png", side_by_side(list(grids.values())))

    def grids(self, module: GANModule, by_class: bool = False) -> dict[str, np.ndarray]:
        """Return the labelled grid of every code by its name; of plain samples without codes.

        Args:
            module: The module whose generator draws.
            by_class: Order a categorical code's rows by the classes that its categories name.
        """
        names = code_names(module.latents.codes)
        base = fixed_latents(module.latents, self.num_values * self.num_columns, self.seed)
        if not names:
            samples = base.reshape(self.num_values, self.num_columns, -1)
            return {"samples": self.picture(module, samples, "samples", [""] * self.num_values)}
        base = base[: self.num_columns]
        pictures = {}
        for index, (name, code) in enumerate(zip(names, module.latents.codes, strict=True)):
            grid = module.latents.traverse(base, index, self.num_values)
            labels = [code.label(value) for value in code.traverse(self.num_values)]
            meanings = module.category_meanings.get(index)
            if by_class and meanings is not None:
                order = module.category_order[index]
                grid = grid[order]
                labels = [f"{meanings[row]}  (c={labels[row]})" for row in order]
            sets = module.code_captions.get(name)
            title = name if sets is None else f"{name}: {sets}"
            pictures[name] = self.picture(module, grid, title, labels)
        return pictures

    def picture(
        self, module: GANModule, latents: Tensor, title: str, labels: list[str]
    ) -> np.ndarray:
        """Generate a (rows, columns, dim) grid of latents and lay it out."""
        was_training = module.training
        module.eval()
        with torch.no_grad():
            images = module.generate(latents.flatten(0, 1))
        module.train(was_training)
        grid = to_bytes(images.unflatten(0, latents.shape[:2]))
        return annotate(tile(grid, self.scale), title, labels)
