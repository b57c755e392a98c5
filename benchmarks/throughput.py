"""Measure training speed: `python benchmarks/throughput.py [SECTION...] [--help]`.

Every section runs its variants in turn, several rounds, and writes medians, ranges and ratios to
`OUT/SECTION.json` and `OUT/SECTION.md`:

    step        `fit` as a user runs it, its updates run bare, the same updates written the obvious
                way, and the limit: FLOPs of both updates over the machine's matrix-product rate
    processes   one process, two that share the batch by `ddp.yaml`, two that share nothing
    batch       the bare updates by batch size
    images      the bare updates by the image's side and channels
    dataset     `fit` on 10 thousand to 10 million images rendered on the fly
"""

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from machine import machine
from torch.utils.flop_counter import FlopCounterMode
from updates import UPDATES, bare_updates, paper_module

ROOT = Path(__file__).resolve().parent.parent
WARM_UP = 3
LOGGED_EVERY = 10
MATRIX_SIDE = 2048
CONFIG = "infogan_mnist_paper.yaml"


@dataclass
class Measurement:
    """What one variant reached in every round.

    Args:
        images_per_second: Real images a second, past the warm-up.
        peak_megabytes: Peak resident memory of the process, the largest of several.
        seconds_to_first_update: From the start of the process; of `fit` only.
    """

    images_per_second: list[float] = field(default_factory=list)
    peak_megabytes: list[float] = field(default_factory=list)
    seconds_to_first_update: list[float] = field(default_factory=list)


# ---- in this process -----------------------------------------------------------------------------


def time_updates(kind: str, batch: int, channels: int, side: int, updates: int) -> float:
    """Return the images a second of one kind of updates, in this process.

    It is the median over blocks of as many updates as `fit` logs the rate of.
    """
    step = UPDATES[kind](paper_module(channels, side))
    batches = torch.rand(8, batch, channels, side, side)
    for i in range(WARM_UP):
        step(batches[i])
    seconds = []
    for start in range(0, updates, LOGGED_EVERY):
        block = range(start, min(start + LOGGED_EVERY, updates))
        clock = time.perf_counter()
        for i in block:
            step(batches[i % len(batches)])
        seconds.append((time.perf_counter() - clock) / len(block))
    return batch / statistics.median(seconds)


def matrix_rate() -> float:
    """Return the floating-point operations a second of float32 matrix products."""
    a, b = torch.rand(2, MATRIX_SIDE, MATRIX_SIDE)
    torch.mm(a, b)
    seconds = []
    for _ in range(10):
        start = time.perf_counter()
        torch.mm(a, b)
        seconds.append(time.perf_counter() - start)
    return 2 * MATRIX_SIDE**3 / statistics.median(seconds)


def flops(batch: int) -> int:
    """Return the floating-point operations of both updates, by torch's counter."""
    step = bare_updates(paper_module())
    with FlopCounterMode(display=False) as counter:
        step(torch.rand(batch, 1, 28, 28))
    return counter.get_total_flops()


# ---- whole processes -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Variant:
    """Processes that run at the same time and are timed together.

    Args:
        name: Its row in the table.
        commands: Arguments of Python, a process each.
        threads: Threads of each process.
    """

    name: str
    commands: tuple[tuple[str, ...], ...]
    threads: int


def of_updates(
    name: str, kind: str, options: argparse.Namespace, batch: int = 128, *shape: int
) -> Variant:
    """Return the variant that runs `time_updates` in a process of its own."""
    channels, side = shape or (1, 28)
    arguments = (kind, batch, channels, side, options.updates)
    command = (str(Path(__file__).resolve()), "--time", *map(str, arguments))
    return Variant(name, (command,), options.threads)


def of_fit(
    name: str, options: argparse.Namespace, threads: int, *arguments: str, count: int = 1
) -> Variant:
    """Return the variant that runs `fit` as a user would, `count` times side by side."""
    updates = max(options.updates, 20)
    command = (str(ROOT / "cli.py"), "fit", "--config", CONFIG, "--wandb", "offline")
    length = ("--trainer.max_epochs", "1", "--trainer.limit_train_batches", str(updates))
    return Variant(name, ((*command, *length, *arguments),) * count, threads)


def run(variant: Variant, into: Measurement) -> None:
    """Run a variant once and add what it reached."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(variant.threads), "WANDB_SILENT": "true"}
    environment["PYTHONPATH"] = str(ROOT)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        processes: dict[Path, subprocess.Popen[bytes]] = {}
        for number, command in enumerate(variant.commands):
            directory = Path(folder, str(number))
            directory.mkdir()
            with Path(directory, "log").open("wb") as log:
                processes[directory] = subprocess.Popen(
                    (sys.executable, *command),
                    cwd=directory,
                    env=environment,
                    stdout=log,
                    stderr=log,
                )
        is_fit = "fit" in variant.commands[0]
        first = None
        memory = []
        while processes:
            if is_fit and first is None and any(Path(folder).rglob("metrics.csv")):
                first = time.perf_counter() - start
                into.seconds_to_first_update.append(first)
            time.sleep(0.05)
            for directory, process in list(processes.items()):
                pid, status, usage = os.wait4(process.pid, os.WNOHANG)
                if pid == 0:
                    continue
                process.returncode = os.waitstatus_to_exitcode(status)
                if process.returncode:
                    sys.exit(f"{variant.name} failed:\n{(directory / 'log').read_text()[-3000:]}")
                memory.append(usage.ru_maxrss / 1024)
                del processes[directory]
        if is_fit:
            rate = sum(logged_rate(path) for path in Path(folder).rglob("metrics.csv"))
        else:
            rate = float(Path(folder, "0", "log").read_text().split()[-1])
    into.images_per_second.append(rate)
    into.peak_megabytes.append(max(memory))


def logged_rate(metrics: Path) -> float:
    """Return the median of the images a second that a run has logged, past the first."""
    with metrics.open() as lines:
        logged = [row.get("train/images_per_second") for row in csv.DictReader(lines)]
    _, *rates = [float(value) for value in logged if value]
    return statistics.median(rates)


# ---- sections ------------------------------------------------------------------------------------


def step_section(options: argparse.Namespace) -> Iterator[Variant]:
    """Yield `fit`, and its updates without Lightning, fast and plain."""
    yield of_fit("fit", options, options.threads)
    yield of_updates("bare updates", "bare", options)
    yield of_updates("plain updates", "plain", options)


def processes_section(options: argparse.Namespace) -> Iterator[Variant]:
    """Yield one process and two, with the same threads in total."""
    halves = max(options.threads // 2, 1)
    two = ("--config", "ddp.yaml", "--trainer.accelerator", "cpu", "--trainer.devices", "2")
    yield of_fit("1 process", options, 2 * halves)
    yield of_fit("2 processes, ddp.yaml", options, halves, *two, "--global_batch.size", "128")
    half_batch = ("--data.init_args.batch_size", "64")
    yield of_fit("2 runs, half a batch each", options, halves, *half_batch, count=2)


def batch_section(options: argparse.Namespace) -> Iterator[Variant]:
    """Yield the bare updates by batch size."""
    for batch in (32, 64, 128, 256, 512, 1024):
        yield of_updates(f"batch {batch}", "bare", options, batch)


def images_section(options: argparse.Namespace) -> Iterator[Variant]:
    """Yield the bare updates by the image's shape."""
    for channels, side in ((1, 28), (1, 32), (1, 64), (3, 28), (3, 32), (3, 64)):
        name = f"{channels} x {side} x {side}"
        yield of_updates(name, "bare", options, 128, channels, side)


def dataset_section(options: argparse.Namespace) -> Iterator[Variant]:
    """Yield `fit` by the number of training images."""
    for size in (10_000, 100_000, 1_000_000, 10_000_000):
        data = ("--data", "datamodules.BasicPropDataModule", "--data.on_the_fly", "true")
        length = ("--data.train_size", str(size))
        yield of_fit(f"{size:,} images", options, options.threads, *data, *length)


SECTIONS = {
    "step": step_section,
    "processes": processes_section,
    "batch": batch_section,
    "images": images_section,
    "dataset": dataset_section,
}


def spread(values: Sequence[float], form: str) -> str:
    """Return the median and, in brackets, the range."""
    low, high = (format(f(values), form) for f in (min, max))
    return f"{statistics.median(values):{form}} ({low} to {high})"


def in_words(section: str, results: dict[str, Measurement], limit: Sequence[float]) -> list[str]:
    """Return the section's table and what follows from it, as Markdown."""
    (first, reference), *_ = results.items()
    lines = [
        f"| variant | images/s | ratio to {first} | peak memory in MB | s to the first log |",
        "|---|---|---|---|---|",
    ]
    for name, result in results.items():
        pairs = zip(result.images_per_second, reference.images_per_second, strict=True)
        ratio = spread([a / b for a, b in pairs], ".3f")
        starts = result.seconds_to_first_update
        cells = (
            name,
            spread(result.images_per_second, ".0f"),
            ratio,
            spread(result.peak_megabytes, ".0f"),
            spread(starts, ".1f") if starts else "",
        )
        lines.append(f"| {' | '.join(cells)} |")
    medians = {name: statistics.median(r.images_per_second) for name, r in results.items()}
    if section == "step":
        most = statistics.median(limit)
        lines += ["", f"Limit: {spread(limit, '.0f')} images/s; of it:"]
        lines += [f"- {name}: {rate / most:.1%}" for name, rate in medians.items()]
    if section == "processes":
        _, together, apart = medians.values()
        lines += ["", f"Share of a step in communication and waiting: {1 - together / apart:.1%}"]
    return lines


def measure(section: str, options: argparse.Namespace) -> None:
    """Run one section and write its files."""
    start = time.perf_counter()
    where = machine(options.threads)
    variants = list(SECTIONS[section](options))
    results = {variant.name: Measurement() for variant in variants}
    limit: list[float] = []
    for number in range(options.rounds):
        if section == "step":
            limit.append(128 * matrix_rate() / flops(128))
        for variant in variants:
            run(variant, results[variant.name])
            rate = results[variant.name].images_per_second[-1]
            print(f"{section} {number + 1}/{options.rounds} {variant.name}: {rate:.1f} images/s")
    where["minutes"] = round((time.perf_counter() - start) / 60, 1)
    where["rounds"], where["updates"] = options.rounds, options.updates
    report = {
        "machine": where,
        "limit_images_per_second": limit,
        "variants": {name: asdict(result) for name, result in results.items()},
    }
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / f"{section}.json").write_text(json.dumps(report, indent=2) + "\n")
    lines = in_words(section, results, limit)
    lines += ["", ", ".join(f"{name} {value}" for name, value in where.items()) + "."]
    (options.out / f"{section}.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def main() -> None:
    """Run the sections that are asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sections", nargs="*", metavar="SECTION", help="all, if none is given")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--updates", type=int, default=40, help="updates a run; of fit >= 20")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "throughput")
    parser.add_argument("--time", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.time:
        kind, *numbers = options.time
        print(time_updates(kind, *map(int, numbers)))
        return
    unknown = set(options.sections) - set(SECTIONS)
    if unknown or options.rounds < 1 or options.updates < 1 or options.threads < 1:
        parser.error(
            f"sections={options.sections} must be of {', '.join(SECTIONS)}, and rounds, updates "
            "and threads at least 1"
        )
    torch.set_num_threads(options.threads)
    for section in options.sections or SECTIONS:
        measure(section, options)


if __name__ == "__main__":
    main()
