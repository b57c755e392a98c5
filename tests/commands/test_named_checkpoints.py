"""What `--ckpt_path last` and `best` stand for."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from infogan.commands.named_checkpoints import named_checkpoint
from infogan.errors import ConfigurationError
from tests.conftest import TINY, Outcome

Command = Callable[..., Outcome]
CALLBACK = "ModelCheckpoint{'monitor': 'val/code_accuracy', 'mode': 'max', 'every_n_epochs': 1}"


def save(path: Path, time: float, score: float | None, callback: str = CALLBACK) -> None:
    """Write a checkpoint of a score, at a time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    state: dict[str, Any] = {"monitor": "val/code_accuracy", "current_score": None}
    if score is not None:
        state["current_score"] = torch.tensor(score)
    callbacks = {"LastCheckpoint{}": {"monitor": None}, callback: state}
    content = {"state_dict": {}, "pytorch-lightning_version": "2.6.0", "callbacks": callbacks}
    torch.save(content, path)
    os.utime(path, (time, time))


def test_the_best_is_the_one_of_the_highest_score(tmp_path: Path) -> None:
    folder = tmp_path / "version_1" / "checkpoints"
    for step, time, score in ((100, 30, 0.8), (200, 10, 0.9), (300, 20, 0.7)):
        save(folder / f"best-step={step}.ckpt", time, score)
    save(tmp_path / "version_0/checkpoints/best-step=9.ckpt", 5, 1.0)
    assert named_checkpoint("best", tmp_path)[0].name == "best-step=200.ckpt"
    for path in folder.iterdir():  # as a copy leaves them
        os.utime(path, (40, 40))
    assert named_checkpoint("best", tmp_path)[0].name == "best-step=200.ckpt"
    (folder / "best-step=200.ckpt").write_bytes(b"PK half")
    assert named_checkpoint("best", tmp_path)[0].name == "best-step=100.ckpt"


def test_the_best_may_be_the_lowest_score(tmp_path: Path) -> None:
    lowest = CALLBACK.replace("max", "min")
    for step, score in ((100, 0.1), (200, 0.2)):
        save(tmp_path / f"v/checkpoints/best-step={step}.ckpt", step, score, lowest)
    assert named_checkpoint("best", tmp_path)[0].name == "best-step=100.ckpt"


def test_without_scores_the_best_is_the_newest(tmp_path: Path) -> None:
    for step in (100, 200):
        save(tmp_path / f"v/checkpoints/best-step={step}.ckpt", step, None)
    save(tmp_path / "v/checkpoints/best-step=150.ckpt", 150, float("nan"))
    assert named_checkpoint("best", tmp_path)[0].name == "best-step=200.ckpt"
    with pytest.raises(ConfigurationError, match=r"no last\*\.ckpt below"):
        named_checkpoint("last", tmp_path)


def test_every_verb_finds_the_same(command: Command) -> None:
    fit = ("fit", "--config=infogan_mnist.yaml", *TINY, "--trainer.max_epochs=3")
    assert command(*fit, "--name=n", "--checkpoint.save_top_k=3", "--save_dir=r").code == 0
    best, checkpoint = named_checkpoint("best", Path("r/n"))
    kept = list(Path("r/n/version_0/checkpoints").glob("best*.ckpt"))
    assert len(kept) == 3
    (state,) = [s for name, s in checkpoint["callbacks"].items() if s.get("monitor")]
    assert state["current_score"] == state["best_model_score"]
    for number, given in enumerate((str(best), "best")):
        outcome = command(
            *("sample", "--ckpt_path", given, "--name=n", "--save_dir=r"),
            *("--num_samples=2", f"--output={number}.npz"),
        )
        assert outcome.code == 0, outcome.err
    first, second = (np.load(f"{number}.npz")["images"] for number in (0, 1))
    assert np.array_equal(first, second)
    missing = command("export", "--ckpt_path=last", "--name=m", "--save_dir=r")
    assert missing.code == 2 and "no last*.ckpt below r/m (there are runs of" in missing.err
