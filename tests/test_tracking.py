"""Weights & Biases without an account: an offline run that can be read back."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from infogan.loggers import log_picture
from tests.conftest import TINY

CLI = Path(__file__).parent.parent / "cli.py"


def records(run_file: Path) -> list[dict[str, Any]]:
    """Read an offline run record by record with W&B's own reader."""
    result = subprocess.run(
        [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(run_file)],
        capture_output=True,
        text=True,
        check=True,
    )
    return [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]


@pytest.fixture(scope="module")
def offline_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run made by a user without an account, key or terminal."""
    folder = tmp_path_factory.mktemp("offline")
    home = folder / "home"
    home.mkdir()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("WANDB")}
    cache = os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))
    environment |= {"HOME": str(home), "XDG_CACHE_HOME": cache, "OMP_NUM_THREADS": "1"}
    options = [option for option in TINY if not option.startswith("--wandb")]
    result = subprocess.run(
        [sys.executable, str(CLI), "fit", "--config", "infogan_mnist.yaml", *options],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    lines = [line for line in result.stderr.splitlines() if "wandb sync" in line]
    assert len(lines) == 1 and "not logged in" in lines[0]
    return folder


def test_an_offline_run_holds_config_curves_and_grids(offline_run: Path) -> None:
    (run_file,) = offline_run.glob("runs/wandb/offline-run-*/run-*.wandb")
    by_type: dict[str, list[dict[str, Any]]] = {}
    for record in records(run_file):
        by_type.setdefault(record["type"], []).append(record[record["type"]])
    config = {k: v for record in by_type["config"] for k, v in record["update"].items()}
    assert config["model"]["init_args"]["mi_weight"] == 1.0
    assert config["data_fingerprint"].startswith("mnist-")
    assert config["code_version"]
    history = [record["item"] for record in by_type["history"]]
    with (offline_run / "runs/infogan_mnist/version_0/metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    curve = {r["trainer/global_step"]: r["train/mi"] for r in history if "train/mi" in r}
    assert curve == {int(r["step"]): float(r["train/mi"]) for r in rows if r["train/mi"]}
    assert list(curve) == [1, 2]
    assert any("val/code_accuracy" in r and r["trainer/global_step"] == 2 for r in history)
    key = "traversal/categorical0.filenames"
    (filenames,) = (record[key] for record in history if key in record)
    picture = run_file.parent / "files" / filenames[0]
    saved = offline_run / "runs/infogan_mnist/version_0/traversals/step_00000002/categorical0.png"
    assert np.array_equal(np.asarray(Image.open(picture)), np.asarray(Image.open(saved)))
    summary = {k: v for record in by_type["summary"] for k, v in record["update"].items()}
    assert summary["outcome"] == "finished"


def test_pictures_reach_tensorboard_and_pass_over_csv(tmp_path: Path) -> None:
    picture = np.zeros((6, 9, 3), dtype=np.uint8)
    picture[2, 3] = (255, 0, 128)
    board = TensorBoardLogger(str(tmp_path), name="board")
    log_picture([CSVLogger(str(tmp_path)), board], "overview", picture, step=7)
    board.finalize("success")
    events = EventAccumulator(board.log_dir).Reload()
    (image,) = events.Images("overview")
    assert (image.step, image.height, image.width) == (7, 6, 9)
