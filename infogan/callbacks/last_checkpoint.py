"""The checkpoint to resume from: after epochs, after a time, and when the run is told to end."""

import signal
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.trainer.states import TrainerFn
from torch import distributed

from infogan.loggers.reach import run_folder
from infogan.runtime.checkpoints import keep_as_previous
from infogan.runtime.signals import RunInterruptedError, SignalFlag
from infogan.runtime.slurm import is_to_be_requeued, requeue, slurm_job

# Below every signal's number.
SAVE = 1
# How long a signal waits, about, for an answer where several ranks have to agree on it.
ANSWER_SECONDS = 0.5


class LastCheckpoint(Checkpoint):
    """Save the newest state as `last.ckpt`, and keep the one before it as `last-previous.ckpt`.

    On SIGTERM, SIGUSR1 or Ctrl-C all ranks save and end after the same batch; a resumed run gives
    the numbers of one that was never interrupted. A second signal ends the process at once.
    Several ranks agree about twice a second, in one collective of two numbers.

    Args:
        every_n_minutes: Minutes between two checkpoints within an epoch; null for none.
        requeue_job: Put a Slurm job back into the queue when it is preempted, and on SIGUSR1, which
            `sbatch --signal=USR1@120` sends that many seconds before the time limit.
        filename: Name without `.ckpt`; `--ckpt_path last` looks for names that start with `last`.

    Raises:
        ValueError: If every_n_minutes is negative.
    """

    # What loggers ask of a callback that keeps checkpoints.
    monitor = None
    best_model_score = None

    def __init__(
        self,
        every_n_minutes: float | None = 10.0,
        requeue_job: bool = True,
        filename: str = "last",
    ) -> None:
        if every_n_minutes is not None and not every_n_minutes >= 0:
            raise ValueError(f"every_n_minutes must be 0 or more, or null, got {every_n_minutes}")
        self.every_n_minutes = every_n_minutes
        self.requeue_job = requeue_job
        self.filename = filename
        self.signals = SignalFlag()
        self.path: Path | None = None
        self.best_model_path = ""
        self.usable: set[Path] = set()

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Agree with all ranks on the file."""
        if stage == "fit":
            folder = trainer.strategy.broadcast(run_folder(trainer)) or Path()
            self.path = folder / "checkpoints" / f"{self.filename}.ckpt"
            self.best_model_path = ""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take over the signals and start the clocks."""
        # Lightning's handlers, which deadlock in collectives, have just been installed.
        self.signals.install()
        self.saved_at = self.agreed_at = time.monotonic()
        self.agreed_step, self.interval = trainer.global_step, 1
        self.usable = {Path(trainer.ckpt_path)} if trainer.ckpt_path else set()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Leave the signals to the trainer, which gives them back."""
        self.signals.remove()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Save if it is time to, or end if a signal has come; after a validation that follows.

        Lightning would leave that validation out when it resumes from before it.

        Raises:
            RunInterruptedError: If any rank has received a signal to end.
        """
        is_due = trainer.world_size == 1 or trainer.global_step - self.agreed_step >= self.interval
        if is_due and not (is_validated(trainer, batch_idx) or ends_epoch(trainer)):
            self.act_on_signals(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save or end after a validation within an epoch.

        Raises:
            RunInterruptedError: If any rank has received a signal to end.
        """
        is_fitting = trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking
        if is_fitting and not ends_epoch(trainer):
            self.act_on_signals(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save after the epoch, or end.

        Raises:
            RunInterruptedError: If any rank has received a signal to end.
        """
        self.act_on_signals(trainer, SAVE)

    def act_on_signals(self, trainer: pl.Trainer, wish: int = 0) -> None:
        """Do on all ranks what any of them wants: nothing, save, or save and end."""
        wish = max(wish, self.signals.received, SAVE if self.is_due(trainer) else 0)
        wish, self.interval = largest_on_any_rank(trainer, wish, self.next_interval(trainer))
        if wish:
            self.save(trainer)
        if wish > SAVE:
            self.interrupt(trainer, signal.Signals(wish))

    def next_interval(self, trainer: pl.Trainer) -> int:
        """Return after how many batches the ranks agree again, by this rank's pace."""
        now, step = time.monotonic(), trainer.global_step
        seconds_a_batch = (now - self.agreed_at) / max(1, step - self.agreed_step)
        self.agreed_at, self.agreed_step = now, step
        seconds = ANSWER_SECONDS
        if self.every_n_minutes is not None:
            seconds = min(seconds, 60 * self.every_n_minutes)
        return max(1, int(seconds / max(seconds_a_batch, 1e-6)))

    def is_due(self, trainer: pl.Trainer) -> bool:
        """Return whether the time has come, by rank 0's clock."""
        if self.every_n_minutes is None or not trainer.is_global_zero:
            return False
        return time.monotonic() - self.saved_at >= 60 * self.every_n_minutes

    def save(self, trainer: pl.Trainer) -> None:
        """Save on all ranks, and tell the loggers."""
        assert self.path is not None
        if trainer.fast_dev_run:  # type: ignore[attr-defined]  # set by a connector
            return
        # A damaged file that was there at the start must not take the place of the one before it.
        if trainer.is_global_zero and self.path in self.usable and self.path.is_file():
            keep_as_previous(self.path)
        trainer.save_checkpoint(self.path)
        self.usable.add(self.path)
        self.best_model_path = str(self.path)
        self.saved_at = time.monotonic()
        if trainer.is_global_zero:
            saved: Any = self
            for logger in trainer.loggers:
                logger.after_save_checkpoint(saved)

    def interrupt(self, trainer: pl.Trainer, signum: signal.Signals) -> None:
        """End the run on this rank, as on all others."""
        job = slurm_job() if self.requeue_job and trainer.is_global_zero else None
        if job is not None and is_to_be_requeued(job, signum):
            requeue(job)
        raise RunInterruptedError(signum, trainer.global_step, self.best_model_path)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Note in every checkpoint how far the logs are, for them to be continued from there."""
        if trainer.is_global_zero:
            checkpoint["loggers"] = {
                type(logger).__name__: logger.position()
                for logger in trainer.loggers
                if hasattr(logger, "position")
            }


def ends_epoch(trainer: pl.Trainer) -> bool:
    """Return whether this is the last batch of the epoch or of the run."""
    return trainer.is_last_batch or trainer.global_step == trainer.max_steps


def is_validated(trainer: pl.Trainer, batch_idx: int) -> bool:
    """Return whether a validation follows a batch within an epoch."""
    in_epochs = trainer.check_val_every_n_epoch
    if not trainer.enable_validation or trainer.val_check_batch in (None, float("inf")):
        return False
    if in_epochs is None:
        return trainer.global_step % trainer.val_check_batch == 0
    is_due = (trainer.current_epoch + 1) % in_epochs == 0
    return is_due and (batch_idx + 1) % trainer.val_check_batch == 0


def largest_on_any_rank(trainer: pl.Trainer, wish: int, interval: int) -> tuple[int, int]:
    """Return the largest wish and the smallest interval of the ranks, which ask at one place."""
    if trainer.world_size == 1:
        return wish, interval
    values = torch.tensor([wish, -interval], device=trainer.strategy.root_device)
    distributed.all_reduce(values, distributed.ReduceOp.MAX)
    wish, negative = values.tolist()
    return wish, -negative
