"""Read what `fit` and `test` have left in a member's folder, whether they ended or are at work."""

import csv
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

# How `summary.json` names the ends of a run, and how the table does.
OUTCOMES = {
    "finished": "finished",
    "discriminator_won": "collapsed",
    "discriminator_at_chance": "collapsed",
    "mode_collapse": "collapsed",
    "non_finite": "nan",
}
ACCURACY = "val/code_accuracy"

Row = dict[str, str]


@dataclass(frozen=True)
class RunFolder:
    """One `version_N` folder.

    Args:
        path: The folder; it may be missing or half written.
    """

    path: Path

    @cached_property
    def summary(self) -> dict[str, Any]:
        """What the run said at its end; empty if it has not come to one."""
        try:
            return dict(json.loads((self.path / "summary.json").read_text()))
        except (OSError, ValueError):
            # Missing, or cut off by a kill while it was written.
            return {}

    @property
    def has_ended(self) -> bool:
        """Whether training came to an end of its own, good or bad."""
        return self.summary.get("outcome") in OUTCOMES

    @property
    def last_checkpoint(self) -> Path:
        """Where the newest checkpoint is, if there is one."""
        return self.path / "checkpoints" / "last.ckpt"

    @cached_property
    def rows(self) -> list[Row]:
        """The rows of `metrics.csv`, empty cells left out."""
        return read_rows(self.path / "metrics.csv")

    def last_values(self, *stages: str) -> Row:
        """Return the newest value of every metric of these stages, such as `train`."""
        prefixes = tuple(f"{stage}/" for stage in stages)
        values: Row = {}
        for row in self.rows:
            values |= {name: value for name, value in row.items() if name.startswith(prefixes)}
        return values

    def best(self, name: str) -> tuple[str, str] | None:
        """Return the highest value of a metric and its step; None if it was never logged."""
        scored = [row for row in self.rows if not math.isnan(float(row.get(name, "nan")))]
        if not scored:
            return None
        best = max(scored, key=lambda row: float(row[name]))
        return best[name], best["step"]

    @property
    def step(self) -> int:
        """The newest step that was logged."""
        return max((int(float(row["step"])) for row in self.rows if "step" in row), default=0)

    @cached_property
    def total_steps(self) -> int | None:
        """The batches that the run is to have; None where its config alone does not say."""
        try:
            trainer = yaml.safe_load((self.path / "config.yaml").read_text())["trainer"]
        except (OSError, yaml.YAMLError, KeyError, TypeError):
            return None
        epochs, batches = trainer.get("max_epochs"), trainer.get("limit_train_batches")
        steps = [trainer["max_steps"]] if trainer.get("max_steps", -1) > 0 else []
        # Up to 1 it is a share of batches whose number only the data knows.
        if epochs is not None and epochs > 0 and batches is not None and batches > 1:
            steps.append(epochs * int(batches))
        return min(steps, default=None)

    def picture(self, name: str) -> Path | None:
        """Return a traversal's newest picture: at the end of the run, else of its last epoch."""
        steps = sorted(self.path.glob(f"traversals/step_*/{name}.png"))
        return next((p for p in (self.path / f"{name}.png", *reversed(steps)) if p.is_file()), None)


def newest_run(folder: Path) -> RunFolder | None:
    """Return the run folder below a member's folder that was made last; None without one."""
    versions = [p for p in folder.glob("version_*") if p.name.removeprefix("version_").isdecimal()]
    newest = max(versions, key=lambda path: int(path.name.removeprefix("version_")), default=None)
    return None if newest is None else RunFolder(newest)


def has_checkpoint(folder: Path) -> bool:
    """Return whether a run below a member's folder can be gone on with."""
    return any(folder.glob("version_*/checkpoints/last*.ckpt"))


def read_rows(path: Path) -> list[Row]:
    """Return the whole rows of a CSV file without their empty cells; none if there is no file."""
    if not path.is_file():
        return []
    text = path.read_text()
    # A run that is at work may have written a part of its last line.
    lines = text[: text.rfind("\n") + 1].splitlines()
    return [{name: cell for name, cell in row.items() if cell} for row in csv.DictReader(lines)]


def columns(rows: Iterable[Row]) -> list[str]:
    """Return every column that occurs, in alphabetical order."""
    return sorted({name for row in rows for name in row})
