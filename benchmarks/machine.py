"""What a measurement was made on."""

import os
import platform
from datetime import date
from pathlib import Path

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
