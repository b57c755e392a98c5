"""Start the processes of one machine, and end them all as soon as one has failed."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
from lightning_fabric.utilities.distributed import _set_num_threads_if_needed
from pytorch_lightning.plugins import CheckpointIO
from pytorch_lightning.plugins.environments import ClusterEnvironment, SLURMEnvironment
from pytorch_lightning.strategies.launchers import _SubprocessScriptLauncher
from torch import distributed

from infogan.runtime.checkpoints import AtomicCheckpointIO

# Set in the processes that were started here, to the process that started them.
LAUNCHER_VARIABLE = "INFOGAN_LAUNCHER"
# With these, all ranks end together: stopped by a callback, interrupted by a signal.
AGREED_EXIT_CODES = (3, 128 + signal.SIGUSR1, 128 + signal.SIGTERM)
POLL_SECONDS = 0.5
# What a rank has, once another has failed, to end by itself and say what it knows.
GRACE_SECONDS = 20.0


class RankFailedError(RuntimeError):
    """Another process of the run failed, so that this one could not go on."""


class WatchedLauncher(_SubprocessScriptLauncher):
    """Start one process a rank; a rank that fails ends all others with its reason.

    Lightning's launcher kills everything, the reason included, when a process it started has
    failed, and leaves the processes it started alone when it is itself killed. They would wait
    forever inside a collective.
    """

    def launch(
        self,
        function: Callable[..., Any],
        *args: Any,
        trainer: pl.Trainer | None = None,
        **kwargs: Any,
    ) -> Any:
        """Start the other processes of this machine, then call the function.

        Raises:
            RankFailedError: If one of the started processes failed and took this one along.
        """
        self.cluster_environment.validate_settings(
            num_devices=self.num_processes, num_nodes=self.num_nodes
        )
        if not self.cluster_environment.creates_processes_externally:
            os.environ[LAUNCHER_VARIABLE] = str(os.getpid())
            self._call_children_scripts()
            in_background(self.watch_children)
        elif os.environ.get(LAUNCHER_VARIABLE) == str(os.getppid()):
            in_background(watch_parent)
        _set_num_threads_if_needed(num_processes=self.num_processes)
        try:
            return function(*args, **kwargs)
        except RuntimeError as error:
            # A broken connection is no reason: that is what the other rank has said.
            failure = self.wait_for_failure()
            if failure is None:
                raise
            raise RankFailedError(failure) from error

    def failure(self) -> str | None:
        """Return what is known of the first started process that failed."""
        for rank, process in enumerate(self.procs, start=1):
            code = process.poll()
            if code and code not in AGREED_EXIT_CODES:
                return f"local rank {rank} {how_it_ended(code)}, which ends the whole run"
        return None

    def wait_for_failure(self) -> str | None:
        """Return the failure of a started process, which may still be about to end."""
        for _ in range(int(GRACE_SECONDS / 2 / POLL_SECONDS)):
            if not self.procs or self.failure() is not None:
                break
            time.sleep(POLL_SECONDS)
        return self.failure()

    def watch_children(self) -> None:
        """End this process, too, if a started one has failed and this one does not notice."""
        while self.failure() is None:
            if all(process.poll() is not None for process in self.procs):
                return
            time.sleep(POLL_SECONDS)
        time.sleep(GRACE_SECONDS)
        for process in self.procs:
            process.kill()
        end_process(str(self.failure()))


def given_topology() -> dict[str, int]:
    """Return the trainer's `num_nodes` and `devices` where torchrun or srun has decided them."""
    given = os.environ
    if distributed.is_available() and distributed.is_torchelastic_launched():
        processes = int(given["LOCAL_WORLD_SIZE"])
        return {"num_nodes": int(given["WORLD_SIZE"]) // processes, "devices": processes}
    if SLURMEnvironment.detect():
        nodes = int(given["SLURM_NNODES"])
        return {"num_nodes": nodes, "devices": int(given["SLURM_NTASKS"]) // nodes}
    return {}


def with_own_plugins(plugins: Any) -> list[Any]:
    """Add safe checkpoints, and Slurm without Lightning's own requeueing, which deadlocks."""
    given = list(plugins) if isinstance(plugins, list | tuple) else [plugins] if plugins else []
    if not any(isinstance(plugin, CheckpointIO) for plugin in given):
        given.append(AtomicCheckpointIO())
    is_placed = any(isinstance(plugin, ClusterEnvironment) for plugin in given)
    if SLURMEnvironment.detect() and not is_placed:
        given.append(SLURMEnvironment(auto_requeue=False))
    return given


def in_background(function: Callable[[], None]) -> None:
    """Run a function in a thread that does not keep the program alive."""
    threading.Thread(target=function, daemon=True, name=function.__name__).start()


def watch_parent() -> None:
    """End this process when the one that started it has ended."""
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(POLL_SECONDS)
    time.sleep(GRACE_SECONDS)
    end_process("local rank 0, which started this process, has ended")


def end_process(reason: str) -> None:
    """Say why and leave at once: the main thread may be waiting in a collective forever."""
    print(f"error: {reason}", file=sys.stderr, flush=True)
    os._exit(1)


def how_it_ended(code: int) -> str:
    """Put a process's exit code into words."""
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}; its own message says why"
