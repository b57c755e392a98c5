"""A training that is interrupted and resumed draws what an uninterrupted one draws."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor

from datamodules import BatchLoader

NUM_IMAGES = 23


class NumberedSource:
    """Deliver, instead of images, their numbers and a draw from `rng` for each."""

    def __len__(self) -> int:
        return NUM_IMAGES

    def fetch(self, indices: Tensor, rng: np.random.Generator) -> Tensor:
        draws = torch.from_numpy(rng.integers(10**6, size=len(indices)))
        return torch.stack([indices, draws], dim=1)


class Recorder(pl.LightningModule):
    """Train nothing; remember the batches."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen: list[Any] = []
        self.validated: list[int] = []

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        self.seen.append(batch.tolist())
        return self.weight.sum()

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.validated += batch[:, 0].tolist()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class SaveEverywhere(pl.Callback):
    """Save at every hook where callbacks save; remember where and after how many batches."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.saved: dict[tuple[str, int], Path] = {}

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *_: Any) -> None:
        self._save("batch end", trainer, pl_module)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        if not trainer.sanity_checking:
            self._save("validation end", trainer, pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self._save("epoch end", trainer, pl_module)

    def _save(self, hook: str, trainer: pl.Trainer, module: Recorder) -> None:
        path = self.folder / f"{hook} {len(module.seen)}.ckpt"
        trainer.save_checkpoint(path)
        self.saved[hook, len(module.seen)] = path


def fit(callbacks: list[pl.Callback], resume_from: Path | None, **flags: Any) -> Recorder:
    module = Recorder()
    trainer = pl.Trainer(
        accelerator="cpu",
        logger=False,
        callbacks=callbacks,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **flags,
    )
    train, val = (
        BatchLoader(NumberedSource(), 4, shuffle=is_training, drop_last=is_training, seed=3)
        for is_training in (True, False)
    )
    trainer.fit(module, train, val, ckpt_path=resume_from)
    return module


@pytest.mark.parametrize(
    ("flags", "num_batches", "num_saved"),
    [
        ({"max_epochs": 3}, 15, 15 + 3 + 3),
        ({"max_epochs": 3, "limit_train_batches": 3}, 9, 9 + 3 + 3),
        ({"max_epochs": 3, "val_check_interval": 2}, 15, 15 + 6 + 3),
        ({"max_epochs": -1, "max_steps": 13}, 13, 13 + 2 + 3),
        ({"max_epochs": -1, "max_steps": 8, "limit_train_batches": 3}, 8, 8 + 2 + 3),
    ],
    ids=str,
)
def test_a_run_resumed_anywhere_draws_what_the_uninterrupted_draws(
    tmp_path: Path, flags: dict[str, Any], num_batches: int, num_saved: int
) -> None:
    checkpoints = SaveEverywhere(tmp_path)
    seen = fit([checkpoints], None, **flags).seen
    assert len(seen) == num_batches
    assert len(checkpoints.saved) == num_saved
    for (hook, done), path in checkpoints.saved.items():
        assert fit([], path, **flags).seen == seen[done:], f"resumed at {hook} {done}"


@pytest.mark.parametrize("flags", [{"max_epochs": 4}, {"max_epochs": -1, "max_steps": 18}], ids=str)
def test_a_run_resumed_again_and_again_draws_the_same(
    tmp_path: Path, flags: dict[str, Any]
) -> None:
    seen = fit([], None, **flags).seen
    stops = [("", 0), ("epoch end", 5), ("batch end", 7), ("epoch end", 10), ("epoch end", 15)]
    resume_from = None
    for (_, start), (hook, stop) in pairwise(stops):
        folder = tmp_path / f"from {start}"
        folder.mkdir()
        checkpoints = SaveEverywhere(folder)
        assert fit([checkpoints], resume_from, **flags).seen == seen[start:]
        resume_from = checkpoints.saved[hook, stop - start]
    assert fit([], resume_from, **flags).seen == seen[15:]


class ReportSeen(pl.Callback):
    """Write what each rank has seen to a file, because the ranks are other processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_fit_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        record = json.dumps([pl_module.seen, pl_module.validated])
        (self.folder / f"{trainer.global_rank}.json").write_text(record)


@pytest.mark.integration
def test_two_processes_resume_in_the_middle(tmp_path: Path) -> None:
    def fit_both(resume_from: Path | None) -> list[Any]:
        callbacks = [SaveEverywhere(tmp_path), ReportSeen(tmp_path)]
        flags = {"devices": 2, "strategy": "ddp_fork", "max_epochs": 2, "num_sanity_val_steps": 0}
        fit(callbacks, resume_from, **flags)
        return [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1)]

    whole = fit_both(None)
    numbers = [[number for batch in seen[:2] for number, _ in batch] for seen, _ in whole]
    assert len(set(numbers[0] + numbers[1])) == 16  # one epoch, two batches of four a rank
    assert whole[0][1] == 2 * list(range(0, NUM_IMAGES, 2))
    assert whole[1][1] == 2 * list(range(1, NUM_IMAGES, 2))
    resumed = fit_both(tmp_path / "batch end 3.ckpt")
    assert [seen for seen, _ in resumed] == [seen[3:] for seen, _ in whole]
