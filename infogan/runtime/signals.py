"""Signals that ask a run to end: remembered until it can end at the same place on all ranks."""

import os
import signal
import socket
import sys
import threading
import time
from functools import cache
from types import FrameType
from typing import NoReturn

# Slurm and torchrun end a process by SIGTERM, a person by Ctrl-C, which is SIGINT; SIGUSR1 is what
# an sbatch script asks for in time.
SIGNALS = (signal.SIGINT, signal.SIGUSR1, signal.SIGTERM)
# A launcher passes on a signal that the terminal has sent to its processes as well.
SAME_REQUEST_SECONDS = 0.5


class RunInterruptedError(Exception):
    """A signal ended the run, on all ranks after the same batch, with its state saved.

    Args:
        signum: The signal.
        step: `trainer.global_step` then.
        path: The checkpoint to resume from.
    """

    outcome = "interrupted"

    def __init__(self, signum: signal.Signals, step: int, path: str) -> None:
        super().__init__(signum, step, path)
        self.signum, self.step, self.path = signum, step, path

    @property
    def exit_code(self) -> int:
        """The exit code by which shells know the signal."""
        return 128 + self.signum

    def __str__(self) -> str:
        """Return the line to end the program with."""
        return (
            f"run interrupted by {self.signum.name} at step {self.step}, saved as {self.path}; "
            "resume with --ckpt_path last"
        )


class SignalFlag:
    """Remember that one of SIGNALS has come; a second one ends the process at once.

    A handler cannot save: the signal may come inside a collective or an optimizer's step. Nor does
    Python call it before a collective returns, so that a thread waits for the second signal.
    """

    def __init__(self) -> None:
        self.received = 0
        self.wakeup: socket.socket | None = None

    def install(self) -> None:
        """Take the signals over, where that is possible; the trainer gives them back at its end."""
        self.remove()
        self.received = 0
        self.pid = os.getpid()
        if threading.current_thread() is not threading.main_thread():
            return
        for signum in SIGNALS:
            signal.signal(signum, self.remember)
        # The C part of a handler writes the signal's number there as soon as it comes.
        reader, self.wakeup = socket.socketpair()
        self.wakeup.setblocking(False)
        self.previous = signal.set_wakeup_fd(self.wakeup.fileno(), warn_on_full_buffer=False)
        leave_parent_alone_in_forks()
        threading.Thread(target=self.end_at_second, args=(reader,), daemon=True).start()

    def remove(self) -> None:
        """Wait for a second signal no more."""
        if self.wakeup is not None and os.getpid() == self.pid:
            signal.set_wakeup_fd(self.previous)
            self.wakeup.close()
            self.wakeup = None

    def remember(self, signum: int, frame: FrameType | None) -> None:
        """Keep the signal, unless this is a forked helper: Slurm signals those, too."""
        if os.getpid() == self.pid:
            self.received = max(self.received, signum)

    def end_at_second(self, reader: socket.socket) -> None:
        """End the process when a second signal comes while the signals are taken over."""
        first = None
        with reader:
            while received := reader.recv(1):
                signum = received[0]
                if signum not in SIGNALS or signal.getsignal(signum) != self.remember:
                    continue
                if first is None:
                    first = time.monotonic()
                elif time.monotonic() - first > SAME_REQUEST_SECONDS:
                    name = signal.Signals(signum).name
                    print(f"error: ended at once by a second {name}", file=sys.stderr, flush=True)
                    os._exit(128 + signum)


@cache
def leave_parent_alone_in_forks() -> None:
    """Let forked helpers not write their signals to the process that they were forked from."""

    def forget() -> None:
        signal.set_wakeup_fd(-1)

    os.register_at_fork(after_in_child=forget)


def ignore_usr1() -> None:
    """Ignore SIGUSR1, which would end the program, until training takes it over."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)


def end_at_sigterm() -> None:
    """End the program at SIGTERM outside of a training, which takes it over.

    Lightning would let a test go on, or end it between two batches with the exit code of success.
    """

    def end(signum: int, frame: FrameType | None) -> NoReturn:
        print(f"error: ended by {signal.Signals(signum).name}", file=sys.stderr, flush=True)
        sys.exit(128 + signum)

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, end)
