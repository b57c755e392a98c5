"""Measure what an update pair's time goes to: `python benchmarks/shares.py [--help]`.

Profiles the bare updates in both precisions and writes the share of each kind of operation to
`OUT/shares.json` and `OUT/shares.md`.
"""

from collections import defaultdict

import torch
from machine import machine, options_of, save
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
    parser = options_of(__doc__)
    parser.add_argument("--updates", type=int, default=20)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    where = machine(options.threads)
    found = {precision: shares(precision, options.updates) for precision in DTYPES}
    report = {"machine": where, "updates": options.updates, "shares": found}
    lines = [f"| | {' | '.join(DTYPES)} |", "|---|---|---|"]
    for kind in (*KINDS, REST):
        cells = " | ".join(f"{of_precision[kind]:.0%}" for of_precision in found.values())
        lines.append(f"| {kind} | {cells} |")
    save(options.out, "shares", report, lines)


if __name__ == "__main__":
    main()
