"""`metrics.csv`: whole rows only, also after a kill, and continued where a checkpoint was made."""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from infogan.files import read_rows, replacing

METRICS_FILE = "metrics.csv"

Row = dict[str, Any]


class MetricsFile:
    """Append rows to a CSV file; when a new column comes, write it anew and exchange it.

    Args:
        path: The file.
        earlier: Rows to start with, which replace what is in the file.
    """

    def __init__(self, path: Path, earlier: Iterable[Row] = ()) -> None:
        self.path = path
        self.columns: list[str] = []
        self.num_rows = 0
        self.waiting = list(earlier)
        path.parent.mkdir(parents=True, exist_ok=True)
        if self.waiting:
            self.save()
        else:
            path.unlink(missing_ok=True)

    def log_metrics(self, metrics: Mapping[str, Any], step: int) -> None:
        """Add a row, which `save` writes."""
        row = {n: v.item() if isinstance(v, Tensor) else v for n, v in metrics.items()}
        self.waiting.append({**row, "step": step})

    def save(self) -> None:
        """Bring the rows that are not yet in the file into it."""
        if not self.waiting:
            return
        new_columns = {name for row in self.waiting for name in row} - set(self.columns)
        if new_columns:
            self.columns = sorted({*self.columns, *new_columns})
            written = read_rows(self.path) if self.num_rows else []
            with replacing(self.path) as part:
                self.write(part, "w", [*written, *self.waiting])
        else:
            self.write(self.path, "a", self.waiting)
        self.num_rows += len(self.waiting)
        self.waiting = []

    def write(self, path: Path, mode: str, rows: list[Row]) -> None:
        """Write rows to a file, below a header where the file is new."""
        with path.open(mode, newline="") as file:
            writer = csv.DictWriter(file, self.columns)
            if mode == "w":
                writer.writeheader()
            writer.writerows(rows)
