"""Files on the local disk: where the project's own lie, and writes that a kill cannot damage."""

from pathlib import Path

# The folder of `cli.py`, or the one of installed packages: `configs/` and `studies/` lie in it.
ROOT = Path(__file__).resolve().parent.parent
