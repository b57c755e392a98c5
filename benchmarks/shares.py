"""Measure what an update pair's time goes to: `python benchmarks/shares.py [--help]`.

Profiles the bare updates in both precisions and writes the share of each kind of operation to
`OUT/shares.json` and `OUT/shares.md`.
"""

import argparse
import json
import os
from collections import defaultdict
from pathlib import Path

import torch
from machine import machine
from torch.profiler import ProfilerActivity, profile
from turns import DTYPES, autocast
from updates import bare_updates, paper_module

BATCH = 128
WARM_UP = 3
# By what an operation's name holds; the first that fits.
KINDS = {
    "optimizer": ("adam", "Optimizer"),
    "convolutions": ("convolution",),
    "matrix products": ("mm",),
    "casts and copies": ("copy", "cat"),
    "normalisation and activations": ("norm", "relu", "threshold", "clamp", "sigmoid"),
}
REST = "everything else"


def kind_of(operation: str) -> str:
    """Return the kind of an operation, by its name."""
    fitting = (kind for kind, parts in KINDS.items() if any(part in operation for part in parts))
    return next(fitting, REST)


def shares(precision: str, updates: int) -> dict[str, float]:
    """Return the share of the time by kind of operation."""
    step = bare_updates(paper_module())
    images = torch.rand(BATCH, 1, 28, 28)

    def run(count: int) -> None:
        for _ in range(count):
            with autocast(precision):
                step(images)

    run(WARM_UP)
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        run(updates)
    times: dict[str, float] = defaultdict(float)
    for event in profiler.key_averages():
        times[kind_of(event.key)] += event.self_cpu_time_total
    total = sum(times.values())
    return {kind: times[kind] / total for kind in (*KINDS, REST)}


def main() -> None:
    """Profile and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--updates", type=int, default=20)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent / "throughput")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    where = machine(options.threads)
    found = {precision: shares(precision, options.updates) for precision in DTYPES}
    options.out.mkdir(parents=True, exist_ok=True)
    report = {"machine": where, "updates": options.updates, "shares": found}
    (options.out / "shares.json").write_text(json.dumps(report, indent=2) + "\n")
    lines = [f"| | {' | '.join(DTYPES)} |", "|---|---|---|"]
    for kind in (*KINDS, REST):
        cells = " | ".join(f"{of_precision[kind]:.0%}" for of_precision in found.values())
        lines.append(f"| {kind} | {cells} |")
    lines += ["", ", ".join(f"{name} {value}" for name, value in where.items()) + "."]
    (options.out / "shares.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
