"""`metrics.csv`: whole rows only, also after a kill, and continued where a checkpoint was made."""

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers.csv_logs import ExperimentWriter

from infogan.files import read_rows, replacing

Row = dict[str, Any]


class MetricsFile(ExperimentWriter):
    """Append rows to a CSV file; when a new column comes, write it anew and exchange it.

    Args:
        log_dir: Folder of the file.
        earlier: Rows to start with, which replace what is in the file.
    """

    def __init__(self, log_dir: str, earlier: Iterable[Row] = ()) -> None:
        super().__init__(log_dir)
        self.path = Path(self.metrics_file_path)
        self.num_rows = 0
        self.metrics = list(earlier)
        if self.metrics:
            self.save()
        else:
            self.path.unlink(missing_ok=True)

    def save(self) -> None:
        """Bring the rows that are not yet in the file into it."""
        if not self.metrics:
            return
        new_columns = {name for row in self.metrics for name in row} - set(self.metrics_keys)
        if new_columns:
            self.metrics_keys = sorted({*self.metrics_keys, *new_columns})
            written = read_rows(self.path) if self.num_rows else []
            with replacing(self.path) as part:
                self._write(part, "w", [*written, *self.metrics])
        else:
            self._write(self.path, "a", self.metrics)
        self.num_rows += len(self.metrics)
        self.metrics = []

    def _write(self, path: Path, mode: str, rows: list[Row]) -> None:
        with path.open(mode, newline="") as file:
            writer = csv.DictWriter(file, self.metrics_keys)
            if mode == "w":
                writer.writeheader()
            writer.writerows(rows)

    def _check_log_dir_exists(self) -> None:
        """Leave the folder of a run that goes on as it is."""
