"""Pictures, values of a whole run and files, for whichever logger a trainer has."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
from PIL import Image
from pytorch_lightning.loggers import Logger


def run_folder(trainer: pl.Trainer) -> Path | None:
    """Return the run folder; on another rank than 0 it need not be the true one.

    `trainer.log_dir` is the same on all ranks because it waits for them: asked for on rank 0 alone,
    which writes the files, it would wait forever.
    """
    if not trainer.loggers:
        return Path(trainer.default_root_dir)
    first = trainer.loggers[0]
    folder = first.log_dir or first.save_dir
    return None if folder is None else Path(folder)


def log_picture(
    loggers: Sequence[Logger], key: str, picture: np.ndarray, step: int, caption: str = ""
) -> None:
    """Send one picture to every logger that takes pictures.

    Args:
        loggers: The trainer's loggers; those without pictures, such as CSV, are passed over.
        key: Name of the panel.
        picture: RGB bytes, (height, width, 3).
        step: Global step, in batches.
        caption: Text below the picture, where the logger shows one.
    """
    image = Image.fromarray(picture)
    for logger in loggers:
        if hasattr(logger, "log_image"):  # W&B, MLflow-like
            logger.log_image(key, [image], step=step, caption=[caption or key])
            continue
        experiment: Any = getattr(logger, "experiment", None)
        if hasattr(experiment, "add_image"):  # TensorBoard
            experiment.add_image(key, picture, step, dataformats="HWC")


def log_summary(loggers: Sequence[Logger], values: Mapping[str, Any]) -> None:
    """Show values in the table of runs of every logger that has one.

    Args:
        loggers: The trainer's loggers; those without a table, such as CSV, are passed over.
        values: By name.
    """
    for logger in loggers:
        if hasattr(logger, "log_summary"):
            logger.log_summary(values)
            continue
        summary: Any = getattr(getattr(logger, "experiment", None), "summary", None)
        if hasattr(summary, "update"):  # Lightning's own for W&B
            summary.update(dict(values))
