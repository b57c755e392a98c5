"""Measure the time from the start of `fit` to a held-out code accuracy: see `--help`.

Runs the quick recipe on MNIST once a seed, one run at a time on all cores, its data cached, and
notes the seconds from the start of the process to the first validation that reaches the target,
where it ends the run, or after so many minutes. Writes `OUT/time_to_accuracy.json`.
"""

import argparse
import math
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import machine, options_of, save

from datamodules import MNISTDataModule
from infogan.commands.runs import ACCURACY, RunRecord

ROOT = Path(__file__).resolve().parent.parent
COMMAND = ("fit", "--config", "infogan_mnist.yaml", "--config", "quick.yaml")


def train(seed: int, options: argparse.Namespace) -> dict[str, float | int | bool]:
    """Train from one seed until the target is reached or the time is over."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads), "WANDB_SILENT": "true"}
    with tempfile.TemporaryDirectory() as folder, Path(folder, "log").open("wb") as log:
        version = Path(folder, "runs", "infogan_mnist", "version_0")
        arguments = (*COMMAND, "--seed_everything", str(seed), "--wandb", "offline")
        start = time.perf_counter()
        process = subprocess.Popen(
            (sys.executable, str(ROOT / "cli.py"), *arguments),
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=log,
        )
        best = None
        while process.poll() is None and time.perf_counter() - start < 60 * options.minutes:
            time.sleep(0.2)
            # A new object each time: it keeps the rows that it has read.
            best = RunRecord(version).best(ACCURACY)
            if best and best.value >= options.target:
                break
        seconds = time.perf_counter() - start
        process.terminate()
        code = process.wait()
        if best is None or code not in (0, 128 + signal.SIGTERM, -signal.SIGTERM):
            sys.exit(f"seed {seed} failed:\n{Path(folder, 'log').read_text()[-3000:]}")
        return {
            "seed": seed,
            "reached": best.value >= options.target,
            "seconds": round(seconds, 1),
            "batches": best.step,
            "code_accuracy": best.value,
        }


def main() -> None:
    """Run every seed and write what it took."""
    parser = options_of(__doc__)
    parser.add_argument("--target", type=float, default=0.95)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--minutes", type=float, default=15.0, help="the most that a run may take")
    options = parser.parse_args()
    MNISTDataModule().prepare_data()
    where = machine(options.threads)
    runs = [train(seed, options) for seed in options.seeds]
    # A run that does not get there takes longer than any that does.
    median = statistics.median(run["seconds"] if run["reached"] else math.inf for run in runs)
    report = {
        "command": " ".join(COMMAND),
        "machine": where,
        "target": options.target,
        "runs": runs,
        "median_seconds": median if math.isfinite(median) else None,
    }
    save(options.out, "time_to_accuracy", report)


if __name__ == "__main__":
    main()
