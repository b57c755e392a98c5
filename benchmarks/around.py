"""Measure what is around the training step: `python benchmarks/around.py [--help]`.

The time that `--help` and `fit --help` take; and of a `fit` of so many epochs, with all that a user
has, the seconds to the first update, and the share of an epoch that validation, traversals,
checkpoints and every other callback take. Writes `OUT/around.json` and `OUT/around.md`.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from machine import machine, options_of, save
from pytorch_lightning.profilers import SimpleProfiler

ROOT = Path(__file__).resolve().parent.parent
EPOCH = "run_training_epoch"


class HookTimes(SimpleProfiler):
    """Writes the seconds of every hook to a file when it is asked for its summary.

    Args:
        path: The file.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = Path(path)

    def summary(self) -> str:
        """Write and return the seconds by hook."""
        text = json.dumps({name: sum(times) for name, times in self.recorded_durations.items()})
        self.path.write_text(text)
        return text


def run(*arguments: str, threads: int, folder: Path) -> tuple[float, float | None]:
    """Run `cli.py`; return its seconds, and those until it has logged its first update."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "WANDB_SILENT": "true"}
    environment["PYTHONPATH"] = str(Path(__file__).parent)
    start, first = time.perf_counter(), None
    with (folder / "log").open("wb") as log:
        command = (sys.executable, str(ROOT / "cli.py"), *arguments)
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
        while process.poll() is None:
            time.sleep(0.02)
            if first is None and any(folder.rglob("metrics.csv")):
                first = time.perf_counter() - start
    if process.returncode:
        sys.exit(f"cli.py {' '.join(arguments)} failed:\n{(folder / 'log').read_text()[-3000:]}")
    return time.perf_counter() - start, first


def by_part(hooks: dict[str, float]) -> dict[str, float]:
    """Return the share of all epochs by callback, and of validation's own steps."""
    parts: dict[str, float] = defaultdict(float)
    for name, seconds in hooks.items():
        callback = re.match(r"\[Callback\](\w+)", name)
        if callback and ("validation" in name or "train_" in name):
            parts[callback[1]] += seconds
        elif "validation_step" in name and "[Strategy]" in name:
            parts["validation steps"] += seconds
    epochs = hooks[EPOCH]
    shares = {name: seconds / epochs for name, seconds in parts.items()}
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def measure(options: argparse.Namespace) -> dict[str, object]:
    """Return all figures."""
    where = machine(options.threads)
    report: dict[str, object] = {"machine": where}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for arguments in (("--help",), ("fit", "--help")):
            times = [run(*arguments, threads=options.threads, folder=folder)[0] for _ in range(3)]
            report[f"seconds of cli.py {' '.join(arguments)}"] = statistics.median(times)
        profiler = {"class_path": "around.HookTimes", "init_args": {"path": "hooks.json"}}
        fit = ("fit", "--config", options.config, "--wandb", "offline")
        logged = ("--trainer.log_every_n_steps", "1")
        length = ("--trainer.max_epochs", str(options.epochs))
        traced = ("--trainer.profiler", json.dumps(profiler))
        seconds, first = run(
            *fit, *logged, *length, *traced, threads=options.threads, folder=folder
        )
        hooks = json.loads((folder / "hooks.json").read_text())
        report["config"], report["epochs"] = options.config, options.epochs
        report["seconds of the run"] = seconds
        report["seconds to the first update, logged"] = first
        report["seconds of an epoch"] = hooks[EPOCH] / options.epochs
        report["share of an epoch"] = by_part(hooks)
        (checkpoint,) = folder.rglob("last.ckpt")
        report["megabytes of a checkpoint"] = checkpoint.stat().st_size / 1e6
    return report


def as_table(report: dict[str, object]) -> list[str]:
    """Return the figures as lines of Markdown."""
    lines = ["| what | figure |", "|---|---|"]
    for name, value in report.items():
        if isinstance(value, int | float):
            lines.append(f"| {name} | {value:.3g} |")
    shares = report["share of an epoch"]
    assert isinstance(shares, dict)
    seen = {name: value for name, value in shares.items() if value >= 0.0005}
    return [*lines, *(f"| share of an epoch: {n} | {value:.1%} |" for n, value in seen.items())]


def main() -> None:
    """Measure and write."""
    parser = options_of(__doc__)
    parser.add_argument("--config", default="infogan_mnist.yaml")
    parser.add_argument("--epochs", type=int, default=2)
    options = parser.parse_args()
    report = measure(options)
    save(options.out, "around", report, as_table(report))


if __name__ == "__main__":
    main()
