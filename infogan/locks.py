"""Locks that vanish with the process that holds them, however it ends."""

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
    """Another process is at work on the same thing.

    Args:
        what: The thing.
        holder: The process.
    """

    def __init__(self, what: str, holder: str) -> None:
        super().__init__(f"{what} is in the hands of {holder}: wait until it has ended, or stop it")
        self.holder = holder


class Lock:
    """A file lock, which the kernel drops when its holder ends.

    The file stays, with the holder's name in it for those who are refused.

    Args:
        path: The lock's file.
        what: What it protects, for the message.
        patience: Seconds to wait at most for another holder to end.
    """

    def __init__(self, path: Path, what: str, patience: float = 0.0) -> None:
        self.path, self.what, self.patience = path, what, patience

    def __enter__(self) -> Self:
        """Take the lock.

        Raises:
            LockedError: If another process holds it.
            OSError: If the file cannot be made, or its file system has no locks.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.file = self.path.open("a+")
        deadline = time.monotonic() + self.patience
        while not self._try():
            if time.monotonic() >= deadline:
                self.file.seek(0)
                holder = self.file.read().strip() or "another process"
                self.file.close()
                raise LockedError(self.what, holder)
            time.sleep(POLL_SECONDS)
        self.file.truncate(0)
        self.file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        self.file.flush()
        return self

    def _try(self) -> bool:
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.file.close()
