"""What a report's template asks the studies' tables for; it fails where there is no data."""

import math
import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from infogan.commands.runs import TEST_IMAGES
from infogan.commands.study.records import RESULTS
from infogan.errors import ConfigurationError
from infogan.files import Row, read_rows

NO_DATA = "**(no data)**"


class MissingDataError(ConfigurationError):
    """A placeholder of the template has no data."""


def spread(values: Sequence[float], digits: int = 3) -> str:
    """Return mean and standard deviation, `0.973 ± 0.004`; of one value, the value."""
    if not values:
        return NO_DATA
    mean = f"{statistics.fmean(values):.{digits}f}"
    return f"{mean} ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else mean


class Gaps:
    """What is done about a placeholder without data.

    Args:
        allowed: Whether to note it and go on, for a draft; if not, it is an error.
    """

    def __init__(self, allowed: bool = False) -> None:
        self.allowed = allowed
        self.found: list[str] = []

    def note(self, what: str) -> str:
        """Return what stands in the place of the data, in a draft.

        Raises:
            MissingDataError: If this is no draft.
        """
        if not self.allowed:
            raise MissingDataError(what)
        if what not in self.found:
            self.found.append(what)
        return NO_DATA


class Runs:
    """Some rows of one study's table: what a template takes its numbers from.

    Args:
        rows: The rows.
        title: What they are, for messages.
        gaps: What is done where there is no data.
    """

    def __init__(self, rows: Sequence[Row], title: str, gaps: Gaps) -> None:
        self.rows, self.title, self.gaps = list(rows), title, gaps

    def __len__(self) -> int:
        return len(self.rows)

    def of(self, setting: str) -> "Runs":
        """Return the runs of one setting, one a seed.

        Runs that were validated on the test images leave the tables as soon as others are there.

        Raises:
            MissingDataError: If there are none, or their configs differ.
        """
        runs = self.where(setting=setting)
        held_out = [row for row in runs.rows if row.get("val_split", TEST_IMAGES) != TEST_IMAGES]
        if any(row["outcome"] in RESULTS for row in held_out):
            runs.rows = held_out
        hashes = {row["config_hash"] for row in runs.rows if row["outcome"] in RESULTS}
        if len(hashes) > 1:
            self.gaps.note(
                f"{runs.title}: the seeds were run with {len(hashes)} different configs; run the "
                "study again, so that all have the present one"
            )
        return runs

    def where(self, **cells: object) -> "Runs":
        """Return the runs with these values, such as `setting="infogan_line", seed=0`.

        Raises:
            MissingDataError: If there are none.
        """
        rows = [r for r in self.rows if all(r.get(k) == str(v) for k, v in cells.items())]
        what = ", ".join(f"{name}={value}" for name, value in cells.items())
        if not rows:
            self.gaps.note(f"{self.title} has no run with {what}")
        return Runs(rows, f"{self.title}, {what}", self.gaps)

    def each_run(self) -> "list[Runs]":
        """Return every run by itself."""
        return [self.where(seed=row["seed"]) for row in self.rows]

    def seeds(self, *seeds: int) -> "Runs":
        """Return the runs of these seeds alone, to compare recipes by the same seeds."""
        wanted = {str(seed) for seed in seeds}
        rows = [row for row in self.rows if row["seed"] in wanted]
        return Runs(rows, f"{self.title}, seeds {seeds}", self.gaps)

    def val_split(self) -> str:
        """Return what the runs were validated on, such as `5000 of train`."""
        return ", ".join(dict.fromkeys(row.get("val_split", TEST_IMAGES) for row in self.rows))

    def settings(self) -> list[str]:
        """Return the names of the settings, in the table's order."""
        return list(dict.fromkeys(row["setting"] for row in self.rows))

    def outcomes(self) -> str:
        """Return how many runs ended how, such as `2 finished, 1 collapsed (mode_collapse)`."""
        ends = [
            row["outcome"] + (f" ({row['cause']})" if row["outcome"] == "collapsed" else "")
            for row in self.rows
        ]
        counted = ", ".join(f"{count} {end}" for end, count in Counter(ends).items())
        return counted or self.gaps.note(f"{self.title}: no runs")

    def holds(self, *settings: str) -> bool:
        """Return whether every one of these settings has a run with a result."""
        known = {row["setting"] for row in self.rows if row["outcome"] in RESULTS}
        return known.issuperset(settings)

    def first(self, column: str, absent: str = "") -> str:
        """Return what stands in a column of the first run."""
        return self.rows[0].get(column, absent) if self.rows else self.gaps.note(self.title)

    def steps(self) -> str:
        """Return the numbers of batches that the runs have had: one, or a range."""
        return self._range([float(step) for step in self.values("steps")])

    def minutes(self) -> str:
        """Return how many minutes the trainings took: one number, or a range."""
        return self._range([seconds / 60 for seconds in self.values("duration_seconds")])

    @staticmethod
    def _range(values: list[float]) -> str:
        low, high = (f"{f(values, default=math.nan):,.0f}" for f in (min, max))
        return low if low == high else f"{low} to {high}"

    def has(self, column: str) -> bool:
        """Return whether any run has a value there."""
        return bool(self._found(column))

    def values(self, column: str) -> list[float]:
        """Return a measure of every run that has it; crashed runs do not count.

        Raises:
            MissingDataError: If none has it.
        """
        values = self._found(column)
        if not values:
            self.gaps.note(f"{self.title}: no run has {column}")
        return values

    def _found(self, column: str) -> list[float]:
        # Tables of other commands, such as `augment`, have results only.
        results = [row for row in self.rows if row.get("outcome", "finished") in RESULTS]
        return [float(row[column]) for row in results if column in row]

    # ---- numbers, to be compared ---------------------------------------------------------------

    def average(self, column: str) -> float:
        """Return the mean of a measure."""
        values = self.values(column)
        return statistics.fmean(values) if values else math.nan

    def count(self, column: str, at_least: float = -math.inf, at_most: float = math.inf) -> int:
        """Return the number of runs whose measure lies within bounds."""
        return sum(at_least <= value <= at_most for value in self.values(column))

    def ended(self, outcome: str) -> int:
        """Return the number of runs with an outcome."""
        return sum(row["outcome"] == outcome for row in self.rows)

    # ---- texts ---------------------------------------------------------------------------------

    def mean(self, column: str, digits: int = 3, absent: str | None = None) -> str:
        """Return the mean of a measure; `absent` is for runs that have no such measure."""
        return self._text(
            column, digits, absent, lambda values, show: show(statistics.fmean(values))
        )

    def mean_sd(self, column: str, digits: int = 3, absent: str | None = None) -> str:
        """Return mean and standard deviation over seeds, `0.973 ± 0.004`."""
        return self._text(column, digits, absent, lambda values, _: spread(values, digits))

    def standard_error(self, column: str, digits: int = 3) -> str:
        """Return the standard error of the mean over seeds; `–` for one seed."""

        def text(values: list[float], show: Callable[[float], str]) -> str:
            many = len(values) > 1
            return show(statistics.stdev(values) / math.sqrt(len(values))) if many else "–"

        return self._text(column, digits, None, text)

    def each(self, column: str, digits: int = 3, absent: str | None = None) -> str:
        """Return a measure of every seed."""
        return self._text(
            column, digits, absent, lambda values, show: ", ".join(show(v) for v in values)
        )

    def least(self, column: str, digits: int = 3) -> str:
        """Return the smallest value of a measure."""
        return self._text(column, digits, None, lambda values, show: show(min(values)))

    def largest(self, column: str, digits: int = 3) -> str:
        """Return the largest value of a measure."""
        return self._text(column, digits, None, lambda values, show: show(max(values)))

    def _text(
        self,
        column: str,
        digits: int,
        absent: str | None,
        write: Callable[[list[float], Callable[[float], str]], str],
    ) -> str:
        if absent is not None and self.rows and not self.has(column):
            return absent
        values = self.values(column)
        return write(values, lambda value: f"{value:.{digits}f}") if values else NO_DATA


class Studies:
    """All tables of a folder, by name.

    Args:
        folder: Where the studies' CSV files are.
        gaps: What is done where there is no data.
    """

    def __init__(self, folder: Path, gaps: Gaps) -> None:
        self.folder, self.gaps = folder, gaps

    def __call__(self, name: str) -> Runs:
        """Return a study's runs.

        Raises:
            MissingDataError: If it has none.
        """
        path = self.folder / f"{name}.csv"
        rows = read_rows(path)
        if not rows:
            self.gaps.note(f"there is no {path}; run the study {name} first")
        return Runs(rows, f"study {name}", self.gaps)

    def names(self) -> list[str]:
        """Return the names of all studies; tables of other commands are none."""
        return sorted(p.stem for p in self.folder.glob("*.csv") if "setting" in read_rows(p)[0])

    def exists(self, name: str) -> bool:
        """Return whether there is a table of this name."""
        return (self.folder / f"{name}.csv").is_file()

    def curves(self, name: str, setting: str) -> Iterator[tuple[Row, list[Row]]]:
        """Yield every run of a setting that has one, with its curve.

        Raises:
            MissingDataError: If none has.
        """
        folder = self.folder / name / "curves"
        found = False
        for row in self(name).of(setting).rows:
            curve = read_rows(folder / f"{setting}_seed{row['seed']}.csv")
            if curve:
                found = True
                yield row, curve
        if not found:
            self.gaps.note(f"there are no curves of {setting} in {folder}")

    def picture(self, name: str, setting: str, title: str) -> Path | None:
        """Return a committed picture of the first seed that has it; None in a draft without.

        Raises:
            MissingDataError: If none has.
        """
        folder = self.folder / name / "pictures"
        found = sorted(folder.glob(f"{setting}_seed*_{title}.png"))
        if not found:
            self.gaps.note(f"there is no picture {title} of {setting} in {folder}")
            return None
        return found[0]
