"""Start the processes of one machine, and end them all as soon as one has failed."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins import CheckpointIO
from pytorch_lightning.plugins.environments import ClusterEnvironment, SLURMEnvironment
from torch import distributed

from infogan.errors import ConfigurationError
from infogan.runtime.checkpoints import AtomicCheckpointIO
from infogan.runtime.signals import SIGNALS

# Set in the processes that were started here, to the process that started them.
LAUNCHER_VARIABLE = "INFOGAN_LAUNCHER"
# With these, all ranks end together: stopped by a callback, interrupted by a signal.
AGREED_EXIT_CODES = (3, *(128 + signum for signum in SIGNALS))
POLL_SECONDS = 0.5
# What a rank has, once another has failed, to end by itself and say what it knows.
GRACE_SECONDS = 20.0


class RankFailedError(RuntimeError):
    """Another process of the run failed, so that this one could not go on."""


class WatchedLauncher:
    """Start one process a rank; a rank that fails ends all others with its reason.

    Lightning's launcher kills everything, the reason included, when a process it started has
    failed, and leaves the processes it started alone when it is itself killed. They would wait
    forever inside a collective. `torchrun --standalone` kills them likewise, before they have said
    what they know.

    Args:
        cluster_environment: Who else there is.
        num_processes: Processes of this machine.
        num_nodes: Machines.
    """

    is_interactive_compatible = False  # in a notebook, there is no command to run again

    def __init__(
        self, cluster_environment: ClusterEnvironment, num_processes: int, num_nodes: int
    ) -> None:
        self.cluster_environment = cluster_environment
        self.num_processes = num_processes
        self.num_nodes = num_nodes
        self.procs: list[subprocess.Popen] = []

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
        if not self.cluster_environment.creates_processes_externally:
            os.environ[LAUNCHER_VARIABLE] = str(os.getpid())
            self.start_processes()
            in_background(self.watch_children)
        elif os.environ.get(LAUNCHER_VARIABLE) == str(os.getppid()):
            in_background(watch_parent)
        if "OMP_NUM_THREADS" not in os.environ:
            share = max(1, len(os.sched_getaffinity(0)) // self.num_processes)
            os.environ["OMP_NUM_THREADS"] = str(share)
            torch.set_num_threads(share)
        try:
            return function(*args, **kwargs)
        except RuntimeError as error:
            # A broken connection is no reason: that is what the other rank has said.
            failure = self.wait_for_failure()
            if failure is None:
                raise
            raise RankFailedError(failure) from error

    def start_processes(self) -> None:
        """Run this program's command once more for every other rank of this machine."""
        environment = self.cluster_environment
        os.environ["MASTER_ADDR"] = environment.main_address
        os.environ["MASTER_PORT"] = str(environment.main_port)
        os.environ["NODE_RANK"] = str(environment.node_rank())
        os.environ["LOCAL_RANK"] = "0"
        os.environ["WORLD_SIZE"] = str(self.num_processes * self.num_nodes)
        spec = sys.modules["__main__"].__spec__
        program = [str(Path(sys.argv[0]).resolve())] if spec is None else ["-m", spec.name]
        for rank in range(1, self.num_processes):
            self.procs.append(
                subprocess.Popen(
                    [sys.executable, *program, *sys.argv[1:]],
                    env={**os.environ, "LOCAL_RANK": str(rank)},
                )
            )

    def kill(self, signum: int) -> None:
        """Send a signal to the processes that were started here."""
        for process in self.procs:
            process.send_signal(signum)

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


def given_topology(num_visible: int = 0) -> dict[str, int]:
    """Return the trainer's `num_nodes` and `devices` where torchrun or srun has decided them.

    Args:
        num_visible: GPUs that this process sees; 0 if it trains on CPUs. Where each process sees
            one alone, as with `--gpus-per-task=1`, each counts as a node of one device.

    Raises:
        ConfigurationError: If other processes are expected that nobody has started, or they do not
            fit the GPUs.
    """
    given = os.environ
    if distributed.is_available() and distributed.is_torchelastic_launched():
        world_size, processes = int(given["WORLD_SIZE"]), int(given["LOCAL_WORLD_SIZE"])
    elif SLURMEnvironment.detect():
        world_size, processes = slurm_tasks()
    else:
        return {}
    if num_visible == 1:
        return {"num_nodes": world_size, "devices": 1}
    if 0 < num_visible < processes:
        raise ConfigurationError(
            f"{processes} processes a node see {num_visible} GPUs: ask for as many processes as "
            "GPUs, such as --ntasks-per-node=4 --gpus-per-node=4"
        )
    return {"num_nodes": world_size // processes, "devices": processes}


def slurm_tasks() -> tuple[int, int]:
    """Return the number of tasks of a Slurm job, and of those on each node.

    Raises:
        ConfigurationError: If the job has several tasks, and srun has not started this one.
    """
    num_tasks, num_nodes = int(os.environ["SLURM_NTASKS"]), int(os.environ.get("SLURM_NNODES", 1))
    # srun gives its tasks these; a batch script or a shell within a job has the job's alone.
    if num_tasks > 1 and os.environ.get("SLURM_STEP_NUM_TASKS") != str(num_tasks):
        raise ConfigurationError(
            f"SLURM_NTASKS={num_tasks}, but srun has not started this process, which would wait "
            f"for {num_tasks - 1} more: put `srun` in front of the command, or run "
            "`unset SLURM_NTASKS` to train in one process"
        )
    if num_tasks % num_nodes:
        raise ConfigurationError(
            f"SLURM_NTASKS={num_tasks} does not divide among SLURM_NNODES={num_nodes}: give "
            "--ntasks-per-node in place of --ntasks"
        )
    return num_tasks, num_tasks // num_nodes


def with_own_plugins(plugins: Any) -> list[Any]:
    """Add safe checkpoints, and Slurm without Lightning's own requeueing, which deadlocks."""
    given = list(plugins) if isinstance(plugins, list | tuple) else [plugins] if plugins else []
    if not any(isinstance(plugin, CheckpointIO) for plugin in given):
        given.append(AtomicCheckpointIO())
    is_placed = any(isinstance(plugin, ClusterEnvironment) for plugin in given)
    if SLURMEnvironment.detect() and not is_placed:
        given.append(SLURMEnvironment(auto_requeue=False))
    return given


def in_background(function: Callable[[], None]) -> threading.Thread:
    """Run a function in a thread that does not keep the program alive."""
    thread = threading.Thread(target=function, daemon=True, name=function.__name__)
    thread.start()
    return thread


def watch_parent() -> None:
    """End this process when the one that started it has ended."""
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(POLL_SECONDS)
    time.sleep(GRACE_SECONDS)
    end_process("local rank 0, which started this process, has ended")


def has_peers() -> bool:
    """Return whether this process is one of several ranks of a process group."""
    is_joined = distributed.is_available() and distributed.is_initialized()
    return is_joined and distributed.get_world_size() > 1


def leave_at_once(code: int) -> NoReturn:
    """End this rank, whose loggers have been told, without waiting for the others.

    On GPUs Lightning destroys the process group at the program's end, which waits for the ranks
    that sit in a collective: the exit code that ends them would never come.
    """
    if "wandb" in sys.modules:
        # Sends what is left; without a connection it would not come back.
        in_background(lambda: sys.modules["wandb"].finish(exit_code=code)).join(GRACE_SECONDS / 2)
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def end_process(reason: str) -> None:
    """Say why and leave at once: the main thread may be waiting in a collective forever."""
    print(f"error: {reason}", file=sys.stderr, flush=True)
    os._exit(1)


def how_it_ended(code: int) -> str:
    """Put a process's exit code into words."""
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}; its own message says why"
