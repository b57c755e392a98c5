"""Measure training speed: `python benchmarks/throughput.py [SECTION...] [--help]`.

Every section runs its variants in turns of ten updates, many rounds of them, and writes medians,
ranges and ratios within a round to `OUT/SECTION.json` and `OUT/SECTION.md`:

    step        in both precisions: `fit` as a user runs it, its updates run bare, written the
                obvious way, and compiled by torch, and the limit: FLOPs of both updates over the
                machine's matrix-product rate
    batch       the bare updates by batch size
    images      the bare updates by the image's side and channels
    dataset     `fit` on 10 thousand to 10 million images rendered on the fly
    processes   one process, two that share the batch by `ddp.yaml`, two that share nothing
"""

import argparse
import csv
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from machine import machine, options_of, save
from tables import PRECISIONS, Measurement, in_words, step_summary
from torch.utils.flop_counter import FlopCounterMode
from turns import MATRIX_SIDE, ROOT, Process
from updates import bare_updates, paper_module

from infogan.runtime.precision import native_precision

UPDATES = 10
BATCH = 128
CONFIG = "infogan_mnist_paper.yaml"
WHOLE_RUN = 40


@dataclass(frozen=True)
class Variant:
    """One row of a table.

    Args:
        name: Its name.
        arguments: Of the process; see `turns.py`.
        work: What a second's updates are multiplied by: images of an update.
        first: Whether it is the one that the rows after it are compared to.
    """

    name: str
    arguments: tuple[str, ...]
    work: float = BATCH
    first: bool = False


def of_updates(
    name: str, kind: str, precision: str, batch: int = BATCH, channels: int = 1, side: int = 28
) -> Variant:
    """Return the variant of the updates without a Trainer."""
    numbers = map(str, (batch, channels, side))
    return Variant(name, (kind, str(UPDATES), precision, *numbers), batch)


def fit_arguments(precision: str, *arguments: str) -> tuple[str, ...]:
    """Return the arguments of a `fit` with loggers and callbacks, whose epoch is the whole data."""
    common = ("--wandb", "offline", "--trainer.limit_train_batches", "1.0")
    return ("--config", CONFIG, *common, f"--trainer.precision={precision}", *arguments)


def of_fit(name: str, precision: str, *arguments: str) -> Variant:
    """Return the variant of a `fit`."""
    return Variant(name, ("fit", str(UPDATES), *fit_arguments(precision, *arguments)))


# ---- sections ------------------------------------------------------------------------------------


def step_section() -> Iterator[Variant]:
    """Yield `fit`, its updates bare and written plainly, and the limit, in each precision."""
    share = 2 * MATRIX_SIDE**3 / (flops(BATCH) / BATCH)
    for precision in PRECISIONS:
        matrix = ("matrix", str(UPDATES), precision)
        yield Variant(f"limit, {precision}", matrix, share, first=True)
        yield of_fit(f"fit, {precision}", precision)
        yield of_updates(f"bare updates, {precision}", "bare", precision)
        yield of_updates(f"plain updates, {precision}", "plain", precision)
        yield of_updates(f"compiled updates, {precision}", "compiled", precision)


def batch_section() -> Iterator[Variant]:
    """Yield the bare updates by batch size."""
    for batch in (32, 64, 128, 256, 512, 1024):
        yield of_updates(f"batch {batch}", "bare", native_precision("cpu"), batch)


def images_section() -> Iterator[Variant]:
    """Yield the bare updates by the image's shape."""
    for channels, side in ((1, 28), (1, 32), (1, 64), (3, 28), (3, 32), (3, 64)):
        shape = (channels, side)
        yield of_updates(
            f"{channels} x {side} x {side}", "bare", native_precision("cpu"), BATCH, *shape
        )


def dataset_section() -> Iterator[Variant]:
    """Yield `fit` by the number of training images."""
    for size in (10_000, 100_000, 1_000_000, 10_000_000):
        data = ("--data", "datamodules.BasicPropDataModule", "--data.on_the_fly", "true")
        length = ("--data.train_size", str(size))
        yield of_fit(f"{size:,} images", native_precision("cpu"), *data, *length)


SECTIONS = {
    "step": step_section,
    "batch": batch_section,
    "images": images_section,
    "dataset": dataset_section,
}


def flops(batch: int) -> int:
    """Return the floating-point operations of both updates, by torch's counter."""
    step = bare_updates(paper_module())
    with FlopCounterMode(display=False) as counter:
        step(torch.rand(batch, 1, 28, 28))
    return counter.get_total_flops()


def in_turns(section: str, options: argparse.Namespace) -> dict[str, Measurement]:
    """Run a section's processes at once, and let them work in turns."""
    variants = list(SECTIONS[section]())
    with tempfile.TemporaryDirectory() as folder:
        processes: list[Process] = []
        try:
            for number, variant in enumerate(variants):
                place = Path(folder, str(number))
                processes.append(Process(variant.name, variant.arguments, options.threads, place))
            results = {
                process.name: Measurement(seconds_to_first_update=process.seconds_to_first_update)
                for process in processes
            }
            for number in range(options.rounds):
                for variant, process in zip(variants, processes, strict=True):
                    rate = variant.work * UPDATES / process.turn()
                    results[variant.name].rates.append(rate)
                    results[variant.name].peak_megabytes = process.peak_megabytes
                print(f"{section} round {number + 1} of {options.rounds}")
        finally:
            for process in processes:
                process.end()
    return results


# ---- whole runs, where processes talk to one another -------------------------------------------


def processes_variants(threads: int) -> dict[str, tuple[tuple[str, ...], int, int]]:
    """Return, by name, arguments of `fit`, threads a process, and how many run side by side."""
    halves = max(threads // 2, 1)
    base = fit_arguments(native_precision("cpu"), "--trainer.max_epochs", "1")
    base = (*base, "--trainer.limit_train_batches", str(WHOLE_RUN))
    two = ("--config", "ddp.yaml", "--trainer.accelerator", "cpu", "--trainer.devices", "2")
    return {
        "1 process": (base, 2 * halves, 1),
        "2 processes, ddp.yaml": ((*base, *two, "--global_batch.size", str(BATCH)), halves, 1),
        "2 runs, half a batch each": ((*base, "--data.init_args.batch_size", "64"), halves, 2),
    }


def whole_runs(options: argparse.Namespace) -> dict[str, Measurement]:
    """Run one process and two, one after the other in every round."""
    variants = processes_variants(options.threads)
    results = {name: Measurement() for name in variants}
    for number in range(options.rounds):
        for name, variant in variants.items():
            run_whole(name, *variant, into=results[name])
        print(f"processes round {number + 1} of {options.rounds}")
    return results


def run_whole(
    name: str, arguments: tuple[str, ...], threads: int, count: int, into: Measurement
) -> None:
    """Run `fit` from start to end, `count` times side by side; add what was reached together."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "WANDB_SILENT": "true"}
    with tempfile.TemporaryDirectory() as folder:
        running = []
        for number in range(count):
            place = Path(folder, str(number))
            place.mkdir()
            with (place / "log").open("wb") as log:
                command = (sys.executable, str(ROOT / "cli.py"), "fit", *arguments)
                running.append(
                    subprocess.Popen(command, cwd=place, env=environment, stdout=log, stderr=log)
                )
        for number, process in enumerate(running):
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode:
                sys.exit(f"{name} failed:\n{Path(folder, str(number), 'log').read_text()[-3000:]}")
            into.peak_megabytes = max(into.peak_megabytes, usage.ru_maxrss / 1024)
        into.rates.append(sum(logged_rate(path) for path in Path(folder).rglob("metrics.csv")))


def logged_rate(metrics: Path) -> float:
    """Return the median of the images a second that a run has logged, past the first."""
    with metrics.open() as lines:
        logged = [row.get("train/images_per_second") for row in csv.DictReader(lines)]
    _, *rates = [float(value) for value in logged if value]
    return statistics.median(rates)


def measure(section: str, options: argparse.Namespace) -> None:
    """Run one section and write its files."""
    start = time.perf_counter()
    where = machine(options.threads)
    if section == "processes":
        results, firsts = whole_runs(options), set()
    else:
        results = in_turns(section, options)
        firsts = {variant.name for variant in SECTIONS[section]() if variant.first}
    where["minutes"] = round((time.perf_counter() - start) / 60, 1)
    where["rounds"] = options.rounds
    report = {
        "machine": where,
        "variants": {name: asdict(result) for name, result in results.items()},
    }
    lines = in_words(results, firsts)
    if section == "step":
        lines += ["", *step_summary(results)]
    save(options.out, section, report, lines)


def main() -> None:
    """Run the sections that are asked for."""
    parser = options_of(__doc__)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help="all, if none is given")
    parser.add_argument("--rounds", type=int, default=12, help="at most 40")
    options = parser.parse_args()
    known = (*SECTIONS, "processes")
    # MNIST's epoch, in which no validation interrupts the turns, has 468 batches.
    if set(options.sections) - set(known) or not 0 < options.rounds <= 40 or options.threads < 1:
        parser.error(
            f"sections={options.sections} must be of {', '.join(known)}, rounds from 1 to 40, and "
            "threads at least 1"
        )
    torch.set_num_threads(options.threads)
    for section in options.sections or known:
        measure(section, options)


if __name__ == "__main__":
    main()
