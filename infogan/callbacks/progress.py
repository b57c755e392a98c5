"""What a person sees while a run goes on and when it ends."""

import json
import math
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ModelSummary, TQDMProgressBar
from pytorch_lightning.utilities import rank_zero_info
from torch import Tensor

from infogan.data import data_of
from infogan.files import write_file
from infogan.loggers import log_summary
from infogan.loggers.reach import run_folder
from infogan.version import program

SHOWN = {
    "D": "train/discriminator_loss",
    "G": "train/generator_loss",
    "MI": "train/mi",
    "acc": "val/code_accuracy",
}


class LossProgressBar(TQDMProgressBar):
    """Show the run's time left, both losses, the mutual information (nats) and the code accuracy.

    Args:
        refresh_rate: Batches between two refreshes; 0 turns the bar off.
        leave: Keep the finished epochs' bars on the screen.
    """

    def __init__(self, refresh_rate: int = 10, leave: bool = False) -> None:
        super().__init__(refresh_rate=refresh_rate, leave=leave)
        self.started: float | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock, also of a resumed run."""
        super().on_train_start(trainer, pl_module)
        self.started, self.first_step = time.perf_counter(), trainer.global_step

    def time_left(self, trainer: pl.Trainer) -> str | None:
        """Return the time left of the whole run at its rate so far, validations included.

        None before the first batch, outside of a training, and for one without an end.
        """
        if self.started is None or not trainer.training:
            return None
        done = trainer.global_step - self.first_step
        num_batches = trainer.estimated_stepping_batches
        if done < 1 or math.isinf(num_batches):
            return None
        seconds_a_batch = (time.perf_counter() - self.started) / done
        left = max(0, num_batches - trainer.global_step) * seconds_a_batch
        return str(timedelta(seconds=round(left)))

    def get_metrics(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """Return the bar's figures, short names first."""
        metrics, left = trainer.callback_metrics, self.time_left(trainer)
        shown = {short: f"{metrics[key]:.3f}" for short, key in SHOWN.items() if key in metrics}
        return {**({} if left is None else {"left": left}), **shown}


class NetworkSummary(ModelSummary):
    """Print the networks and their weights, in place of Lightning's table.

    That one counts operations, which it can of no module with several networks.
    """

    @staticmethod
    def summarize(
        summary_data: list[tuple[str, list[str]]],
        total_parameters: int,
        *_: Any,
        **__: Any,
    ) -> None:
        """Print a line a network, and the number of all weights."""
        columns = dict(summary_data)
        rows = zip(columns["Name"], columns["Type"], columns["Params"], strict=True)
        lines = [f"{name:<20}  {kind:<20}  {number:>7}" for name, kind, number in rows]
        rank_zero_info("\n".join([*lines, f"{total_parameters:,} weights"]))


class RunSummary(pl.Callback):
    """Say at the end where everything is; write it to `summary.json` and the trackers.

    Args:
        monitor: Value whose best is reported; higher is better.
    """

    def __init__(self, monitor: str = "val/code_accuracy") -> None:
        self.monitor = monitor
        self.best: float | None = None
        self.best_step = 0
        self.duration = 0.0
        self.outcome, self.reason = "finished", ""

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self.started = time.perf_counter()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep the best monitored value."""
        value = trainer.callback_metrics.get(self.monitor)
        if value is None or trainer.sanity_checking:
            return
        if self.best is None or value.item() > self.best:
            self.best, self.best_step = value.item(), trainer.global_step

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Write the summary of a run that was stopped or interrupted."""
        self.outcome = getattr(exception, "outcome", "interrupted")
        self.reason = str(exception)
        if hasattr(self, "started"):
            self.finish(trainer)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write and print the summary."""
        if trainer.is_global_zero:
            summary = self.finish(trainer)
            print(self.text(summary), flush=True)

    def finish(self, trainer: pl.Trainer) -> dict[str, Any]:
        """Return the summary, having written it to the run folder and the trackers."""
        duration = self.duration + time.perf_counter() - self.started
        folder = run_folder(trainer)
        summary = {
            "outcome": self.outcome,
            "reason": self.reason,
            "steps": trainer.global_step,
            "duration_seconds": round(duration, 1),
            "precision": trainer.precision,
            "run_folder": None if folder is None else str(folder),
            # What val/ is measured on; runs without this entry validated on the test images.
            "val_split": data_of(trainer).val_split,
            "best_step": self.best_step,
            **({f"best/{self.monitor}": self.best} if self.best is not None else {}),
            **{f"last/{name}": value for name, value in plain(trainer.callback_metrics).items()},
        }
        if trainer.is_global_zero and folder is not None:
            write_file(folder / "summary.json", json.dumps(summary, indent=2) + "\n")
            log_summary(trainer.loggers, summary)
        return summary

    def text(self, summary: dict[str, Any]) -> str:
        """Return the summary as the lines that a person reads at the end."""
        minutes, seconds = divmod(round(summary["duration_seconds"]), 60)
        lines = [f"{summary['steps']} batches in {minutes} min {seconds} s"]
        if self.best is not None:
            lines.append(f"best {self.monitor}  {self.best:.4f} at step {self.best_step}")
        if summary["run_folder"] is not None:
            folder = Path(summary["run_folder"])
            lines.append(f"run folder  {folder}")
            lines += [f"overview    {p}" for p in (folder / "overview.png",) if p.is_file()]
            checkpoint = folder / "checkpoints" / "last.ckpt"
            if checkpoint.is_file():
                command = "infogan" if program() == "infogan" else f"python {program()}"
                lines.append(f"next        {command} test --ckpt_path {checkpoint}, or explore")
        return "\n".join(lines)

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run goes on from."""
        elapsed = time.perf_counter() - self.started if hasattr(self, "started") else 0.0
        return {
            "best": self.best,
            "best_step": self.best_step,
            "duration": self.duration + elapsed,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.best, self.best_step = state_dict["best"], state_dict["best_step"]
        self.duration = state_dict["duration"]


def plain(metrics: Mapping[str, Tensor]) -> dict[str, float]:
    """Return metrics as Python numbers."""
    return {name: float(value) for name, value in metrics.items() if name != "step"}
