"""What a run asks of Slurm: to be put back into the queue."""

import os
import signal
import subprocess
import time

from pytorch_lightning.utilities import rank_zero_info, rank_zero_warn

REQUEUE_TRIALS = 5


def slurm_job() -> str | None:
    """Return the id of the Slurm job that runs this process, if there is one."""
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        return f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    return os.environ.get("SLURM_JOB_ID")


def is_to_be_requeued(job: str, signum: signal.Signals) -> bool:
    """Return whether to requeue a job that got a signal: not if its user cancelled it.

    Slurm requeues a preempted job only if it does not end by itself within its grace time.
    """
    if signum in (signal.SIGUSR1, signal.SIGINT):
        return signum == signal.SIGUSR1
    shown = scontrol("show", "job", "--oneliner", job)[0]
    return "PreemptTime=" in shown and "PreemptTime=None" not in shown


def requeue(job: str) -> None:
    """Put a Slurm job back into the queue; say so if it cannot be."""
    answer = ""
    for _ in range(REQUEUE_TRIALS):
        # A trial may fail only because the signal has hit scontrol as well.
        answer, is_done = scontrol("requeue", job)
        if is_done:
            rank_zero_info(f"Slurm job {job} is in the queue again")
            return
        time.sleep(0.5)
    rank_zero_warn(f"Slurm job {job} cannot be requeued ({answer}): submit it again to go on")


def scontrol(*arguments: str) -> tuple[str, bool]:
    """Return what Slurm answers, and whether it has done what it was asked."""
    try:
        result = subprocess.run(
            ["scontrol", *arguments], capture_output=True, text=True, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error), False
    answer = (result.stdout + result.stderr).strip()
    return answer or f"exit code {result.returncode}", result.returncode == 0
