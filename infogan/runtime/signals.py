"""Signals that ask a run to end: remembered until it can end at the same place on all ranks."""

import os
import signal
import threading
from types import FrameType

# Slurm and torchrun end a process by SIGTERM; SIGUSR1 is what an sbatch script asks for in time.
SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class RunInterruptedError(Exception):
    """A signal ended the run, on all ranks after the same batch, with its state saved.

    Args:
        signum: The signal.
        step: `trainer.global_step` then.
        path: The checkpoint to go on from.
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
            "go on with --ckpt_path last"
        )


class SignalFlag:
    """Remember that one of SIGNALS has come.

    A handler cannot save: the signal may come inside a collective or an optimizer's step.
    """

    def __init__(self) -> None:
        self.received = 0

    def install(self) -> None:
        """Take the signals over, where that is possible; the trainer gives them back at its end."""
        self.received = 0
        self.pid = os.getpid()
        if threading.current_thread() is threading.main_thread():
            for signum in SIGNALS:
                signal.signal(signum, self.remember)

    def remember(self, signum: int, frame: FrameType | None) -> None:
        """Keep the signal, unless this is a forked helper: Slurm signals those, too."""
        if os.getpid() == self.pid:
            self.received = max(self.received, signum)


def ignore_usr1() -> None:
    """Ignore SIGUSR1, which would end the program, until training takes it over."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
