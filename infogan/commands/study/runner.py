"""Run a study's members: several at a time, each one `fit` and then one `test`."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType

from infogan.commands.study.definition import Member
from infogan.commands.study.lock import Lock, LockedError
from infogan.commands.study.progress import Progress, Screen
from infogan.commands.study.records import RESULTS, MemberFolder
from infogan.commands.study.run_folder import has_checkpoint, newest_run
from infogan.commands.study.table import Table
from infogan.files import ROOT

PROGRAM = (sys.executable, "-m", "infogan.commands.study.child")
POLL_SECONDS = 0.2
# What a member has, once told to end, to save its state.
GRACE_SECONDS = 120.0
# The exit codes of `cli.py`: stopped by a callback; ended by a signal, with its state saved.
STOPPED = 3
INTERRUPTED = (128 + signal.SIGTERM, 128 + signal.SIGUSR1, -signal.SIGTERM)


class StudyInterruptedError(Exception):
    """A signal asked the runner to end.

    Args:
        signum: The signal.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum


class MemberRun:
    """One member on its way through `fit` and `test` to its row of the table.

    Args:
        progress: Where it stands.
        study: The study's name.
        threads: Threads of a process.
        program: What runs in place of `python cli.py`.
    """

    def __init__(
        self, progress: Progress, study: str, threads: int, program: Sequence[str] = PROGRAM
    ) -> None:
        self.progress, self.folder = progress, progress.folder
        self.study, self.threads, self.program = study, threads, program
        self.lock = Lock(self.folder.path.with_name(f"{self.folder.member.name}.lock"), "member")
        self.process: subprocess.Popen[bytes] | None = None
        self.is_stopping = False

    def start(self, inherited: Sequence[int]) -> None:
        """Start the member, with locks to inherit; leave it if another process is at it."""
        try:
            self.lock.acquire()
        except LockedError:
            self.progress.state = "elsewhere"
            return
        self.inherited = (*inherited, self.lock.descriptor)
        self.folder.prepare()
        self.advance()

    def advance(self) -> None:
        """Start what comes next: `fit`, or to go on with it, then `test`, then the row."""
        run = newest_run(self.folder.path)
        if run is None or not run.has_ended:
            resume = ["--ckpt_path", "last"] if has_checkpoint(self.folder.path) else []
            arguments = self.folder.member.fit_arguments(self.folder.study_dir)
            self.launch("training", [*arguments, *resume])
        elif run.last_checkpoint.is_file():
            self.launch("testing", ["test", "--ckpt_path", str(run.last_checkpoint)])
        else:
            self.finish()

    def launch(self, state: str, arguments: Sequence[str]) -> None:
        """Start `cli.py` with these arguments."""
        path = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": str(self.threads),
            "PYTHONPATH": os.pathsep.join(path),
        }
        # A seed that another Lightning program left behind would take the place of the member's.
        environment.pop("PL_GLOBAL_SEED", None)
        self.log = self.folder.path / f"{arguments[0]}.log"
        self.log_start = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.program, *arguments],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                pass_fds=self.inherited,
                start_new_session=True,
            )
        self.progress.state, self.progress.row, self.progress.first = state, None, None

    def poll(self) -> bool:
        """Look after the process; return whether the member is at work."""
        if self.process is None:
            return False
        code = self.process.poll()
        if code is None:
            return True
        was_testing, self.process = self.progress.state == "testing", None
        if self.is_stopping or code in INTERRUPTED:
            self.leave("interrupted")
        elif was_testing and code == 0:
            self.finish()
        elif not was_testing and code in (0, STOPPED) and self.has_ended():
            self.advance()
        else:
            self.crash(code)
        return self.process is not None

    def has_ended(self) -> bool:
        """Return whether the training has left its summary."""
        run = newest_run(self.folder.path)
        return run is not None and run.has_ended

    def finish(self) -> None:
        """Record how the run ended."""
        self.progress.row = self.folder.record_end(self.study)
        self.leave(self.progress.row["outcome"])

    def crash(self, code: int) -> None:
        """Record a defect, which the next study will try again."""
        text = self.log.read_bytes()[self.log_start :].decode(errors="replace")
        last = next((line for line in reversed(text.splitlines()) if line.strip()), "")
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        reason = ": ".join(filter(None, (self.progress.state, how, last)))
        self.progress.row = self.folder.record(self.study, "crashed", reason=reason)
        self.leave("crashed")

    def leave(self, state: str) -> None:
        """Let go of the member."""
        self.progress.state = state
        self.lock.release()

    def stop(self) -> None:
        """Ask the process to save its state and end."""
        self.is_stopping = True
        if self.process is not None:
            self.process.terminate()

    def kill(self) -> None:
        """End a process that has not ended when it was asked to."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
            self.leave("interrupted")


class Runner:
    """Run what is missing of a study.

    Args:
        table: The study's table.
        members: The members to see to, in the order to run them.
        study_dir: The study's folder of runs.
        num_parallel: Members that run at a time.
        threads: Threads of each.
        rescore: Whether to run `test` again, in place of what is missing.
        program: What runs in place of `python cli.py`.
    """

    def __init__(
        self,
        table: Table,
        members: Sequence[Member],
        study_dir: Path,
        num_parallel: int,
        threads: int = 1,
        rescore: bool = False,
        program: Sequence[str] = PROGRAM,
    ) -> None:
        self.table, self.study_dir, self.num_parallel = table, study_dir, num_parallel
        self.progress = look(members, table, study_dir)
        self.waiting = [
            MemberRun(progress, table.study.name, threads, program)
            for progress in self.progress
            if (progress.folder.can_be_scored() if rescore else progress.row is None)
        ]
        self.running: list[MemberRun] = []
        self.screen = Screen(table.study.name, self.progress, num_parallel)

    def run(self, inherited: Sequence[int] = (), collect: bool = True) -> None:
        """Run all members that wait.

        Args:
            inherited: Descriptors of locks that the members hold as well.
            collect: Whether to bring each result into the table at once.

        Raises:
            StudyInterruptedError: After SIGINT or SIGTERM, once the members have saved their state.
        """
        with signals_as_exceptions():
            try:
                while self.waiting or self.running:
                    self.step(inherited, collect)
                    self.screen.refresh()
                    if self.running:
                        time.sleep(POLL_SECONDS)
            finally:
                self.stop()
        self.screen.refresh(force=True)

    def step(self, inherited: Sequence[int], collect: bool) -> None:
        """Fill the free places, and see who has ended."""
        while self.waiting and len(self.running) < self.num_parallel:
            member = self.waiting.pop(0)
            # Before it starts, so that an interruption in between stops it too.
            self.running.append(member)
            member.start(inherited)
        running = [member for member in self.running if member.poll()]
        if len(running) < len(self.running) and collect:
            self.table.collect(self.study_dir)
        self.running = running

    def stop(self) -> None:
        """End what still runs: politely, then at once."""
        for member in self.running:
            member.stop()
        deadline = time.monotonic() + GRACE_SECONDS
        while any(member.poll() for member in self.running) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        for member in self.running:
            member.kill()
        self.running = []


def look(members: Sequence[Member], table: Table, study_dir: Path) -> list[Progress]:
    """Return where the members stand before anything is started."""
    known = table.known()
    progress = []
    for member in members:
        folder = MemberFolder(member, study_dir)
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
