"""A GAN that trains in about a millisecond a batch and draws from every random stream there is."""

import os
import random
import signal
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor, nn

from datamodules.base import ImageDataModule
from datamodules.factors import Factor
from datamodules.loader import TensorSource
from infogan.callbacks.last_checkpoint import LastCheckpoint
from infogan.latents import CategoricalCode, UniformCode
from infogan.loggers import RunFolder
from infogan.modules import InfoGANModule
from infogan.networks import ImageShape, NetworkFactory
from infogan.runtime.checkpoints import AtomicCheckpointIO, newest_usable
from infogan.runtime.strategies import AlternatingDDPStrategy

SEED = 11
NUM_IMAGES, BATCH_SIZE = 87, 8
BATCHES_AN_EPOCH = NUM_IMAGES // BATCH_SIZE


class SmallTrunk(nn.Module):
    """One dense layer; batch normalisation and dropout on request."""

    feature_dim = 12

    def __init__(self, num_pixels: int, noisy: bool) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(num_pixels, self.feature_dim))
        if noisy:
            self.layers.extend([nn.BatchNorm1d(self.feature_dim), nn.Dropout(0.2)])

    def forward(self, *batches: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.layers(batch).tanh() for batch in batches)


class SmallDiscriminator(nn.Module):
    def __init__(self, num_pixels: int, noisy: bool) -> None:
        super().__init__()
        self.trunk = SmallTrunk(num_pixels, noisy)
        self.head = nn.Linear(self.trunk.feature_dim, 1)

    def logits(self, features: Tensor) -> Tensor:
        return self.head(features)


class SmallNetworks(NetworkFactory):
    """Dense networks; `noisy` ones have batch normalisation and dropout."""

    def __init__(self, noisy: bool = True, unused: bool = False) -> None:
        self.noisy, self.unused = noisy, unused

    def generator(self, latent_dim: int, image_shape: ImageShape) -> nn.Module:
        hidden = [nn.BatchNorm1d(16)] if self.noisy else []
        made = nn.Sequential(
            nn.Linear(latent_dim, 16),
            *hidden,
            nn.Tanh(),
            nn.Linear(16, int(np.prod(image_shape))),
            nn.Sigmoid(),
            nn.Unflatten(1, image_shape),
        )
        if self.unused:
            made.register_parameter("unused", nn.Parameter(torch.ones(2)))
        return made

    def discriminator(self, image_shape: ImageShape) -> Any:
        return SmallDiscriminator(int(np.prod(image_shape)), self.noisy)

    def recognition_head(self, feature_dim: int, num_parameters: int) -> nn.Module:
        return nn.Linear(feature_dim, num_parameters)


class RestlessGAN(InfoGANModule):
    """Weigh the information term by draws from NumPy's and from Python's stream."""

    def generator_information_loss(self, latent: Tensor, fake_features: Tensor) -> Any:
        weight = np.random.rand() + random.random()
        return weight * super().generator_information_loss(latent, fake_features)

    def on_validation_epoch_end(self) -> None:
        super().on_validation_epoch_end()
        self.log("val/draw", float(torch.rand(())) + np.random.rand() + random.random())


class SmallData(ImageDataModule):
    """Random images of 8x8 pixels, of which an epoch of a process leaves some out."""

    factors = (Factor("class", 4, 0, 3),)
    image_shape = (1, 8, 8)

    def __init__(self, num_images: int = NUM_IMAGES, batch_size: int = BATCH_SIZE) -> None:
        super().__init__(batch_size, eval_batch_size=10)
        self.num_images = num_images

    def fingerprint(self) -> str:
        return f"small-{self.num_images}"

    def setup(self, stage: str) -> None:
        stream = torch.Generator().manual_seed(0)
        images = torch.randint(256, (self.num_images, 1, 8, 8), generator=stream).byte()
        classes = torch.randint(4, (self.num_images, 1), generator=stream).float()
        self.train_source = TensorSource(images)
        self.val_source = self.test_source = TensorSource(images[:33], classes[:33])


def gan(kind: type[InfoGANModule] = RestlessGAN, noisy: bool = True, **arguments: Any) -> Any:
    """Return a small GAN whose weights are always the same."""
    torch.manual_seed(SEED)
    defaults: dict[str, Any] = {
        "image_size": 8,
        "instance_noise_std": 0.1,
        "instance_noise_steps": 20,
    }
    return kind(
        codes=[CategoricalCode(4), UniformCode()],
        noise_dim=3,
        networks=SmallNetworks(noisy),
        **(defaults | arguments),
    )


class Stop(pl.Callback):
    """Call a function after a batch, by its step."""

    def __init__(self, step: int, function: Callable[[pl.Trainer], None]) -> None:
        self.step, self.function = step, function

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.global_step == self.step:
            self.function(trainer)


def run(
    folder: Path,
    *callbacks: pl.Callback,
    devices: int = 1,
    every_n_minutes: float | None = None,
    requeue_job: bool = True,
    max_epochs: int = 3,
    **flags: Any,
) -> InfoGANModule:
    """Train in a folder: from the start or, if there is a checkpoint, on, as `auto` does."""
    os.environ["PL_GLOBAL_SEED"] = str(SEED)
    found = newest_usable((folder / "small" / "version_0" / "checkpoints").glob("last*.ckpt"))
    resumed = {}
    if found is not None:
        rows = found[1]["loggers"]["RunFolder"]["rows"]
        resumed = {"resumed_step": found[1]["global_step"], "resumed_rows": rows}
    logger = RunFolder(str(folder), "small", "version_0", **resumed)
    best = ModelCheckpoint(
        monitor="val/code_accuracy", mode="max", filename="best", enable_version_counter=False
    )
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=devices,
        strategy=AlternatingDDPStrategy(start_method="fork") if devices > 1 else "auto",
        plugins=[AtomicCheckpointIO()],
        logger=logger,
        callbacks=[*callbacks, best, LastCheckpoint(every_n_minutes, requeue_job)],
        max_epochs=max_epochs,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
        num_sanity_val_steps=0,
        **flags,
    )
    module = gan()
    data = SmallData(NUM_IMAGES * devices)
    trainer.fit(module, datamodule=data, ckpt_path=found[0] if found else None)
    return module


class Result(NamedTuple):
    """What a run left: the checkpoint's state and the log."""

    state: dict[str, Any]
    log: list[str]


def result(folder: Path) -> Result:
    """Read what a run left, without what depends on the clock and on the place."""
    version = folder / "small" / "version_0"
    checkpoint = torch.load(version / "checkpoints" / "last.ckpt", weights_only=True)
    state = {name: checkpoint[name] for name in ("state_dict", "optimizer_states", "global_step")}
    lines = (version / "metrics.csv").read_text().splitlines()
    clock = lines[0].split(",").index("train/images_per_second")
    cells = [line.split(",") for line in lines]
    return Result(state, [",".join(row[:clock] + row[clock + 1 :]) for row in cells])


def assert_equal(first: Result, second: Result) -> None:
    """Check that two runs left the same bits and the same rows."""
    torch.testing.assert_close(first.state, second.state, rtol=0, atol=0)
    assert first.log == second.log


def in_child(function: Callable[..., Any], *arguments: Any, **named: Any) -> int:
    """Call a function in a forked process; return its exit code, negative for a signal."""
    process = start(function, *arguments, **named)
    process.join(240)
    assert process.exitcode is not None, "the process hangs"
    return process.exitcode


def start(function: Callable[..., Any], *arguments: Any, **named: Any) -> BaseProcess:
    """Start a function in a forked process that leads a process group of its own."""

    def lead() -> None:
        os.setpgrp()
        # torch takes every fork of a fork for one with a GPU, of which there is none here.
        setattr(torch.cuda, "_is_in_bad_fork", lambda: False)  # noqa: B010
        function(*arguments, **named)

    process = get_context("fork").Process(target=lead)
    process.start()
    return process


def die(*_: Any) -> None:
    """End this process as the kernel does when memory or power is gone."""
    os.kill(os.getpid(), signal.SIGKILL)
