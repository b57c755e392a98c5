"""When a test has a judge, and who trains it."""

from pathlib import Path

import pytorch_lightning as pl

from infogan.data import Invertible, data_of
from infogan.judge import Judge, JudgedFactor, JudgeRecipe, find_judge, judged_factor


def factor_to_judge(trainer: pl.Trainer) -> JudgedFactor | None:
    """Return the factor that a judge tells of the trainer's data; None where there is no judge.

    Data with an inverse renderer needs none: all its factors are read exactly.
    """
    data = data_of(trainer).datamodule
    return None if isinstance(data, Invertible) else judged_factor(data)


def ready_judge(
    trainer: pl.Trainer, factor: JudgedFactor, recipe: JudgeRecipe, folder: Path | None
) -> Judge:
    """Return the judge of the trainer's data; the first process trains it while others wait."""
    data = data_of(trainer).datamodule
    if trainer.is_global_zero:
        find_judge(data, factor, recipe, folder)
    trainer.strategy.barrier()
    return find_judge(data, factor, recipe, folder)
