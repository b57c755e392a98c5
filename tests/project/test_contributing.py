"""The changes that CONTRIBUTING.md shows apply and work."""

import csv
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests import ROOT

PAGE = (ROOT / "CONTRIBUTING.md").read_text()
DIFFS = re.findall(r"```diff\n(.*?)```", PAGE, flags=re.DOTALL)


def test_the_shown_changes_train(tmp_path: Path) -> None:
    """A data set, an experiment on it and a metric, in a copy of the code."""
    assert len(DIFFS) == 3
    for part in ("infogan", "datamodules", "configs"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "cli.py", tmp_path)
    for diff in DIFFS:
        subprocess.run(["git", "apply", "-"], input=diff, text=True, cwd=tmp_path, check=True)
    fit = ("fit", "--config", "infogan_digits.yaml", "--trainer.max_epochs", "2")
    # A developer's environment may know the package from elsewhere.
    subprocess.run(
        [sys.executable, "cli.py", *fit, "--wandb", "disabled"],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"},
        check=True,
        capture_output=True,
    )
    (metrics,) = (tmp_path / "runs").rglob("metrics.csv")
    with metrics.open(newline="") as file:
        scores = [row["val/homogeneity"] for row in csv.DictReader(file) if row["val/nmi"]]
    assert len(scores) == 2 and all(0 <= float(score) <= 1 for score in scores)
