"""Draw which code holds which factor."""

from collections.abc import Sequence
from pathlib import Path

import pytorch_lightning as pl
from torch import Tensor

from infogan.data import data_of
from infogan.loggers import log_picture
from infogan.pictures.grids import save_png
from infogan.pictures.matrix import confusion_matrix_picture


def save_information(
    trainer: pl.Trainer,
    which: str,
    information: Tensor,
    codes: Sequence[tuple[str, int | None]],
    factors: Sequence[tuple[str, int | None]],
    cell: int,
) -> None:
    """Draw a matrix of mutual information to the run folder and the loggers; on every process.

    Args:
        trainer: Its first process writes `information_WHICH.png`.
        which: Which images it is of: `real` or `generated`.
        information: In nats, (codes, factors).
        codes: Name and number of values of each code; None for a continuous one.
        factors: The same of each factor.
        cell: Side of a cell in screen pixels.
    """
    folder = trainer.log_dir  # asks all processes
    if folder is None or not trainer.is_global_zero:
        return
    picture = confusion_matrix_picture(
        information.numpy(),
        [name for name, _ in codes],
        [name for name, _ in factors],
        title=f"mutual information in nats, {which} images",
        row_axis="code",
        column_axis="factor",
        cell=cell,
    )
    save_png(Path(folder) / f"information_{which}.png", picture)
    log_picture(trainer.loggers, f"information/{which}", picture, trainer.global_step)


def described_factors(trainer: pl.Trainer) -> list[tuple[str, int | None]]:
    """Return name and number of values of each factor of the trainer's data; none without data."""
    return [(factor.name, factor.num_values) for factor in data_of(trainer).factors]
