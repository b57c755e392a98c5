"""Checkpoints: going on within an epoch, fresh processes, other architectures."""

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor

from infogan.latents import BernoulliCode, CategoricalCode, NormalCode, UniformCode
from infogan.modules import EncoderLossModule, GANModule, InfoGANModule, VanillaGANModule
from infogan.networks import ReferenceNetworks
from tests import ROOT

Build = Callable[..., GANModule]
Batches = Callable[..., list[Tensor]]
Fit = Callable[..., pl.Trainer]
State = dict[str, Tensor]


def changed(before: State, after: State) -> set[str]:
    """Return the names of the tensors that are not bit-identical."""
    return {name for name in before if not torch.equal(before[name], after[name])}


class SaveAt(pl.Callback):
    """Saves a checkpoint after a batch, in the middle of an epoch."""

    def __init__(self, path: Path, step: int) -> None:
        self.path, self.step = path, step

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Save at the step."""
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)


def test_a_run_resumed_within_an_epoch_equals_the_uninterrupted(
    tmp_path: Path, build: Build, batches: Batches, fit: Fit
) -> None:
    """On a loader whose batches are all alike, the weights after a resume are bit-identical."""
    images, path = batches() * 4, tmp_path / "middle.ckpt"
    settings = {"instance_noise_std": 0.2, "instance_noise_steps": 3}
    whole, rest = build(**settings), build(**settings)
    fit(whole, images, callbacks=[SaveAt(path, step=2)])
    trainer = fit(rest, images, ckpt=path)
    assert trainer.global_step == 4
    assert not changed(whole.state_dict(), rest.state_dict())


class HalfUniformCode(UniformCode):
    """A code of a user's own."""


RELOAD = """
import sys, torch
from infogan.modules import EncoderLossModule
module = EncoderLossModule.load_from_checkpoint(sys.argv[1], weights_only=True).eval()
torch.set_num_threads(1)
latent = torch.linspace(-1, 1, 2 * module.latents.dim).reshape(2, -1)
with torch.no_grad():
    print(repr((module.hparams.mi_weight, module.latents, module.networks)))
    print(module.generate(latent).double().sum().item())
"""


@pytest.mark.integration
def test_checkpoints_load_in_a_fresh_process(
    tmp_path: Path, build: Build, batches: Batches, fit: Fit
) -> None:
    """A module made in Python loads without its settings, with weights_only=True."""
    path = tmp_path / "module.ckpt"
    module = build(
        EncoderLossModule,
        codes=[CategoricalCode(3), UniformCode(learn_std=True), NormalCode(), BernoulliCode()],
        mi_weight=0.25,
        mi_gradient_to=("trunk", "head"),
        networks=ReferenceNetworks(leaky_slope=0.2),
        generator_optimizer=partial(torch.optim.Adam, lr=1e-3, betas=(0.5, 0.9)),
        discriminator_optimizer=lambda parameters: torch.optim.SGD(parameters, 1e-3),
    )
    fit(module, batches()).save_checkpoint(path)
    command = [sys.executable, "-c", RELOAD, str(path)]
    root = ROOT
    printed = subprocess.run(command, capture_output=True, text=True, cwd=root, check=True).stdout
    settings, total = printed.splitlines()
    assert settings == repr((0.25, module.latents, module.networks))
    latent = torch.linspace(-1, 1, 2 * module.latents.dim).reshape(2, -1)
    with torch.no_grad():
        expected = module.eval().generate(latent).double().sum().item()
    assert float(total) == pytest.approx(expected, rel=1e-6)


def test_checkpoints_hold_codes_of_ones_own(
    tmp_path: Path, build: Build, batches: Batches, fit: Fit
) -> None:
    """A subclass of a code is known to the safe loader as soon as it is defined."""
    path = tmp_path / "module.ckpt"
    module = build(codes=[HalfUniformCode(low=0.0)])
    fit(module, batches()).save_checkpoint(path)
    loaded = InfoGANModule.load_from_checkpoint(path, weights_only=True)
    assert loaded.latents == module.latents
    assert isinstance(loaded.latents.codes[0], HalfUniformCode)
    assert not changed(module.state_dict(), loaded.state_dict())


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"image_size": 12}, ("trunk.dense.weight", "512", "1152")),
        ({"codes": [CategoricalCode(4)]}, ("generator.dense.0.weight", "(1024, 8)", "(1024, 7)")),
        ({"kind": VanillaGANModule}, ("recognition_head", "absent")),
        (
            {"networks": ReferenceNetworks(spectral_normalization=True)},
            ("discriminator", "absent"),
        ),
    ],
    ids=["size", "codes", "no Q", "spectral"],
)
def test_checkpoints_of_another_architecture_are_refused(
    other: dict[str, Any],
    words: tuple[str, ...],
    tmp_path: Path,
    build: Build,
    batches: Batches,
    fit: Fit,
) -> None:
    """One line names the first tensor that differs, and both shapes."""
    path = tmp_path / "module.ckpt"
    fit(build(), batches()).save_checkpoint(path)
    module = build(**other)
    with pytest.raises(ValueError, match="checkpoint of another architecture") as error:
        fit(module, batches(shape=module.image_shape), ckpt=path)
    message = str(error.value)
    assert "\n" not in message
    assert all(word in message for word in words)
