"""Where a run's files go."""

from pathlib import Path

import pytorch_lightning as pl


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
