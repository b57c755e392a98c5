"""Read what a study in a test has left."""

import csv
import time
from collections.abc import Callable
from pathlib import Path

from infogan.commands.study.table import TIMES
from tests.conftest import Outcome

Command = Callable[..., Outcome]
TABLE = Path("benchmarks/studies/acts.csv")


def table(path: Path = TABLE) -> dict[str, dict[str, str]]:
    with path.open(newline="") as file:
        return {f"{row['setting']}_seed{row['seed']}": row for row in csv.DictReader(file)}


def lasting(rows: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    """Return a table without its times."""
    return {n: {k: v for k, v in r.items() if k not in TIMES} for n, r in rows.items()}


def diary() -> list[str]:
    return [" ".join(line.split()[:2]) for line in Path("diary.txt").read_text().splitlines()]


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
