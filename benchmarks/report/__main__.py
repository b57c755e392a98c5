"""`python -m benchmarks.report`: write docs/results.md from the studies' committed data."""

import sys

from benchmarks.report.command import report
from infogan.commands.main import run
from infogan.commands.runner import run_function


def main(argv: list[str]) -> int:
    """Write the report; return the exit code."""
    return run(lambda: run_function(report, ["report", *argv]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
