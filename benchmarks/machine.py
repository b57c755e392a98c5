"""What the benchmarks share: their options, what they are made on, and their files."""

import argparse
import json
import os
import platform
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import torch


def machine(threads: int) -> dict[str, str | int | float]:
    """Return what was measured on."""
    cpu = Path("/proc/cpuinfo")
    names = [line for line in cpu.read_text().splitlines() if line.startswith("model name")]
    return {
        "date": date.today().isoformat(),
        "processor": names[0].split(": ")[1] if names else platform.processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count() or 0,
        "threads": threads,
        "load_at_start": round(os.getloadavg()[0], 2),
        "torch": torch.__version__,
    }


def options_of(doc: str | None, folder: str = "throughput") -> argparse.ArgumentParser:
    """Return a benchmark's parser: its help, the threads, and the folder of its files."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent / folder)
    return parser


def save(out: Path, name: str, report: dict[str, Any], table: Sequence[str] = ()) -> None:
    """Write and print a benchmark's figures, `NAME.json`, and its table, `NAME.md`.

    Args:
        out: Folder of both.
        name: The benchmark's.
        report: All figures; `machine` says where.
        table: Lines of Markdown; none for the figures alone.
    """
    out.mkdir(parents=True, exist_ok=True)
    figures = json.dumps(report, indent=2)
    (out / f"{name}.json").write_text(figures + "\n")
    if table:
        where = ", ".join(f"{fact} {value}" for fact, value in report["machine"].items())
        figures = "\n".join([*table, "", f"{where}."])
        (out / f"{name}.md").write_text(figures + "\n")
    print(figures)
