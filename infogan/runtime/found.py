"""What is global in a process, given back as it was found: for notebooks and for sweeps."""

import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
# The address of W&B's own service, which stays.
KEPT = "WANDB_SERVICE"


@contextmanager
def left_as_found() -> Iterator[None]:
    """Give environment, import path, warning filters, signal handlers and seed back."""
    environment, path, draws = dict(os.environ), list(sys.path), random.getstate()
    handlers = {signum: signal.getsignal(signum) for signum in SIGNALS}
    with warnings.catch_warnings():
        try:
            yield
        finally:
            for name in os.environ.keys() - environment.keys() - {KEPT}:
                del os.environ[name]
            os.environ.update({n: v for n, v in environment.items() if n != KEPT})
            sys.path[:] = path
            random.setstate(draws)
            # Only the main thread sets handlers; None is one that Python has not set.
            if threading.current_thread() is threading.main_thread():
                for signum, handler in handlers.items():
                    if handler is not None:
                        signal.signal(signum, handler)
