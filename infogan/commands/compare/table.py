"""Runs side by side in a table: how they ended, what they reached, where settings differ."""

import math
import textwrap
from collections.abc import Sequence
from typing import NamedTuple

from infogan.commands.compare.settings import ABSENT, differing_settings
from infogan.commands.runs import ACCURACY, Point, RunRecord

MUTUAL_INFORMATION = "train/mi"
# Values whose highest is the best; of others, such as losses, the table takes no side.
HIGHER_IS_BETTER = ("accuracy", "nmi", "ari", "mig", "valid_share", "cells_covered")
# Correlations of every code with every measure of shape: many, and for a closer look.
IN_DETAIL = "/morpho_"
GAP = 2


class Fact(NamedTuple):
    """One line of the table.

    Args:
        name: What it says.
        values: Text by run.
        best: The runs, by number, whose value is the best of several.
    """

    name: str
    values: list[str]
    best: frozenset[int] = frozenset()


def run_labels(runs: Sequence[RunRecord]) -> list[str]:
    """Name the runs as short as tells them apart: experiment, version, both, or the path."""
    places = [run.folder.resolve() for run in runs]
    forms = [
        [place.parent.name for place in places],
        [place.name for place in places],
        ["/".join(place.parts[-2:]) for place in places],
    ]
    if len({place.parent for place in places}) > 1:
        del forms[1]
    return next((form for form in forms if len(set(form)) == len(form)), list(map(str, places)))


def setting_facts(runs: Sequence[RunRecord]) -> list[Fact]:
    """Return the settings in which runs differ."""
    differing = differing_settings([run.config for run in runs])
    return [Fact(name, values) for name, values in differing.items()]


def _outcomes(runs: Sequence[RunRecord]) -> list[Fact]:
    """Return how the runs ended, why, and how long they took."""
    reasons = [str(run.summary.get("reason", "")) if run.duration else "" for run in runs]
    return [
        Fact("outcome", [run.outcome for run in runs]),
        *([Fact("reason", [reason or ABSENT for reason in reasons])] if any(reasons) else []),
        Fact("steps", [str(run.steps) for run in runs]),
        Fact("duration", [as_duration(run.duration) for run in runs]),
        Fact("validated on", [run.val_split for run in runs]),
    ]


def measure_facts(runs: Sequence[RunRecord]) -> list[Fact]:
    """Return how runs ended and what they reached."""
    return [*_outcomes(runs), *_measures(runs)]


def without_details(lines: Sequence[Fact]) -> tuple[list[Fact], list[Fact]]:
    """Return what is shown at once, and what only a closer look shows."""
    shown = [fact for fact in lines if IN_DETAIL not in fact.name]
    return shown, [fact for fact in lines if IN_DETAIL in fact.name]


def _measures(runs: Sequence[RunRecord]) -> list[Fact]:
    """Return the best and the newest values: accuracy, mutual information, all of validation."""
    validated = dict.fromkeys(
        name for run in runs for name in run.curves if name.startswith(("val/", "test/"))
    )
    newest = [ACCURACY, MUTUAL_INFORMATION, *(name for name in validated if name != ACCURACY)]
    lines = [("best", ACCURACY, [run.best(ACCURACY) for run in runs])]
    lines += [("last", name, [run.last(name) for run in runs]) for name in newest]
    return [
        Fact(f"{which} {name}", [_value(p, which) for p in points], _winners(name, points))
        for which, name, points in lines
        if any(points)
    ]


def _value(point: Point | None, which: str) -> str:
    """Write a measure, the best with its step."""
    if point is None:
        return ABSENT
    return as_number(point.value) + (f" at {point.step}" if which == "best" else "")


def _winners(name: str, points: Sequence[Point | None]) -> frozenset[int]:
    """Return the numbers of the runs with the best value, where better is known and they differ."""
    finite = {i: p.value for i, p in enumerate(points) if p and math.isfinite(p.value)}
    better = max if name.endswith(HIGHER_IS_BETTER) else min if name.endswith("fid") else None
    if better is None or len(set(finite.values())) < 2:
        return frozenset()
    best = better(finite.values())
    return frozenset(i for i, value in finite.items() if value == best)


def as_number(value: float) -> str:
    """Write a value with four digits behind the point; a count, such as 10, without."""
    return f"{value:.0f}" if value % 1 == 0 and abs(value) > 1 else f"{value:.4f}"


def as_duration(seconds: float | None) -> str:
    """Write a time in hours, minutes and seconds, without those that are 0 in front."""
    if seconds is None:
        return ABSENT
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [(hours, "h"), (minutes, "min"), (rest, "s")]
    while len(parts) > 1 and parts[0][0] == 0:
        parts.pop(0)
    return " ".join(f"{number} {unit}" for number, unit in parts[:2])


def as_text_table(labels: Sequence[str], lines: Sequence[Fact], width: int) -> str:
    """Lay a table out for a terminal: a line a fact, a column a run, long texts wrapped.

    Args:
        labels: The runs' names.
        lines: The facts.
        width: Characters to a line; runs that do not fit are put into further blocks.
    """
    first = max(len(fact.name) for fact in lines)
    # Narrow columns if that lets all runs stand side by side; wide ones are hard to read.
    widest = min(36, max(20, (width - first) // len(labels) - GAP))
    columns = [[label, *(fact.values[i] for fact in lines)] for i, label in enumerate(labels)]
    widths = [min(widest, max(map(len, column))) for column in columns]
    blocks: list[list[int]] = [[]]
    room = width - first
    for i, needed in enumerate(widths):
        if blocks[-1] and sum(widths[j] + GAP for j in blocks[-1]) + needed + GAP > room:
            blocks.append([])
        blocks[-1].append(i)
    names = ["", *(fact.name for fact in lines)]
    return "\n\n".join(
        "\n".join(
            _text_line(name.ljust(first), [(columns[i][row], widths[i]) for i in block])
            for row, name in enumerate(names)
        )
        for block in blocks
    )


def _text_line(name: str, cells: Sequence[tuple[str, int]]) -> str:
    """Lay out one line of the table, as several where a text does not fit its column."""
    wrapped = [textwrap.wrap(text, width) or [""] for text, width in cells]
    height = max(map(len, wrapped))
    return "\n".join(
        (
            (name if row == 0 else " " * len(name))
            + "".join(
                " " * GAP + (texts[row] if row < len(texts) else "").ljust(width)
                for texts, (_, width) in zip(wrapped, cells, strict=True)
            )
        ).rstrip()
        for row in range(height)
    )
