"""What all stopping callbacks share: the exception, and where the reason for it is told."""

from typing import Any, Literal, NoReturn

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.utilities import rank_zero_warn

from infogan.loggers import log_summary

Outcome = Literal["non_finite", "discriminator_won", "discriminator_at_chance", "mode_collapse"]


class RunStoppedError(Exception):
    """A stopping callback ended the run, on all ranks in the same batch.

    Args:
        outcome: What went wrong.
        step: `trainer.global_step` then: the number of batches that were completed.
        reason: The quantities that showed it, in one line.
    """

    def __init__(self, outcome: Outcome, step: int, reason: str) -> None:
        super().__init__(outcome, step, reason)
        self.outcome = outcome
        self.step = step
        self.reason = reason

    def __str__(self) -> str:
        """Return the line to end the program with."""
        return f"run stopped at step {self.step} ({self.outcome}): {self.reason}"


class StoppingCallback(pl.Callback):
    """Base of the callbacks that end a run; they hold what they found for whoever sums it up.

    Attributes:
        outcome: What ended the run; None if this callback did not.
        reason: The same in one line.
        warnings: The reasons of what was found but did not end the run, by outcome.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Clear what an earlier run left behind."""
        self.outcome: Outcome | None = None
        self.reason: str | None = None
        self.warnings: dict[Outcome, str] = {}

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start afresh."""
        self.forget()

    def stop(self, trainer: pl.Trainer, outcome: Outcome, reason: str) -> NoReturn:
        """Tell the loggers and end the run; to be called on all ranks in the same batch.

        Raises:
            RunStoppedError: Always.
        """
        self.outcome = outcome
        self.reason = f"{reason}; {keep_last_checkpoint(trainer)}"
        log_outcome(trainer, outcome, {"outcome": outcome, "reason": self.reason})
        raise RunStoppedError(outcome, trainer.global_step, self.reason)

    def warn(self, trainer: pl.Trainer, outcome: Outcome, reason: str) -> None:
        """Tell the user and the loggers once an outcome, and go on."""
        if outcome in self.warnings:
            return
        self.warnings[outcome] = f"{reason} at step {trainer.global_step}"
        log_outcome(trainer, outcome, {f"warning/{outcome}": self.warnings[outcome]})
        rank_zero_warn(f"{outcome}: {self.warnings[outcome]}")


def keep_last_checkpoint(trainer: pl.Trainer) -> str:
    """Forbid a checkpoint of the state that ended the run; name the newest one before it."""
    paths: list[str] = []
    for checkpoint in trainer.checkpoint_callbacks:
        if isinstance(checkpoint, ModelCheckpoint):
            checkpoint.save_on_exception = False
        names = ("last_model_path", "best_model_path")
        paths += [getattr(checkpoint, name, "") for name in names]
    return f"last checkpoint: {next(filter(None, paths), 'none was saved')}"


def log_outcome(trainer: pl.Trainer, outcome: Outcome, texts: dict[str, str]) -> None:
    """Log `stop/<outcome>` = 1 with every logger, and the texts with those that take text."""
    if not trainer.is_global_zero:
        return
    log_summary(trainer.loggers, texts)
    for logger in trainer.loggers:
        logger.log_metrics({f"stop/{outcome}": 1.0}, step=trainer.global_step)
        experiment: Any = getattr(logger, "experiment", None)
        if hasattr(experiment, "add_text"):  # TensorBoard
            for name, text in texts.items():
                experiment.add_text(name, text, trainer.global_step)
        logger.save()
