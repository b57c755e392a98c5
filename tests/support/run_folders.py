"""Run folders made by hand, of a few steps."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

CONFIG = {"name": "a", "trainer": {"max_epochs": 2}, "model": {"class_path": "M", "init_args": {}}}
METRICS = """step,train/mi,val/code_accuracy
10,0.5,
20,1.0,0.8
30,1.5,0.7
"""


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """Return a maker of run folders below `runs` in a temporary folder."""

    def make(place: str = "a/version_0", metrics: str | None = METRICS, **summary: Any) -> Path:
        folder = tmp_path / "runs" / place
        folder.mkdir(parents=True)
        (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG))
        if metrics is not None:
            (folder / "metrics.csv").write_text(metrics)
        if summary:
            (folder / "summary.json").write_text(json.dumps(summary))
        return folder

    return make
