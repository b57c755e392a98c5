"""Where scalars and pictures go: a run folder always, and Weights & Biases beside it."""

import csv
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pytorch_lightning.loggers import CSVLogger, Logger, WandbLogger
from pytorch_lightning.loggers.csv_logs import ExperimentWriter
from pytorch_lightning.loggers.logger import rank_zero_experiment
from pytorch_lightning.utilities import rank_zero_info

from infogan.errors import ConfigurationError

# Seconds to wait for a W&B server before the run goes on offline.
WANDB_TIMEOUT = 20


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

    def place(self, save_dir: str, name: str) -> None:
        """Take folder and name from the run where none were given."""
        self._save_dir = self.given_save_dir or save_dir
        self._name = self.given_name or name
        self._root_dir = self._save_dir

    def resume(self, version: int | str, step: int) -> None:
        """Go on in an existing run folder after `step`; later rows there are dropped."""
        self._version = version
        self.resumed_step = step

    @property
    @rank_zero_experiment
    def experiment(self) -> ExperimentWriter:
        """Return the writer of `metrics.csv`."""
        if self._experiment is None:
            path = Path(self.log_dir) / ExperimentWriter.NAME_METRICS_FILE
            step = self.resumed_step
            earlier = (
                [] if step is None else [r for r in _read_rows(path) if int(r["step"]) <= step]
            )
            # The parent deletes the file, so what stays in it is written again.
            super().experiment.metrics.extend(earlier)
            super().experiment.save()
        return super().experiment


def _read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a metrics file without their empty cells; none if there is no file."""
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return [{k: v for k, v in row.items() if v != ""} for row in csv.DictReader(file)]


class WandbRun(WandbLogger):
    """Track in Weights & Biases: online when logged in and in reach, otherwise offline.

    It never prompts and never stops a run. `WANDB_MODE` decides if it is set: `online`, `offline`
    or `disabled`.

    Args:
        project: Project that the run belongs to.
        name: Display name of the run; null takes the config's `name`.
        group: Group of runs that belong together, such as the seeds of one experiment.
        tags: Labels to filter runs by.
        entity: User or team that owns the project; null for the account's default.
        save_dir: Folder that receives `wandb/`; null takes the config's `save_dir`.
        id: Identity of the run; null draws one. Give that of an earlier run to go on with it.
        log_model: Upload checkpoints as artifacts; only online.
    """

    def __init__(
        self,
        project: str = "infogan",
        name: str | None = None,
        group: str | None = None,
        tags: list[str] | None = None,
        entity: str | None = None,
        save_dir: str | None = None,
        id: str | None = None,
        log_model: bool = False,
    ) -> None:
        super().__init__(
            name=name,
            save_dir=save_dir or "runs",
            id=id,
            project=project,
            log_model=log_model,
            group=group,
            tags=tags,
            entity=entity,
        )
        self.given_save_dir, self.given_name = save_dir, name
        # W&B warns about this argument, which it no longer has.
        del self._wandb_init["anonymous"]

    def place(self, save_dir: str, name: str) -> None:
        """Take folder and name from the run where none were given."""
        self._save_dir = self._wandb_init["dir"] = self.given_save_dir or save_dir
        self._name = self._wandb_init["name"] = self.given_name or name

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """Return the W&B run; the first use starts it."""
        if self._experiment is None:
            Path(self._wandb_init["dir"]).mkdir(parents=True, exist_ok=True)
            self._start()
        return self._experiment

    def _start(self) -> None:
        """Start the run online if that works, else offline with one line on how to sync later."""
        import wandb

        settings = wandb.Settings(init_timeout=WANDB_TIMEOUT, console="off", silent=True)
        self._wandb_init["settings"] = settings
        reason = None
        if "WANDB_MODE" not in os.environ:
            if not wandb.login(prompt=False, verify=False):
                reason = "not logged in"
            else:
                try:
                    _ = super().experiment
                except wandb.errors.CommError as error:
                    reason = f"no server in reach ({type(error).__name__})"
        if reason is not None:
            if self._log_model:
                raise ConfigurationError(
                    "log_model=true needs W&B online: run `wandb login`, or set log_model to false"
                )
            os.environ["WANDB_MODE"] = "offline"
            # Login has read the settings already: start over, so that the mode is seen.
            wandb.teardown()
        run = super().experiment
        if run.settings.mode == "offline":
            rank_zero_info(
                f"W&B: {reason or 'WANDB_MODE=offline'}, tracking offline; "
                f"upload later with: wandb sync {run.settings.sync_dir}"
            )


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
