"""What a batch frees stays with the process."""

import platform
import subprocess
import sys

import pytest

# Ten times 40 MB, written to and freed, of pages of 4 KiB, once that has become a habit.
COUNT_PAGES = """
import resource, sys, torch
from infogan.memory import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
fetched = []
for _ in range(20):
    torch.ones(10_000_000)
    fetched.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
print(fetched[-1] - fetched[9])
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc alone is asked to")
def test_freed_pages_are_not_fetched_again() -> None:
    pages = {
        how: int(subprocess.check_output([sys.executable, "-c", COUNT_PAGES, how]))
        for how in ("keep", "return")
    }
    assert pages["keep"] < 1000 < 10_000 < pages["return"]
