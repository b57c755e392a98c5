"""Run a verb as a child that does not outlive the process that started it."""

import os
import sys
import threading

from infogan.commands.main import main


def watch_parent() -> None:
    """End at once when the other end of standard input closes, as a kill of the parent does it."""
    # Not through sys.stdin, whose lock this thread would still hold when the interpreter ends.
    while os.read(0, 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=watch_parent, daemon=True).start()
    sys.exit(main())
