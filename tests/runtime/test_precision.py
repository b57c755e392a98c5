"""The default precision: what the hardware computes fastest, unless the config says otherwise."""

import json
from pathlib import Path

import pytest
import torch
import yaml

from infogan.runtime.precision import native_precision
from tests.commands.test_cli import FIT, RUN, Command
from tests.conftest import TINY, TINY_TEST


@pytest.mark.parametrize(
    ("accelerator", "has_gpu", "gpu_units", "cpu_units", "expected"),
    [
        ("auto", False, False, True, "bf16-mixed"),
        ("auto", False, True, False, "32-true"),
        ("auto", True, True, False, "bf16-mixed"),
        ("auto", True, False, True, "32-true"),
        ("gpu", True, True, False, "bf16-mixed"),
        ("cpu", True, True, False, "32-true"),
        ("cpu", True, False, True, "bf16-mixed"),
    ],
)
def test_the_device_that_trains_decides(
    accelerator: str,
    has_gpu: bool,
    gpu_units: bool,
    cpu_units: bool,
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    # Emulated bfloat16, which every GPU has, does not count.
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: gpu_units)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_tile": cpu_units})
    assert native_precision(accelerator) == expected


def test_fit_trains_as_the_config_says(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "infogan.commands.lightning.native_precision", lambda accelerator: "bf16-mixed"
    )
    assert command(*FIT, "--trainer.precision=32-true").code == 0
    assert json.loads(Path(RUN, "summary.json").read_text())["precision"] == "32-true"


def test_the_saved_config_and_the_checkpoint_hold_it_and_a_test_in_another_says_so(
    command: Command, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(
        "infogan.commands.lightning.native_precision", lambda accelerator: "bf16-mixed"
    )
    assert command(*FIT).code == 0
    assert json.loads(Path(RUN, "summary.json").read_text())["precision"] == "bf16-mixed"
    assert yaml.safe_load(Path(RUN, "config.yaml").read_text())["trainer"]["precision"] == (
        "bf16-mixed"
    )
    saved = str(RUN / "checkpoints/last.ckpt")
    assert torch.load(saved, weights_only=True)["precision"] == "bf16-mixed"
    quick = ("validate", "--ckpt_path", saved, "--trainer.limit_val_batches=1")
    line = "the checkpoint was trained in bf16-mixed and is used in 32-true"
    assert command(*quick).code == 0 and line not in caplog.text
    assert command(*quick, "--trainer.precision=32").code == 0 and line in caplog.text


def test_double_precision_goes_from_training_to_the_last_picture(command: Command) -> None:
    """Callbacks draw in float32, outside of Lightning's context."""
    double = "--trainer.precision=64-true"
    outcome = command("fit", "--config", "infogan_mnist.yaml", *TINY, double)
    assert outcome.code == 0, outcome.err
    checkpoint = Path("runs/infogan_mnist/version_0/checkpoints/last.ckpt")
    outcome = command("test", "--ckpt_path", str(checkpoint), *TINY_TEST, double)
    assert outcome.code == 0, outcome.err
    assert len(list(checkpoint.parent.parent.glob("traversals/*/overview.png"))) == 1
