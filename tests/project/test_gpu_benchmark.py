"""The measurements for a machine with a card, tried without one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.gpu.study import chains
from tests import ROOT

COMMAND = [sys.executable, "-m", "benchmarks.gpu"]


def test_studies_are_chains_side_by_side() -> None:
    assert chains("paper:infogan_*+ablation,quick") == [
        [("paper", "infogan_*"), ("ablation", "*")],
        [("quick", "*")],
    ]


@pytest.mark.integration
@pytest.mark.parametrize(
    ("options", "words"),
    [(["--parts", "fit,fast"], "fast is none of fit,"), (["--device", "tpu"], "invalid choice")],
)
def test_wrong_options_are_refused(options: list[str], words: str, tmp_path: Path) -> None:
    command = [*COMMAND, "--out", str(tmp_path), *options]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 2
    assert words in result.stderr
    assert not list(tmp_path.iterdir())


STUDY = """
seeds: [0]
overrides:
  checkpoint.save_top_k: 0
  trainer.max_epochs: 1
  trainer.limit_train_batches: 2
  trainer.limit_val_batches: 1
  trainer.limit_test_batches: 1
  encoder_probe.num_seeds: 0
  sample_quality.num_images: 0
  morphometrics.num_images: 0
  morphometrics.num_end_images: 0
  data.init_args.batch_size: 8
members:
  - config: infogan_mnist_paper.yaml
"""


@pytest.mark.slow
def test_all_but_the_card_in_miniature(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(STUDY)
    out = tmp_path / "out"
    options = ["--out", str(out), "--device", "cpu", "--batches", "2", "--jobs", "1"]
    options += ["--parts", "fit,ranks,study", "--minutes", "12"]
    options += ["--studies", str(tmp_path / "tiny.yaml")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [*COMMAND, *options], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    summary = json.loads((out / "summary.json").read_text())
    assert result.returncode == 0, result.stdout
    assert summary["ranks"]["largest_difference"] < 1e-6
    assert summary["fit"]["val_code_accuracy"] > 0
    assert summary["study"]["rows"] == 1
    assert {path.name for path in out.iterdir()} >= {"log.txt", "study.tar.gz"}
    assert all(path.stat().st_size < 16 << 20 for path in out.iterdir())
