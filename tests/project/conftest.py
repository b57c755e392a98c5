"""What several tests of the project need."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Outcome
from tests.support.report import DATA, write_study


@pytest.fixture
def data(report_command: Callable[..., Outcome]) -> Path:
    """Write all that the shipped templates need."""
    write_study("paper_table")
    held_out = {"val_split": "5000 of train", "precision": "bf16-mixed"}
    for name in ("paper", "ablation", "separation", "quick"):
        write_study(name, cells=held_out)
    return DATA
