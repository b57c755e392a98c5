"""How fast several processes train on one card: alone, in turns, and side by side through MPS.

Without NVIDIA's multi-process service a card runs one process at a time; with it, kernels of
several processes run side by side.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from benchmarks.gpu.part import ROOT, Part
from benchmarks.gpu.speed import synchronize, variant

PROCESSES = 8
SECONDS = 3.0


@contextmanager
def multi_process_service(folder: Path) -> Iterator[bool]:
    """Run NVIDIA's multi-process service, where it is installed; yield whether it runs."""
    places = {"CUDA_MPS_PIPE_DIRECTORY": "pipe", "CUDA_MPS_LOG_DIRECTORY": "log"}
    for name, place in places.items():
        os.environ[name] = str(folder / place)
        (folder / place).mkdir(parents=True, exist_ok=True)
    try:
        control = subprocess.run(["nvidia-cuda-mps-control", "-d"], check=False)
    except OSError:
        yield False
        return
    try:
        yield control.returncode == 0
    finally:
        subprocess.run(["nvidia-cuda-mps-control"], input=b"quit\n", check=False)
        for name in places:
            del os.environ[name]


def count() -> None:
    """Say when ready; from the moment that is answered, run updates; print batches a second."""
    torch.set_num_threads(1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    real = torch.rand(128, 1, 28, 28, device=device)
    step = variant("bare captured" if device.type == "cuda" else "bare", device)
    for _ in range(8 if device.type == "cuda" else 1):
        step(real)
    synchronize(device)
    print("ready", flush=True)
    start = float(input())
    time.sleep(max(start - time.time(), 0.0))
    batches = 0
    while time.time() < start + SECONDS:
        for _ in range(10 if device.type == "cuda" else 1):
            step(real)
            batches += 1
        synchronize(device)
    print(batches / (time.time() - start))


def rate(processes: int) -> float:
    """Return the batches a second of several processes together."""
    command = [sys.executable, "-m", "benchmarks.gpu.many", "--count"]
    running = [
        subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(processes)
    ]
    for process in running:
        assert process.stdout is not None
        process.stdout.readline()
    start = time.time() + 0.2
    for process in running:
        assert process.stdin is not None
        process.stdin.write(f"{start}\n")
        process.stdin.flush()
    return sum(float(process.communicate()[0]) for process in running)


def main() -> None:
    """Measure one, then several, then several through the service."""
    if sys.argv[1] == "--count":
        count()
        return
    part = Part.of_arguments()
    rates = {"1": rate(1), str(PROCESSES): rate(PROCESSES)}
    note(part, rates)
    if part.device == "cuda":
        with multi_process_service(part.scratch / "mps") as runs:
            if runs:
                rates[f"{PROCESSES} with MPS"] = rate(PROCESSES)
    note(part, rates)


def note(part: Part, rates: dict[str, float]) -> None:
    """Write what there is."""
    line = ", ".join(f"{name}: {value:.0f}" for name, value in rates.items())
    part.write("many", f"batches/s of 128 by processes: {line}", rates=rates)


if __name__ == "__main__":
    main()
