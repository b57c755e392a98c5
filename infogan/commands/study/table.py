"""What a study leaves to be committed: its table, thinned curves and a few pictures."""

from collections.abc import Sequence
from pathlib import Path

from infogan.commands.runs import newest_run
from infogan.commands.study.definition import Study
from infogan.commands.study.records import RESULTS, MemberFolder
from infogan.files import Row, as_csv, read_rows, write_file
from infogan.locks import Lock
from infogan.pictures.grids import small_png

FACTS = ("study", "setting", "seed")
ENDS = (
    "config",
    "config_hash",
    "git_commits",
    "outcome",
    "cause",
    "reason",
    "precision",
    "val_split",
    "steps",
)
# These alone may differ between two runs of the same thing.
TIMES = ("duration_seconds", "train/images_per_second")
CURVES = (
    "train/generator_loss",
    "train/discriminator_loss",
    "train/mi",
    "train/mi_categorical",
    "train/mi_gaussian_prior",
    "train/cross_entropy",
    "train/d_real",
    "train/d_fake",
    "val/code_accuracy",
)
CURVE_POINTS = 125
CURVE_DIGITS = 5
# Seconds to wait for another process that brings its results into the table.
LOCK_PATIENCE = 60.0


class Table:
    """A study's committed results: `NAME.csv`, and `NAME/curves` and `NAME/pictures` beside it.

    Args:
        study: The study.
        folder: Folder of all studies' results.
    """

    def __init__(self, study: Study, folder: Path) -> None:
        self.study = study
        self.path = folder / f"{study.name}.csv"
        self.data_dir = folder / study.name

    def known(self) -> dict[tuple[str, str], Row]:
        """Return the rows so far by member and config hash."""
        return {(member_name(row), row["config_hash"]): row for row in read_rows(self.path)}

    def collect(self, folders: Sequence[MemberFolder]) -> int:
        """Bring what members have recorded in their folders into the table; return its length.

        Rows of other members, and of those that have recorded nothing there, stay.

        Args:
            folders: Folders of members of the study, at least one, all in one folder.
        """
        with Lock(folders[0].study_dir / "table.lock", f"table {self.path}", LOCK_PATIENCE):
            rows = {member_name(row): row for row in read_rows(self.path)}
            for folder in folders:
                name = folder.member.name
                row, earlier = folder.row(), rows.get(name, {})
                if row and not is_worse(row, earlier):
                    rows[name] = row
                    self._collect_files(folder)
            ordered = self._ordered(rows)
            if ordered:
                write_file(self.path, as_csv(ordered, self._columns(ordered)))
        return len(ordered)

    def _collect_files(self, folder: MemberFolder) -> None:
        """Write one member's thinned curves and the pictures that its study asks for."""
        run, name = newest_run(folder.path), folder.member.name
        if run is None:
            return
        curve = thinned(run.rows)
        write_file(self.data_dir / "curves" / f"{name}.csv", as_csv(curve, ["step", *CURVES]))
        for title in folder.member.pictures:
            if title in run.pictures:
                target = self.data_dir / "pictures" / f"{name}_{title}.png"
                write_file(target, small_png(run.pictures[title].path))

    def _ordered(self, rows: dict[str, Row]) -> list[Row]:
        """Return the rows in the study's order, then those of members that it no longer has."""
        names = {member.name: index for index, member in enumerate(self.study.members)}
        return [rows[name] for name in sorted(rows, key=lambda n: (names.get(n, len(names)), n))]

    def _columns(self, rows: Sequence[Row]) -> list[str]:
        axes = [axis for member in self.study.members for axis, _ in member.labels]
        first = [*FACTS, *dict.fromkeys(axes), *ENDS, TIMES[0]]
        others = {name for row in rows for name in row} - set(first)
        return [*first, *sorted(others)]


def member_name(row: Row) -> str:
    """Return the name of the member whose row it is."""
    return f"{row['setting']}_seed{row['seed']}"


def is_worse(row: Row, earlier: Row) -> bool:
    """Return whether a member's crash here would take the place of its result elsewhere."""
    is_same = row["config_hash"] == earlier.get("config_hash")
    return is_same and row["outcome"] not in RESULTS and earlier["outcome"] in RESULTS


def thinned(rows: Sequence[Row]) -> list[Row]:
    """Return curves with about `CURVE_POINTS` points, each the mean of the rows up to its step."""
    length = max(1, -(-sum(CURVES[0] in row for row in rows) // CURVE_POINTS))
    points: list[Row] = []
    block: list[Row] = []
    # A validation's row follows the training's of the same step, and belongs to it.
    for index, row in enumerate(rows):
        block.append(row)
        is_full = sum(CURVES[0] in r for r in block) >= length
        following = rows[index + 1] if index + 1 < len(rows) else {}
        if not following or (is_full and following["step"] != row["step"]):
            points.append(mean_of(block))
            block = []
    return points


def mean_of(rows: Sequence[Row]) -> Row:
    """Return the mean of every curve over some rows, at the last one's step."""
    point = {"step": rows[-1]["step"]}
    for name in CURVES:
        values = [float(row[name]) for row in rows if name in row]
        if values:
            point[name] = f"{sum(values) / len(values):.{CURVE_DIGITS}g}"
    return point
