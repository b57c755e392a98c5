"""Locks that vanish with the processes that hold them, however those end."""

import fcntl
import os
import socket
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from infogan.errors import ConfigurationError

POLL_SECONDS = 0.05


class LockedError(ConfigurationError):
    """Another process is at work on the same thing."""


class Lock:
    """A file lock, held by this process and by every child that inherits its descriptor.

    The kernel drops it when the last of them has ended, so that no kill leaves it behind. The file
    stays, with its holder's name in it.

    Args:
        path: The lock's file.
        what: What it protects, for the message.
        waits: Whether to wait for a holder that is at work; if not, it is an error at once.
        patience: Seconds to wait at most, also for the children of a holder that is itself gone.
    """

    def __init__(self, path: Path, what: str, waits: bool = False, patience: float = 60.0) -> None:
        self.path, self.what, self.waits, self.patience = path, what, waits, patience
        self.descriptor = -1

    def acquire(self) -> Self:
        """Take the lock.

        Raises:
            LockedError: If another process holds it.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        deadline = time.monotonic() + self.patience
        while not self._try():
            holder = self.path.read_text().strip()
            is_busy = is_running(holder) and not self.waits
            if is_busy or time.monotonic() > deadline:
                os.close(self.descriptor)
                raise LockedError(
                    f"{self.what} is in the hands of {holder or 'another process'}: wait until it "
                    "has ended, or stop it"
                )
            time.sleep(POLL_SECONDS)
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        return self

    def _try(self) -> bool:
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def release(self) -> None:
        """Give the lock back, as far as this process holds it."""
        os.close(self.descriptor)

    def __enter__(self) -> Self:
        return self.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()


def is_running(holder: str) -> bool:
    """Return whether the process that wrote itself into a lock's file still runs.

    One on another machine counts as running: its lock would be gone otherwise.
    """
    words = holder.split()
    if len(words) != 4 or not words[1].isdecimal():
        return False
    if words[3] != socket.gethostname():
        return True
    try:
        os.kill(int(words[1]), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
