"""Callbacks that keep a tiny run going long enough to be disturbed."""

import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl


class Pace(pl.Callback):
    """Take so many seconds a batch; note the step and the rank in a file of the working directory.

    Args:
        seconds: Time to wait after each batch.
        path: The file, `RANK.step` below this folder.
    """

    def __init__(self, seconds: float = 0.0, path: str = "steps") -> None:
        self.seconds, self.path = seconds, path

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Wait."""
        Path(self.path).mkdir(exist_ok=True)
        (Path(self.path) / f"{trainer.global_rank}.step").write_text(str(trainer.global_step))
        time.sleep(self.seconds)
