"""The checkpoint to go on from: after epochs, after a time, and when the run is told to end."""

import signal
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.trainer.states import TrainerFn
from torch import distributed

from infogan.runtime.checkpoints import keep_as_previous
from infogan.runtime.signals import RunInterruptedError, SignalFlag
from infogan.runtime.slurm import is_to_be_requeued, requeue, slurm_job

# Below every signal's number.
SAVE = 1


class LastCheckpoint(ModelCheckpoint):
    """Save the newest state as `last.ckpt`, and keep the one before it as `last-previous.ckpt`.

    On SIGTERM or SIGUSR1 all ranks end after the same batch, with the state saved; a run resumed
    from it goes on as if it had not been interrupted. A second signal ends the process at once.

    Args:
        every_n_minutes: Minutes between two checkpoints within an epoch; null for none.
        requeue_job: Put a Slurm job back into the queue when it is preempted, and on SIGUSR1, which
            `sbatch --signal=USR1@120` sends that many seconds before the time limit.
        filename: Name without `.ckpt`; `--ckpt_path last` looks for names that start with `last`.
        enable_version_counter: Whether a new file gets a number instead of replacing the old one.
        **kwargs: See Lightning's ModelCheckpoint.
    """

    def __init__(
        self,
        every_n_minutes: float | None = 10.0,
        requeue_job: bool = True,
        filename: str = "last",
        enable_version_counter: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(filename=filename, enable_version_counter=enable_version_counter, **kwargs)
        if every_n_minutes is not None and not every_n_minutes >= 0:
            raise ValueError(f"every_n_minutes must be 0 or more, or null, got {every_n_minutes}")
        if self._save_on_train_epoch_end is None:
            self._save_on_train_epoch_end = True
        self.every_n_minutes = every_n_minutes
        self.requeue_job = requeue_job
        self.signals = SignalFlag()
        self.usable: set[Path] = set()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take over the signals and start the clock."""
        super().on_train_start(trainer, pl_module)
        # Lightning's handlers, which deadlock in collectives, have just been installed.
        self.signals.install()
        self.saved_at = time.monotonic()
        self.usable = {Path(trainer.ckpt_path)} if trainer.ckpt_path else set()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Save if it is time to, or end if a signal has come; after a validation that follows.

        Lightning would leave that validation out when it goes on from before it.

        Raises:
            RunInterruptedError: If any rank has received SIGTERM or SIGUSR1.
        """
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        loop = trainer.fit_loop
        assert loop._data_fetcher is not None
        is_validated = loop.epoch_loop._should_check_val_fx(loop._data_fetcher)
        if not (is_validated or ends_epoch(trainer)):
            self.attend(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save or end after a validation within an epoch.

        Raises:
            RunInterruptedError: If any rank has received SIGTERM or SIGUSR1.
        """
        super().on_validation_end(trainer, pl_module)
        is_fitting = trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking
        if is_fitting and not ends_epoch(trainer):
            self.attend(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save after the epoch, or end.

        Raises:
            RunInterruptedError: If any rank has received SIGTERM or SIGUSR1.
        """
        super().on_train_epoch_end(trainer, pl_module)
        self.attend(trainer)

    def attend(self, trainer: pl.Trainer) -> None:
        """Do on all ranks what any of them wants: nothing, save, or save and end."""
        own = self.signals.received or (SAVE if self.is_due(trainer) else 0)
        wish = largest_on_any_rank(trainer, own)
        if wish and not self._should_skip_saving_checkpoint(trainer):
            self._save_topk_checkpoint(trainer, self._monitor_candidates(trainer))
        if wish > SAVE:
            self.interrupt(trainer, signal.Signals(wish))

    def is_due(self, trainer: pl.Trainer) -> bool:
        """Return whether the time has come, by rank 0's clock."""
        if self.every_n_minutes is None or not trainer.is_global_zero:
            return False
        return time.monotonic() - self.saved_at >= 60 * self.every_n_minutes

    def interrupt(self, trainer: pl.Trainer, signum: signal.Signals) -> None:
        """End the run on this rank, as on all others."""
        job = slurm_job() if self.requeue_job and trainer.is_global_zero else None
        if job is not None and is_to_be_requeued(job, signum):
            requeue(job)
        raise RunInterruptedError(signum, trainer.global_step, self.best_model_path)

    def _save_checkpoint(self, trainer: pl.Trainer, filepath: str) -> None:
        path = Path(filepath)
        # A damaged file that was there at the start must not take the place of the one before it.
        if trainer.is_global_zero and path in self.usable and path.is_file():
            keep_as_previous(path)
        super()._save_checkpoint(trainer, filepath)
        self.usable.add(path)
        self.saved_at = time.monotonic()

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


def largest_on_any_rank(trainer: pl.Trainer, value: int) -> int:
    """Return the largest of the ranks' values; all ranks must ask at the same place."""
    if trainer.world_size == 1:
        return value
    values = torch.tensor(value, device=trainer.strategy.root_device)
    distributed.all_reduce(values, distributed.ReduceOp.MAX)
    return int(values)
