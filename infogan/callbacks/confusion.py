"""What the categories that Q reads stand for: categories against classes, as a picture."""

import numpy as np
import pytorch_lightning as pl

from infogan.data import DataFactor
from infogan.errors import check_at_least
from infogan.latents import code_names
from infogan.loggers import log_picture
from infogan.loggers.reach import run_folder
from infogan.metrics.codes import class_order
from infogan.modules.infogan import InfoGANModule
from infogan.pictures.grids import save_png
from infogan.pictures.matrix import confusion_matrix_picture


class ConfusionMatrix(pl.Callback):
    """Draw how often Q reads each category from the images of each class, at the end.

    One picture a categorical code, of the newest validation (or of the test): rows are categories,
    in the order of the classes that they name, columns are classes. It goes to the run folder as
    `confusion_CODE.png` and to every logger that takes images.

    Args:
        cell: Side of a cell in screen pixels; 0 turns the callback off.
    """

    def __init__(self, cell: int = 44) -> None:
        check_at_least(cell=(cell, 0))
        self.cell = cell

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw the newest validation."""
        self.draw(trainer, pl_module)

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw the test."""
        self.draw(trainer, pl_module)

    def draw(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Save and log the picture of every code that was matched to a factor."""
        folder = run_folder(trainer)
        if not (self.cell and trainer.is_global_zero and folder is not None):
            return
        if not isinstance(module, InfoGANModule) or module.code_scores is None:
            return
        names = code_names(module.latents.codes)
        for position, (factor, counts) in module.code_scores.confusions.items():
            name = names[position]
            picture = self.picture(counts, module.category_meanings[position], name, factor)
            save_png(folder / f"confusion_{name}.png", picture)
            log_picture(trainer.loggers, f"confusion/{name}", picture, trainer.global_step)

    def picture(
        self, counts: np.ndarray, meanings: list[str], name: str, factor: DataFactor
    ) -> np.ndarray:
        """Lay out one code's counts, (categories, classes), rows in the order of the classes."""
        order = class_order(counts)
        return confusion_matrix_picture(
            counts[order],
            [f"{meanings[row]}  (c={row})" for row in order],
            [factor.called(value) for value in range(counts.shape[1])],
            title=f"{name} as Q reads it, against {factor.name}",
            column_axis=f"{factor.name}, of {counts.sum()} images",
            row_axis="category",
            cell=self.cell,
        )
