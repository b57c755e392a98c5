"""Codes against factors, as validation and test log and draw them."""

from collections.abc import Callable
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from PIL import Image
from pytorch_lightning.loggers import CSVLogger

from infogan.callbacks.disentanglement import Disentanglement
from infogan.modules import GANModule, VanillaGANModule
from tests.support.stripes import known_gan, stripe_data

Build = Callable[..., GANModule]
MakeTrainer = Callable[..., pl.Trainer]


def test_validation_logs_mig_and_test_all(
    build: Build, trainer: MakeTrainer, tmp_path: Path
) -> None:
    """Q, which knows the class, scores 1; the picture is written by the test alone."""
    data, module = stripe_data(tmp_path, val_size=80), known_gan(build)
    made = trainer(callbacks=[Disentanglement()], logger=CSVLogger(tmp_path, "run"))
    (validated,) = made.validate(module, datamodule=data, verbose=False)
    picture = tmp_path / "run" / "version_0" / "information_real.png"
    assert validated["val/mig"] == pytest.approx(1)
    assert not any("sap" in name for name in validated) and not picture.exists()
    (tested,) = made.test(module, datamodule=data, verbose=False)
    assert tested["test/mig"] == pytest.approx(1)
    assert tested["test/sap"] == pytest.approx(0.75)
    assert {"test/dci_informativeness", "test/joint_information"} <= tested.keys()
    assert Image.open(picture).width > 100


def test_less_where_it_shall_cost_nothing(
    build: Build, trainer: MakeTrainer, tmp_path: Path
) -> None:
    made = trainer(callbacks=[Disentanglement(only_mig=True, cell=0)], logger=False)
    (tested,) = made.test(known_gan(build), datamodule=stripe_data(tmp_path), verbose=False)
    assert "test/mig" in tested and "test/sap" not in tested
    assert not list(tmp_path.glob("**/*.png"))


def test_a_gan_without_q_is_passed_over(build: Build, trainer: MakeTrainer, tmp_path: Path) -> None:
    module = known_gan(build, kind=VanillaGANModule)
    made = trainer(callbacks=[Disentanglement()], logger=False)
    (tested,) = made.test(module, datamodule=stripe_data(tmp_path), verbose=False)
    assert "test/mig" not in tested


def test_a_second_test_forgets_the_first(
    build: Build, trainer: MakeTrainer, tmp_path: Path
) -> None:
    data, disentanglement = stripe_data(tmp_path), Disentanglement(cell=0)
    made = trainer(callbacks=[disentanglement], logger=False)
    made.test(known_gan(build), datamodule=data, verbose=False)
    blind = known_gan(build)
    blind.recognition_head = torch.nn.Linear(64, 4)
    (tested,) = made.test(blind, datamodule=data, verbose=False)
    assert tested["test/mig"] < 0.9


def test_wrong_options() -> None:
    with pytest.raises(ValueError, match="cell must be at least 0, got -1"):
        Disentanglement(cell=-1)
