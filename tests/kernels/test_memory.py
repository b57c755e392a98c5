"""What a batch frees stays with the process, on huge pages where there are any."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

# Ten times 40 MB, written to and freed, of pages of 4 KiB, once that has become a habit.
COUNT_PAGES = """
import resource, sys, torch
from infogan.kernels.memory import reuse_freed_memory
if sys.argv[1] == "keep":
    reuse_freed_memory()
fetched = []
for _ in range(20):
    torch.ones(10_000_000)
    fetched.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
print(fetched[-1] - fetched[9])
"""

# Megabytes on huge pages, of 400 that are written to.
HUGE_MEGABYTES = """
import re, torch
from pathlib import Path
from infogan.kernels.memory import reuse_freed_memory
reuse_freed_memory()
kept = torch.ones(100_000_000)
rollup = Path("/proc/self/smaps_rollup").read_text()
print(int(re.search(r"AnonHugePages: *(\\d+) kB", rollup)[1]) // 1024)
"""
HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc alone is asked to")
def test_freed_pages_are_not_fetched_again() -> None:
    pages = {
        how: int(subprocess.check_output([sys.executable, "-c", COUNT_PAGES, how]))
        for how in ("keep", "return")
    }
    assert pages["keep"] < 1000 < 10_000 < pages["return"]


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc"
    or not HUGE_PAGES.is_file()
    or "[never]" in HUGE_PAGES.read_text(),
    reason="needs glibc, and a system that gives huge pages",
)
def test_tensors_lie_on_huge_pages() -> None:
    assert int(subprocess.check_output([sys.executable, "-c", HUGE_MEGABYTES])) > 100
