"""Where scalars and pictures go: a run folder always; W&B and TensorBoard beside it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image
from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger
from pytorch_lightning.loggers.logger import rank_zero_experiment
from pytorch_lightning.utilities import rank_zero_only

from infogan.errors import ConfigurationError
from infogan.files import read_rows
from infogan.loggers.metrics_file import MetricsFile
from infogan.loggers.wandb_run import RunLabels, WandbRun

__all__ = ["RunFolder", "TensorBoardRun", "WandbRun", "connect", "log_picture"]


class RunFolder(CSVLogger):
    """Write `metrics.csv` into a versioned run folder, `save_dir/name/version_N`.

    Unlike its parent it goes on with the curves of a run that is resumed.

    Args:
        save_dir: Folder of all runs; null takes the config's `save_dir`, `runs` by default.
        name: Name of the experiment; null takes the config's `name`.
        version: Number or name of the run; null takes the next free number.
        flush_logs_every_n_steps: Logged steps between two writes to the file.
    """

    def __init__(
        self,
        save_dir: str | None = None,
        name: str | None = None,
        version: int | str | None = None,
        flush_logs_every_n_steps: int = 1,
    ) -> None:
        super().__init__(
            save_dir or "runs", name, version, flush_logs_every_n_steps=flush_logs_every_n_steps
        )
        self.given_save_dir, self.given_name = save_dir, name
        self.resumed_step: int | None = None
        self.resumed_rows: int | None = None

    def place(self, save_dir: str, name: str) -> None:
        """Take folder and name from the run where none were given."""
        self._save_dir = self.given_save_dir or save_dir
        self._name = self.given_name or name
        self._root_dir = self._save_dir

    def resume(self, version: int | str, step: int, rows: int | None = None) -> None:
        """Go on in an existing run folder; what was logged later there is dropped.

        Args:
            version: The run folder's name.
            step: Step of the checkpoint.
            rows: Rows at the checkpoint, as `position` gave them; null keeps all up to the step.
        """
        self._version = version
        self.resumed_step, self.resumed_rows = step, rows

    def position(self) -> dict[str, int]:
        """Return how many rows there are, all of them written."""
        self.save()
        return {"rows": self.experiment.num_rows}

    @property
    @rank_zero_experiment
    def experiment(self) -> MetricsFile:
        """Return the writer of `metrics.csv`."""
        if self._experiment is None:
            self._experiment = MetricsFile(self.log_dir, self._earlier_rows())
        assert isinstance(self._experiment, MetricsFile)
        return self._experiment

    def _earlier_rows(self) -> list[dict[str, Any]]:
        """Return the rows of the run that goes on; none for a new one."""
        step = self.resumed_step
        if step is None:
            return []
        rows = read_rows(Path(self.log_dir) / MetricsFile.NAME_METRICS_FILE)
        if self.resumed_rows is not None:
            return rows[: self.resumed_rows]
        return [row for row in rows if int(row["step"]) <= step]


class TensorBoardRun(TensorBoardLogger):
    """Write TensorBoard's event files into the run folder, beside `metrics.csv`.

    `tensorboard --logdir runs` then shows all runs.

    Args:
        save_dir: Folder of all runs; null takes the config's `save_dir`, `runs` by default.
        name: Name of the experiment; null takes the config's `name`.
        version: Number or name of the run; null takes that of the run folder.
    """

    def __init__(
        self,
        save_dir: str | None = None,
        name: str | None = None,
        version: int | str | None = None,
    ) -> None:
        try:
            super().__init__(save_dir or "runs", name, version, default_hp_metric=False)
        except ModuleNotFoundError as error:
            raise ConfigurationError(
                "TensorBoardRun needs TensorBoard: run `pip install tensorboard`, or leave the "
                "logger out"
            ) from error
        self.given_save_dir, self.given_name = save_dir, name
        self.run_folder: RunFolder | None = None

    def place(self, save_dir: str, name: str) -> None:
        """Take folder and name from the run where none were given."""
        self._root_dir = self.given_save_dir or save_dir
        self._name = self.given_name or name

    def join(self, run_folder: RunFolder) -> None:
        """Write into this run folder, unless the config names another place."""
        if self.given_save_dir is None and self.given_name is None and self._version is None:
            self.run_folder = run_folder

    def resume(self, version: int | str, step: int) -> None:
        """Go on in an existing folder; TensorBoard drops what was written after `step`."""
        self._version = version
        self._kwargs["purge_step"] = step + 1

    @property
    def log_dir(self) -> str:
        """Return the folder of the event files."""
        return super().log_dir if self.run_folder is None else self.run_folder.log_dir

    @rank_zero_only
    def log_hyperparams(self, params: Any, metrics: Any = None, step: int | None = None) -> None:
        """Show the config as text: its nested lists are no columns of a table."""
        super().log_hyperparams(params, metrics, step)
        self.experiment.add_text("config", f"```yaml\n{yaml.safe_dump(params, sort_keys=False)}```")


def connect(loggers: Sequence[Logger], labels: RunLabels) -> None:
    """Tell the trackers what the run is and in which folder it lies.

    Args:
        loggers: The trainer's loggers, all placed.
        labels: What to call the run.
    """
    folders = [logger for logger in loggers if not isinstance(logger, WandbRun) and logger.log_dir]
    run_folders = [logger for logger in loggers if isinstance(logger, RunFolder)]
    for logger in loggers:
        if isinstance(logger, WandbRun):
            logger.describe(labels, folders[0] if folders else None)
        elif isinstance(logger, TensorBoardRun) and run_folders:
            logger.join(run_folders[0])


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
