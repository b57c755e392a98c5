"""A run of 2026-11-26, before the package was laid out in layers, in the verbs of today.

`tests/support/old_run` holds what that day's `fit --config infogan_mnist.yaml` left, with the small
networks of a file beside it. Nothing in it was changed since.
"""

import csv
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import yaml

from infogan.modules import ClusteringInfoGANModule
from infogan.modules.loading import load_gan
from infogan.terms import Clustering
from tests import ROOT
from tests.conftest import Outcome

Command = Callable[..., Outcome]

OLD = Path("runs/old/version_0")
LAST = OLD / "checkpoints/last.ckpt"


@pytest.fixture
def old(command: Command) -> Iterator[Command]:
    """Return a function that runs a verb where the old run is."""
    kept = ROOT / "tests/support/old_run"
    shutil.copytree(kept / "version_0", OLD)
    shutil.copy(kept / "small_networks.py", ".")
    yield command
    sys.modules.pop("small_networks", None)


def test_it_draws_and_reads_as_it_did(old: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path.cwd()))
    module = load_gan(LAST)
    assert isinstance(module, ClusteringInfoGANModule)
    assert module.terms == (Clustering(0.3, 2.0),)
    latent = torch.linspace(-1, 1, 3 * module.latents.dim).reshape(3, -1)
    with torch.no_grad():
        images = module.generate(latent)
        read = [parameters.sum().item() for parameters in module.recognize(images)]
    # As printed by the code that trained it.
    assert images.mean().item() == pytest.approx(0.5026433, abs=1e-6)
    assert read == pytest.approx([-1.9265671, 0.7330545, 1.2177021], abs=1e-5)


def test_it_resumes_by_its_own_config(old: Command) -> None:
    outcome = old(
        *("fit", "--config", str(OLD / "config.yaml"), "--ckpt_path=last"),
        *("--trainer.max_epochs=2", "--morphometrics.num_end_images=0"),
    )
    assert outcome.code == 0, outcome.err
    assert [path.name for path in OLD.parent.iterdir()] == ["version_0"]
    with (OLD / "metrics.csv").open(newline="") as file:
        steps = [int(row["step"]) for row in csv.DictReader(file) if row["train/mi"]]
    assert steps == [1, 2, 3, 4]
    saved = torch.load(LAST, weights_only=True)
    assert saved["global_step"] == 4
    assert saved["hyper_parameters"]["clustering_weight"] == 0.3


def test_it_is_compared_with_a_run_of_today(
    old: Command, trained: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    trained()
    monkeypatch.setenv("COLUMNS", "200")  # on a narrow terminal each run has a table of its own
    outcome = old("compare", "old", "infogan_mnist", "--out=null")
    assert outcome.code == 0, outcome.err
    assert re.search(r"^outcome +finished +finished$", outcome.out, re.MULTILINE)
    assert re.search(r"^model.noise_dim +2 +62$", outcome.out, re.MULTILINE)
    assert re.search(r"^last train/mi +-1.1252 ", outcome.out, re.MULTILINE)


def test_it_is_explored(old: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    printed = yaml.safe_load(old("explore", f"--ckpt_path={LAST}", "--print_config").out)
    assert printed["data"]["class_path"] == "datamodules.MNISTDataModule"
    shown = []
    monkeypatch.setattr(
        "infogan.commands.explore.server.serve",
        lambda page, listener, local: shown.append(page),
    )
    outcome = old("explore", f"--ckpt_path={LAST}", "--port=0", "--open_browser=false")
    assert outcome.code == 0, outcome.err
    assert outcome.out.startswith("Explorer on http://127.0.0.1:") and len(shown) == 1
