"""The updates of the paper's recipe in bf16: bare, plainly written, compiled, captured; and `fit`.

All variants of a batch size work in turns; a figure is the median of the rounds.
"""

import csv
import shutil
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu.part import Part, timed
from benchmarks.updates import bare_updates, compiled_updates, paper_module, plain_updates
from infogan.modules.update_graph import UpdateGraph

BATCHES = (128, 512, 2048)
ROUNDS, UPDATES = 7, 30
Step = Callable[[Tensor], Any]


def variant(name: str, device: torch.device) -> Step:
    """Return one way to run both updates on a batch."""
    module = paper_module().to(device)
    kinds = {"plain": plain_updates, "compiled": compiled_updates, "bare": bare_updates}
    updates = kinds[name.partition(" ")[0]](module)

    def in_bf16(real: Tensor) -> dict[str, Tensor]:
        with torch.autocast(device.type, torch.bfloat16, cache_enabled=False):
            updates(real)
        return {}

    if name.endswith("captured"):
        for group in (
            group for optimizer in updates.optimizers for group in optimizer.param_groups
        ):
            # Their state has to be on the card from the first step on.
            group["capturable"] = True
        return UpdateGraph(in_bf16, updates.optimizers).run
    return in_bf16


def seconds_an_update(step: Step, real: Tensor, updates: int) -> float:
    """Return the seconds that one batch's updates take."""
    synchronize(real.device)
    start = time.perf_counter()
    for _ in range(updates):
        step(real)
    synchronize(real.device)
    return (time.perf_counter() - start) / updates


def synchronize(device: torch.device) -> None:
    """Wait for the card."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_megabytes(step: Step, real: Tensor) -> float | None:
    """Return the peak memory on the card of one batch, with what the variant holds."""
    if real.device.type != "cuda":
        return None
    torch.cuda.reset_peak_memory_stats()
    step(real)
    return round(torch.cuda.max_memory_reserved() / 2**20)


def rows_of(
    batch: int, names: list[str], device: torch.device, quick: bool
) -> list[dict[str, Any]]:
    """Measure the variants of one batch size in turns."""
    real = torch.rand(batch, 1, 28, 28, device=device)
    rounds, updates = (1, 1) if quick else (ROUNDS, max(UPDATES * 128 // batch, 5))
    steps, peaks = {}, {}
    for name in names:
        if device.type == "cuda":
            torch.cuda.empty_cache()
        steps[name] = variant(name, device)
        for _ in range(1 if quick else 6):
            steps[name](real)
        peaks[name] = peak_megabytes(steps[name], real)
    times: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        for name, step in steps.items():
            times[name].append(seconds_an_update(step, real, updates))
    return [
        {
            "batch": batch,
            "variant": name,
            "milliseconds": round(1000 * statistics.median(times[name]), 3),
            "range": [round(1000 * t, 3) for t in (min(times[name]), max(times[name]))],
            "images_per_second": round(batch / statistics.median(times[name])),
            "peak_megabytes": peaks[name],
        }
        for name in names
    ]


def rate_of_fit(part: Part, name: str, *options: str) -> dict[str, Any]:
    """Return what `fit` of the paper's recipe reaches, by its own log."""
    runs = part.scratch / f"speed_{name}"
    shutil.rmtree(runs, ignore_errors=True)
    epochs = ("--trainer.max_epochs=8",) if part.device == "cuda" else ("--trainer.max_epochs=1",)
    few = () if part.device == "cuda" else ("--trainer.limit_train_batches=12",)
    timed(
        *("cli.py", "fit", "--config=infogan_mnist_paper.yaml", f"--save_dir={runs}"),
        *("--wandb=disabled", *epochs, *few, *options, *part.accelerator),
    )
    rows = csv.DictReader((runs / "infogan_mnist_paper/version_0/metrics.csv").open())
    logged = [row.get("train/images_per_second") for row in rows]
    rates = [float(rate) for rate in logged if rate][1:] or [0.0]
    shutil.rmtree(runs, ignore_errors=True)
    rate = statistics.median(rates)
    return {"batch": 128, "variant": name, "images_per_second": round(rate)}


def main() -> None:
    """Measure, and write what there is after each step."""
    part = Part.of_arguments()
    device = torch.device(part.device)
    end = time.monotonic() + part.seconds
    quick = part.device == "cpu"
    names = ["bare", "plain"] if quick else ["bare captured", "bare", "plain captured", "plain"]
    rows: list[dict[str, Any]] = []

    def note(more: list[dict[str, Any]]) -> None:
        rows.extend(more)
        first = {row["variant"]: row["images_per_second"] for row in rows if row["batch"] == 128}
        line = ", ".join(f"{name} {rate}" for name, rate in first.items())
        part.write("speed", f"images/s at batch 128: {line}", rows=rows)

    note(rows_of(128, names, device, quick))
    note([rate_of_fit(part, "fit")])
    if not quick:
        note([rate_of_fit(part, "fit without graph", "--model.init_args.cuda_graph=false")])
    for batch in BATCHES[1:] if not quick else ():
        note(rows_of(batch, names, device, quick))
    # Compiling takes about as long as all the rest.
    if not quick and end - time.monotonic() > 60:
        note(rows_of(128, ["compiled"], device, quick))


if __name__ == "__main__":
    main()
