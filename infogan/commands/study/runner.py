"""Run a study's members, several at a time, each in a process of its own."""

import contextlib
import math
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent import futures
from types import FrameType

from infogan.commands.runs import newest_run
from infogan.commands.study.child import ELSEWHERE
from infogan.commands.study.progress import AT_WORK, Progress, Screen
from infogan.commands.study.records import RESULTS, MemberFolder
from infogan.commands.study.table import Table
from infogan.files import ROOT, Row

PROGRAM = (sys.executable, "-m", "infogan.commands.study.child")
POLL_SECONDS = 0.5
# Processes at most that import and wait while all places are taken.
MOST_SPARES = 4
# What a member has, once told to end, to save its state.
GRACE_SECONDS = 120.0
# How a process ends that a signal has reached, with its state saved or before there was any.
INTERRUPTED = {
    code for s in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1) for code in (128 + s, -s)
}


class StudyInterruptedError(Exception):
    """A signal asked the runner to end.

    Args:
        signum: The signal.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum


class MemberRun:
    """One member on its way to its row of the table, in a thread that waits for its process.

    Args:
        progress: Where it stands.
        study: The study's name.
        threads: Threads of its process.
        program: What runs in place of `child.py`.
    """

    def __init__(
        self, progress: Progress, study: str, threads: int, program: Sequence[str] = PROGRAM
    ) -> None:
        self.progress, self.folder = progress, progress.folder
        self.study, self.threads, self.program = study, threads, program
        self.log = self.folder.study_dir / f"{self.folder.member.name}.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.is_stopping = False
        self.guard, self.has_place = threading.Lock(), threading.Event()

    def run(self, places: "queue.Queue[str | None]", turn: threading.Event) -> None:
        """Run the member to its end in a place that is free.

        Args:
            places: The free places, each a GPU or None; one is taken for as long as it runs.
            turn: Set when the member before this one has its place, so that they begin in order.
        """
        try:
            process = self.launch()
            turn.wait()
            gpu = places.get()
        finally:
            self.has_place.set()
        try:
            if process is not None:
                self.hand_over(process, gpu)
                self.settle(process.wait())
                # Not before: it tells the process that this one is gone.
                with contextlib.suppress(BrokenPipeError):
                    process.communicate()
        finally:
            places.put(gpu)

    def launch(self) -> subprocess.Popen[bytes] | None:
        """Start the process, which imports and waits for its member, unless it was stopped."""
        path = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": str(self.threads),
            "PYTHONPATH": os.pathsep.join(path),
        }
        # A seed that another Lightning program left behind would take the place of the member's.
        environment.pop("PL_GLOBAL_SEED", None)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.guard, self.log.open("ab") as log:
            if self.is_stopping:
                return None
            self.log_start = log.tell()
            self.process = subprocess.Popen(
                self.program,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
        return self.process

    def hand_over(self, process: subprocess.Popen[bytes], gpu: str | None) -> None:
        """Let the process begin with the member, on a GPU or none."""
        with self.guard:
            self.started = time.monotonic()
            if not self.is_stopping:
                self.progress.state, self.progress.row = "training", None
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(pickle.dumps((self.folder, self.study, gpu)))
            process.stdin.flush()

    def settle(self, code: int) -> None:
        """Say how the process has ended; record a defect, which the next study tries again."""
        row: Row | None = None
        if code == 0:
            self.progress.seconds = time.monotonic() - self.started
            row = self.folder.row()
        elif code != ELSEWHERE and code not in INTERRUPTED and not self.is_stopping:
            text = self.log.read_bytes()[self.log_start :].decode(errors="replace")
            last = next((line for line in reversed(text.splitlines()) if line.strip()), "")
            how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
            reason = ": ".join(filter(None, (self.phase(), how, last)))
            row = self.folder.record(self.study, "crashed", reason=reason)
        with self.guard:
            if row is not None:
                self.progress.row, self.progress.state = row, row["outcome"]
            elif code == ELSEWHERE:
                self.progress.state = "elsewhere"
            elif self.progress.state in AT_WORK:
                self.progress.state = "interrupted"

    def phase(self) -> str:
        """Return whether the member is `training` or `testing`, by what is in its folder."""
        run = newest_run(self.folder.path)
        return "testing" if run is not None and run.has_ended else "training"

    def look(self) -> None:
        """See whether a training has gone over into its test."""
        with self.guard:
            if self.progress.state in AT_WORK:
                self.progress.state = self.phase()

    def stop(self) -> None:
        """Ask the process to save its state and end."""
        with self.guard:
            self.is_stopping = True
        if self.process is not None:
            self.process.terminate()

    def kill(self) -> None:
        """End a process that has not ended when it was asked to."""
        if self.process is not None:
            self.process.kill()


class Runner:
    """Run what is missing of a study.

    Args:
        table: The study's table.
        progress: Where the members to see to stand, in the order to run them.
        places: The GPU of every member that runs at a time, or None.
        threads: Threads of each.
        time_limit: Minutes after which no member is started and those at work are stopped.
        rescore: Whether to run `test` again, in place of what is missing.
        program: What runs in place of `child.py`.
    """

    def __init__(
        self,
        table: Table,
        progress: Sequence[Progress],
        places: Sequence[str | None],
        threads: int = 1,
        time_limit: float | None = None,
        rescore: bool = False,
        program: Sequence[str] = PROGRAM,
    ) -> None:
        self.table, self.progress, self.places = table, progress, places
        self.time_limit = math.inf if time_limit is None else time_limit
        self.is_late = False
        self.members = [
            MemberRun(one, table.study.name, threads, program)
            for one in progress
            if (one.folder.can_be_scored() if rescore else one.row is None)
        ]
        self.screen = Screen(table.study.name, progress, len(places))

    def run(self, collect: bool = True) -> None:
        """Run all members that wait.

        Args:
            collect: Whether to bring each result into the table at once.

        Raises:
            StudyInterruptedError: After SIGINT or SIGTERM, once the members have saved their state.
        """
        free: queue.Queue[str | None] = queue.Queue()
        for place in self.places:
            free.put(place)
        deadline = time.monotonic() + 60 * self.time_limit
        pending: dict[futures.Future[None], MemberRun] = {}
        num_threads = len(self.places) + min(MOST_SPARES, len(self.places))
        with signals_as_exceptions(), futures.ThreadPoolExecutor(num_threads) as pool:
            try:
                turn = threading.Event()
                turn.set()
                for member in self.members:
                    pending[pool.submit(member.run, free, turn)] = member
                    turn = member.has_place
                while pending and not self.is_late:
                    self.step(pending, collect)
                    self.is_late = time.monotonic() >= deadline and bool(pending)
            finally:
                self.stop(pending)
        self.screen.refresh(force=True)

    def step(self, pending: dict["futures.Future[None]", MemberRun], collect: bool) -> None:
        """Wait a moment; bring what has ended into the table, and show where the others are."""
        done, _ = futures.wait(pending, POLL_SECONDS, futures.FIRST_COMPLETED)
        ended = [pending.pop(future) for future in done]
        for future in done:
            future.result()
        if collect and ended:
            self.table.collect([member.folder for member in ended])
        for member in pending.values():
            member.look()
        self.screen.refresh()

    def stop(self, pending: dict["futures.Future[None]", MemberRun]) -> None:
        """End what still runs: politely, then at once."""
        for member in pending.values():
            member.stop()
        _, late = futures.wait(pending, GRACE_SECONDS)
        for future in late:
            pending[future].kill()
        futures.wait(pending)


def look(folders: Sequence[MemberFolder], table: Table) -> list[Progress]:
    """Return where the members stand before anything is started."""
    known = table.known()
    progress = []
    for folder in folders:
        member = folder.member
        row = known.get((member.name, member.config_hash())) or folder.row()
        has_result = bool(row) and row["outcome"] in RESULTS
        progress.append(
            Progress(folder, row["outcome"], row) if has_result else Progress(folder, "waiting")
        )
    return progress


@contextlib.contextmanager
def signals_as_exceptions() -> Iterator[None]:
    """Raise StudyInterruptedError on SIGINT and SIGTERM; leave SIGUSR1, Slurm's, to the members."""

    def interrupt(signum: int, frame: FrameType | None) -> None:
        # A second one must not interrupt the members' saving.
        for other in (signal.SIGINT, signal.SIGTERM):
            signal.signal(other, signal.SIG_IGN)
        raise StudyInterruptedError(signum)

    handlers = dict.fromkeys((signal.SIGINT, signal.SIGTERM), interrupt)
    before = {signum: signal.signal(signum, handler) for signum, handler in handlers.items()}
    before[signal.SIGUSR1] = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
