"""Others' accuracy on images whose classes are known."""

import csv
import statistics
from collections.abc import Callable
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import CSVLogger

from datamodules import BasicPropDataModule
from infogan.callbacks.probe import EncoderProbe, choose
from infogan.judge import JudgeRecipe
from infogan.metrics.probe import kmeans_accuracy, linear_probe_accuracy
from infogan.modules import GANModule
from tests.support.stripes import stripe_data

Build = Callable[..., GANModule]
MakeTrainer = Callable[..., pl.Trainer]

CLASSES = torch.arange(600) % 3
CENTRES = torch.tensor([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0]])


def test_kmeans_finds_clusters_without_their_names() -> None:
    """Of three clusters, two classes mixed in one and one split in two score two thirds at most."""
    points = CENTRES[CLASSES] + torch.randn(600, 2)
    assert kmeans_accuracy(points[:300], points[300:], CLASSES[300:], 3, seed=0) > 0.99
    blind = torch.randn(600, 2)
    assert kmeans_accuracy(blind[:300], blind[300:], CLASSES[300:], 3, seed=0) < 0.5


def test_the_linear_probe_needs_lines_between_classes() -> None:
    points = CENTRES[CLASSES] + torch.randn(600, 2)
    train, test = points[:300], points[300:]
    assert linear_probe_accuracy(train, CLASSES[:300], test, CLASSES[300:]) > 0.98
    ring = torch.stack([torch.cos(torch.arange(600.0)), torch.sin(torch.arange(600.0))], dim=1)
    inside = (torch.arange(600) % 2)[:, None]
    rings, radius = ring * (1 + 4 * inside), inside[:, 0]
    assert linear_probe_accuracy(rings[:300], radius[:300], rings[300:], radius[300:]) < 0.7


def test_chosen_images_differ_by_seed() -> None:
    assert len(choose(10, 20, 0).unique()) == 10
    assert not torch.equal(choose(100, 20, 0), choose(100, 20, 1))
    assert torch.equal(choose(100, 20, 1), choose(100, 20, 1))


def test_the_callback_logs_means_and_writes_every_seed(
    build: Build, trainer: MakeTrainer, tmp_path: Path
) -> None:
    """On stripes, pixels cluster by class, and so do an untrained trunk's features of them."""
    data = stripe_data(tmp_path)
    data.labelled = False
    probe = EncoderProbe(
        num_seeds=2,
        supervised=True,
        recipe=JudgeRecipe(network="trunk", num_steps=30, batch_size=32),
        judge_folder=tmp_path / "judges",
    )
    module, made = build(), trainer(callbacks=[probe], logger=CSVLogger(tmp_path, "run"))
    made.test(module, datamodule=data, verbose=False)
    methods = ("kmeans_pixels", "kmeans_features", "linear", "supervised")
    logged = {method: made.callback_metrics[f"test/probe_{method}"].item() for method in methods}
    with (tmp_path / "run" / "version_0" / "probe.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {(row["method"], row["seed"]) for row in rows} == {(m, s) for m in methods for s in "01"}
    for method in methods:
        values = [float(row["accuracy"]) for row in rows if row["method"] == method]
        assert logged[method] == pytest.approx(statistics.mean(values))
    for method in ("kmeans_pixels", "linear", "supervised"):
        assert logged[method] > 0.9, method
    assert len(list((tmp_path / "judges").glob("*.pt"))) == 2


@pytest.mark.parametrize("which", ["off", "inverse renderer", "no supervision"])
def test_where_it_does_less(which: str, build: Build, trainer: MakeTrainer, tmp_path: Path) -> None:
    """Nothing without seeds or with an inverse renderer; no classifier unless asked for."""
    is_basicprop = which == "inverse renderer"
    data = (
        BasicPropDataModule("line", train_size=10, eval_size=10)
        if is_basicprop
        else stripe_data(tmp_path)
    )
    probe = EncoderProbe(num_seeds=0 if which == "off" else 1, judge_folder=tmp_path / "judges")
    made = trainer(callbacks=[probe], logger=CSVLogger(tmp_path, "run"))
    made.test(build(image_size=28 if is_basicprop else 8), datamodule=data, verbose=False)
    logged = {name for name in made.callback_metrics if "probe" in name}
    expected = {"test/probe_kmeans_pixels", "test/probe_kmeans_features", "test/probe_linear"}
    assert logged == (expected if which == "no supervision" else set())
    assert not (tmp_path / "judges").exists()


@pytest.mark.parametrize("wrong", [{"num_seeds": -1}, {"num_train": 0}])
def test_wrong_options(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        EncoderProbe(**wrong)  # type: ignore[arg-type]
