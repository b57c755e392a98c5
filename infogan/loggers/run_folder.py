"""The run folder: `metrics.csv` in a versioned folder of its own."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.loggers.logger import rank_zero_experiment
from pytorch_lightning.utilities import rank_zero_only

from infogan.files import read_rows
from infogan.loggers.metrics_file import METRICS_FILE, MetricsFile, Row


class RunFolder(CSVLogger):
    """Write `metrics.csv` into a versioned run folder, `save_dir/name/version_N`.

    The folder is made when it is first asked for, and is then this run's alone.

    Args:
        save_dir: Folder of all runs; null takes the config's `save_dir`, `runs` by default.
        name: Name of the experiment; null takes the config's `name`.
        version: Number or name of the run; null takes the next free number.
        flush_logs_every_n_steps: Logged steps between two writes to the file.
        resumed_step: Step of the checkpoint that the run goes on from; later rows are dropped.
        resumed_rows: Rows at that checkpoint, as `position` gave them; null keeps all up to the
            step.
    """

    def __init__(
        self,
        save_dir: str | None = None,
        name: str | None = None,
        version: int | str | None = None,
        flush_logs_every_n_steps: int = 1,
        resumed_step: int | None = None,
        resumed_rows: int | None = None,
    ) -> None:
        # A CSVLogger's folder is what Lightning takes for `trainer.log_dir`.
        super().__init__(save_dir or "runs", name, version)
        self.root = Path(save_dir or "runs").expanduser()
        self.experiment_name = name or ""
        self.given_version = version
        self.flush_logs_every_n_steps = flush_logs_every_n_steps
        self.resumed_step, self.resumed_rows = resumed_step, resumed_rows
        self.file: MetricsFile | None = None

    @property
    def save_dir(self) -> str:
        """Return the folder of all runs."""
        return str(self.root)

    @property
    def name(self) -> str:
        """Return the experiment's name."""
        return self.experiment_name

    @property
    def version(self) -> int | str:
        """Return the run's number or name; on rank 0 its folder is then there."""
        if self.given_version is None:
            self.given_version = next_version(self.root / self.name)
        return self.given_version

    @property
    def log_dir(self) -> str:
        """Return the run folder; on another rank than 0 it need not be the true one."""
        version = self.version
        folder = version if isinstance(version, str) else f"version_{version}"
        return str(self.root / self.name / folder)

    @property
    @rank_zero_experiment
    def experiment(self) -> MetricsFile:
        """Return the writer of `metrics.csv`; the first use opens it."""
        if self.file is None:
            self.file = MetricsFile(Path(self.log_dir) / METRICS_FILE, self.earlier_rows())
        return self.file

    def earlier_rows(self) -> list[Row]:
        """Return the rows of the run that is resumed; none for a new one."""
        step = self.resumed_step
        if step is None:
            return []
        rows = read_rows(Path(self.log_dir) / METRICS_FILE)
        if self.resumed_rows is not None:
            return rows[: self.resumed_rows]
        return [row for row in rows if int(row["step"]) <= step]

    def position(self) -> dict[str, int]:
        """Return how many rows there are, all of them written."""
        self.save()
        return {"rows": self.experiment.num_rows}

    @rank_zero_only
    def log_hyperparams(self, params: Any = None) -> None:
        """Leave the settings to `config.yaml`, which lies beside the file."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Add a row of scalars."""
        step = self.experiment.num_rows if step is None else step
        self.experiment.log_metrics(metrics, step)
        if (step + 1) % self.flush_logs_every_n_steps == 0:
            self.save()

    @rank_zero_only
    def save(self) -> None:
        """Write the rows that are not yet in the file."""
        self.experiment.save()

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write the last rows."""
        if self.file is not None:
            self.file.save()


def next_version(folder: Path) -> int:
    """Return the next free number of a run, whose folder no other run can take after that.

    Args:
        folder: Folder of an experiment's runs; rank 0 makes `version_N` in it.
    """
    taken = [path.name.removeprefix("version_") for path in folder.glob("version_*")]
    version = max((int(number) for number in taken if number.isdigit()), default=-1) + 1
    while getattr(rank_zero_only, "rank", 0) == 0:
        try:
            (folder / f"version_{version}").mkdir(parents=True)
        except FileExistsError:
            version += 1
        else:
            break
    return version
