"""The small GAN, made to go wrong; in this process, and on two ranks."""

import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor
from torch.utils.data import DataLoader

from infogan.callbacks.collapse import CollapseStopping
from infogan.callbacks.nan_stopping import NonFiniteStopping
from infogan.callbacks.stopping import RunStoppedError
from infogan.latents import CategoricalCode
from infogan.modules.gan import GANModule, VanillaGANModule
from infogan.modules.infogan import InfoGANModule
from tests.support.resumable import SmallNetworks, start

NAN, INFINITY = float("nan"), float("inf")
BATCH_SIZE = 16
BAD_STEP = 3


def bars() -> Tensor:
    """Return 256 images of 8x8 pixels: a bar at one of four places, in varying gray."""
    generator = torch.Generator().manual_seed(0)
    gray = 0.5 + 0.5 * torch.rand(256, 1, 8, 2, generator=generator)
    images = torch.zeros(256, 1, 8, 4, 2)
    images[torch.arange(256), :, :, torch.arange(256) % 4] = gray
    return images.flatten(3)


def fit(
    module: GANModule,
    *callbacks: pl.Callback,
    steps: int = 8,
    images: Tensor | None = None,
    ckpt_path: Path | None = None,
    **kwargs: Any,
) -> pl.Trainer:
    """Train for a few batches on the CPU, in the order of the images."""
    trainer = pl.Trainer(
        accelerator="cpu",
        max_steps=steps,
        callbacks=list(callbacks),
        enable_checkpointing=any(isinstance(c, ModelCheckpoint) for c in callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=2,
        **{"devices": 1, "logger": False, **kwargs},
    )
    data: Any = bars() if images is None else images
    trainer.fit(module, DataLoader(data, BATCH_SIZE), ckpt_path=ckpt_path)
    return trainer


class Poisoned(InfoGANModule):
    """Add a poison to the loss of one network, in one batch of one rank."""

    def __init__(self, network: str = "", poison: float = NAN, rank: int = 0, **kwargs: Any):
        small: dict[str, Any] = {"image_size": 8, "networks": SmallNetworks(noisy=False)}
        super().__init__(codes=[CategoricalCode(4)], noise_dim=4, **small, **kwargs)
        self.poison, self.poisoned_network, self.poisoned_rank = poison, network, rank
        self.before: dict[str, Tensor] = {}

    def poisoned(self, network: str, loss: Any) -> Any:
        if self.poisoned_network != network or self.global_step != BAD_STEP:
            return loss
        self.before = {name: value.detach().clone() for name, value in self.named_parameters()}
        return loss + self.poison if self.global_rank == self.poisoned_rank else loss

    def discriminator_information_loss(self, *args: Any) -> Any:
        return self.poisoned("discriminator", super().discriminator_information_loss(*args))

    def generator_information_loss(self, *args: Tensor) -> Any:
        return self.poisoned("generator", super().generator_information_loss(*args))

    def poison_gradient(self, name: str, poison: float) -> None:
        """Replace one entry of one parameter's gradient, with all losses finite."""

        def replace(gradient: Tensor) -> Tensor:
            if self.global_step != BAD_STEP:
                return gradient
            gradient = gradient.clone()
            gradient[(0,) * gradient.ndim] = poison
            return gradient

        self.get_parameter(name).register_hook(replace)

    def assert_untouched(self) -> None:
        """Check that all weights are finite and have the bits from before the bad update."""
        assert self.before
        for name, value in self.named_parameters():
            assert value.isfinite().all(), name
            assert torch.equal(value, self.before[name]), name


def gan(**kwargs: Any) -> VanillaGANModule:
    """Return a small GAN without codes."""
    torch.manual_seed(0)
    networks = SmallNetworks(noisy=False)
    return VanillaGANModule([], noise_dim=8, image_size=8, **{"networks": networks, **kwargs})


class Script(pl.Callback):
    """Overwrite what the module records: D has won in the batches that `is_bad` names."""

    def __init__(self, is_bad: Callable[[int], bool]) -> None:
        self.is_bad = is_bad

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any
    ) -> None:
        assert isinstance(pl_module, VanillaGANModule)
        d_fake = 0.0 if self.is_bad(trainer.global_step) else 0.4
        pl_module.record(d_real=torch.tensor(0.6), d_fake=torch.tensor(d_fake))


def saver(folder: Path) -> ModelCheckpoint:
    """Save every 2 batches, and what an exception leaves behind."""
    return ModelCheckpoint(folder, every_n_train_steps=2, save_last=True, save_on_exception=True)


# ---- two processes -----------------------------------------------------------------------------


def run_on_two_ranks(scenario: Callable[[Path], None], folder: Path) -> list[tuple[int, str]]:
    """Run a scenario on two forked ranks; return each one's exit code and why it stopped."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    reasons = [folder / f"stopped{rank}" for rank in range(2)]

    def run(rank: int) -> None:
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        os.environ["LOCAL_RANK"] = str(rank)
        try:
            scenario(folder)
        except RunStoppedError as stopped:
            reasons[rank].write_text(str(stopped))
            sys.exit(3)

    ranks = [start(run, rank) for rank in range(2)]
    try:
        for process in ranks:
            process.join(240)
    finally:
        for process in ranks:
            process.kill()
    return [(r.exitcode or 0, why.read_text()) for r, why in zip(ranks, reasons, strict=True)]


def meet_nan_on_second_rank(folder: Path) -> None:
    """Add NaN to G's loss: its gradient stays finite, so nothing tells the first rank."""
    module = Poisoned("generator", NAN, rank=1)
    try:
        fit(module, NonFiniteStopping(), saver(folder), **TWO_RANKS)
    finally:
        module.assert_untouched()


def let_discriminator_win(folder: Path) -> None:
    """Let D win on the first rank from the start, on the second from step 5."""
    module = gan()
    script = Script(lambda step: module.global_rank == 0 or step >= 5)
    fit(module, script, CollapseStopping(window=2, warmup_steps=0, every_n_steps=2), **TWO_RANKS)


TWO_RANKS: dict[str, Any] = {"strategy": "ddp_find_unused_parameters_true", "devices": 2}
