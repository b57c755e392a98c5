"""One line a member: what a person sees while a study runs."""

import re
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TextIO

from infogan.commands.runs import ACCURACY, TEST_IMAGES, RunRecord, newest_run
from infogan.commands.study.records import RESULTS, MemberFolder
from infogan.files import Row

# Seconds between two pictures of a running study: on a terminal, and in a file.
REDRAW_SECONDS, REPRINT_SECONDS = 2.0, 60.0
AT_WORK = ("training", "testing")


@dataclass
class Progress:
    """How far one member is.

    Args:
        folder: The member's folder.
        state: `waiting`, `training`, `testing`, `interrupted`, `elsewhere`, or an outcome.
        row: Its row of the table once it has one.
        first: Step and time at which this session of it was first seen to advance.
        seconds: What it took in this session, from start to end; None if it has not ended in it.
    """

    folder: MemberFolder
    state: str
    row: Row | None = None
    first: tuple[int, float] | None = None
    seconds: float | None = None

    def line(self, width: int) -> str:
        """Return the member's line, its name padded to a width."""
        parts = [f"{self.folder.member.name:<{width}}", f"{self.state:<11}"]
        if self.row is not None:
            parts += finished_parts(self.row)
        elif self.state in AT_WORK:
            run = newest_run(self.folder.path)
            parts += self.running_parts(run) if run is not None else ["starting"]
        return "  ".join(parts).rstrip()

    def running_parts(self, run: RunRecord) -> list[str]:
        """Return step, latest accuracy and the time that is left."""
        step, total = run.steps, run.total_steps
        parts = [f"step {step:>6}" + (f" of {total}" if total is not None else "")]
        accuracy = run.last(ACCURACY)
        if accuracy is not None:
            parts.append(f"accuracy {accuracy.value:.3f}")
        if self.state == "training" and total is not None:
            pace = self.seconds_per_step(step)
            left = "time left ?" if pace is None else f"{duration(pace * (total - step))} left"
            parts.append(left)
        return parts

    def seconds_per_step(self, step: int) -> float | None:
        """Return the pace of this session; None before it is known.

        What was done in an earlier session says nothing about the time that this one takes.
        """
        now = time.monotonic()
        if self.first is None:
            self.first = (step, now)
        first_step, first_time = self.first
        if step <= first_step:
            return None
        return (now - first_time) / (step - first_step)

    def estimate(self) -> tuple[float, float] | None:
        """Return the seconds of the whole training and those that are left; None if not known."""
        run = newest_run(self.folder.path)
        if self.state not in AT_WORK or run is None or run.total_steps is None:
            return None
        pace = self.seconds_per_step(run.steps)
        if pace is None:
            return None
        return pace * run.total_steps, pace * max(0, run.total_steps - run.steps)


def finished_parts(row: Row) -> list[str]:
    """Return what there is to say about a member that has ended."""
    parts = [f"step {row.get('steps', '?'):>6}"]
    if (accuracy := row.get(ACCURACY)) is not None:
        parts.append(f"accuracy {float(accuracy):.3f}")
    if (seconds := row.get("duration_seconds")) is not None:
        parts.append(f"in {duration(float(seconds))}")
    if (reason := row.get("reason")) is not None:
        # The step and the state have said the first part already.
        parts.append(re.sub(r"^run stopped at step \d+ ", "", reason))
    if row["outcome"] in RESULTS and row.get("val_split", TEST_IMAGES) == TEST_IMAGES:
        parts.append("validated on the test images")
    return parts


def duration(seconds: float) -> str:
    """Return a time as a person says it."""
    minutes = round(seconds / 60)
    if seconds < 60:
        return f"{round(seconds)} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


class Screen:
    """Show the members' lines: redrawn in place on a terminal, else printed when they change.

    Args:
        title: Name of the study.
        members: All members, in the order to show them.
        num_parallel: Members that run at a time.
        out: Where to write; null for standard output.
    """

    def __init__(
        self,
        title: str,
        members: Sequence[Progress],
        num_parallel: int,
        out: TextIO | None = None,
    ) -> None:
        self.title, self.members, self.num_parallel = title, members, num_parallel
        self.out = out or sys.stdout
        self.width = max(len(progress.folder.member.name) for progress in members)
        self.shown: dict[str, str] = {}
        self.height = 0
        self.due = 0.0

    def refresh(self, force: bool = False) -> None:
        """Show the present state, if it is time to."""
        is_terminal = self.out.isatty()
        states = {progress.folder.member.name: progress.state for progress in self.members}
        changed = states != self.shown
        if not (force or changed or time.monotonic() >= self.due):
            return
        self.due = time.monotonic() + (REDRAW_SECONDS if is_terminal else REPRINT_SECONDS)
        if is_terminal:
            self._redraw()
        else:
            self._print(only_changed=changed and bool(self.shown))
        self.shown = states
        self.out.flush()

    def headline(self) -> str:
        """Return how far the whole study is."""
        rows = [progress.row for progress in self.members if progress.row is not None]
        results = [row for row in rows if row["outcome"] in RESULTS]
        at_work = sum(progress.state in AT_WORK for progress in self.members)
        text = f"{self.title}: {len(results)} of {len(self.members)} done, {at_work} at work"
        if len(rows) > len(results):
            text += f", {len(rows) - len(results)} crashed"
        seconds = self.seconds_left()
        return text if seconds is None else f"{text}, about {duration(seconds)} left"

    def seconds_left(self) -> float | None:
        """Return the time that the study still takes; None where there is no ground to guess it.

        Members to come are taken to last as long as those of this session, else as the others.
        """
        open_ones = [progress for progress in self.members if progress.row is None]
        known = [e for e in (progress.estimate() for progress in open_ones) if e is not None]
        # One that was stopped early says nothing about those to come.
        whole = [(p, row) for p in self.members if (row := p.row) and row["outcome"] == "finished"]
        seconds = (
            [p.seconds for p, _ in whole if p.seconds is not None]
            or [total for total, _ in known]
            or [float(row["duration_seconds"]) for _, row in whole if "duration_seconds" in row]
        )
        if not open_ones or not seconds:
            return None
        typical = sum(seconds) / len(seconds)
        left = sum(left for _, left in known) + (len(open_ones) - len(known)) * typical
        return max(left / self.num_parallel, *(left for _, left in known), 0.0)

    def _print(self, only_changed: bool) -> None:
        for progress in self.members:
            name = progress.folder.member.name
            is_changed = self.shown.get(name) != progress.state
            if is_changed if only_changed or not self.shown else progress.state in AT_WORK:
                self.out.write(progress.line(self.width) + "\n")
        self.out.write(self.headline() + "\n")

    def _redraw(self) -> None:
        """Draw over the last picture; members at work come first where the screen is too small."""
        columns, rows = shutil.get_terminal_size()
        lines = [progress.line(self.width) for progress in self.members]
        space = max(1, rows - 3)
        if len(lines) > space:
            kept = sorted(range(len(lines)), key=self._importance)[: space - 1]
            hidden = len(lines) - len(kept)
            lines = [lines[index] for index in sorted(kept)] + [f"... and {hidden} more"]
        lines = [line[: columns - 1] for line in [self.headline(), *lines]]
        up = f"\x1b[{self.height}F" if self.height else ""
        self.out.write(up + "".join(f"{line}\x1b[K\n" for line in lines) + "\x1b[J")
        self.height = len(lines)

    def _importance(self, index: int) -> tuple[int, int]:
        progress = self.members[index]
        ranks = [progress.state in AT_WORK, progress.row is None and progress.state != "waiting"]
        ranks += [progress.row is not None]
        return (ranks.index(True) if True in ranks else len(ranks), index)
