"""What a trainer's settings leave open is chosen by the machine; what cannot be is one line."""

from collections.abc import Callable

import pytest
import pytorch_lightning as pl
import yaml
from torch import nn

from infogan.errors import ConfigurationError
from infogan.runtime.settings import check_precision
from infogan.runtime.strategies import check_derivatives
from tests.conftest import TINY, Outcome

Command = Callable[..., Outcome]
FIT = ("fit", "--config", "infogan_mnist.yaml", *TINY)


@pytest.fixture
def eight_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Lightning see eight GPUs."""
    for place in ("lightning_fabric.accelerators.cuda", "pytorch_lightning.accelerators.cuda"):
        monkeypatch.setattr(f"{place}.num_cuda_devices", lambda: 8)


@pytest.mark.parametrize(
    ("options", "num_devices"),
    [
        ((), 1),
        (("--config", "ddp.yaml"), 8),
        (("--config", "multi_node.yaml"), 8),
        (("--trainer.devices=4",), 4),
        (("--trainer.devices=auto",), 8),
    ],
)
def test_a_run_takes_one_device_unless_it_is_told_otherwise(
    command: Command, eight_gpus: None, options: tuple[str, ...], num_devices: int
) -> None:
    """On a machine of eight, the same command would be another experiment."""
    outcome = command("fit", "--config", "infogan_mnist.yaml", *options, "--print_config")
    settings = yaml.safe_load(outcome.out)["trainer"]
    trainer = pl.Trainer(
        accelerator="gpu", devices=settings["devices"], logger=False, strategy="auto"
    )
    assert trainer.num_devices == num_devices


@pytest.mark.parametrize(
    ("precision", "way_out"), [("bf16-true", "bf16-mixed"), ("16-true", "16-mixed")]
)
def test_weights_in_half_precision_are_refused(
    command: Command, precision: str, way_out: str
) -> None:
    outcome = command(*FIT, f"--trainer.precision={precision}")
    (line,) = outcome.errors
    assert outcome.code == 2
    assert f"trainer.precision={precision} is refused" in line and f"use {way_out}" in line


def test_mixed_and_full_precisions_pass() -> None:
    for precision in (None, 16, "16-mixed", "bf16", "bf16-mixed", 32, "32-true", "64-true"):
        check_precision(precision)


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("val_check_interval=0", "val_check_interval=0 must be at least 1"),
        ("check_val_every_n_epoch=0", "check_val_every_n_epoch=0 must be at least 1"),
        ("val_check_interval=3", "(3) must be less than or equal to the number of the training"),
    ],
)
def test_wrong_intervals_are_one_line(command: Command, option: str, words: str) -> None:
    outcome = command(*FIT, f"--trainer.{option}")
    (line,) = outcome.errors
    assert outcome.code == 2 and words in line and "limit_val_batches" in line


def test_synchronised_layers_are_not_differentiated_twice() -> None:
    """They have no double backward: https://github.com/pytorch/pytorch/issues/61222."""

    class Game(nn.Module):
        def __init__(self, r1_weight: float) -> None:
            super().__init__()
            self.r1_weight = r1_weight
            self.norm = nn.SyncBatchNorm(2)

    check_derivatives(Game(0.0))
    with pytest.raises(ConfigurationError, match=r"r1_weight=0.5 with trainer.sync_batchnorm=true"):
        check_derivatives(Game(0.5))
    alone = Game(0.5)
    alone.norm = nn.BatchNorm1d(2)  # type: ignore[assignment]
    check_derivatives(alone)
