"""Where members run: on the machine's cores, or several at a time on each of its GPUs."""

import os
import subprocess

# Members on one GPU by default. These networks leave most of a card idle between launches, and
# each member keeps a core busy.
JOBS_PER_GPU = 8


def num_cores() -> int:
    """Return the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def visible_gpus() -> list[str]:
    """Return the GPUs as `CUDA_VISIBLE_DEVICES` names them, without starting CUDA."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is None:
        try:
            query = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
            answer = subprocess.run(query, capture_output=True, text=True, timeout=60)
        except (OSError, subprocess.TimeoutExpired):
            return []
        return answer.stdout.split() if answer.returncode == 0 else []
    gpus = []
    for gpu in given.split(","):
        # What follows an empty or negative number is invisible to CUDA, too.
        if gpu.strip() in ("", "-1"):
            break
        gpus.append(gpu.strip())
    return gpus


def places(jobs: int | None, threads: int) -> list[str | None]:
    """Return the GPU of every member that runs at a time, None where there is no GPU.

    The first ones go to different GPUs.

    Args:
        jobs: Members at a time on each GPU, or in all where there is none; None for what the cores
            allow, at most `JOBS_PER_GPU` on a GPU.
        threads: Threads of each member.
    """
    gpus: list[str | None] = [*visible_gpus()] or [None]
    if jobs is None:
        jobs = max(1, num_cores() // threads // len(gpus))
        if gpus != [None]:
            jobs = min(jobs, JOBS_PER_GPU)
    return gpus * jobs
