"""The `augment` command on checkpoints: what it writes and what it refuses."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor

from datamodules import MNISTDataModule
from infogan.commands.augment import augment
from infogan.commands.augment.inputs import CategoricalGAN, selection_metric
from infogan.commands.augment.naming import Namer
from infogan.commands.augment.report import Report, summary
from infogan.errors import ConfigurationError
from infogan.latents import CategoricalCode, LatentCode, UniformCode
from infogan.modules import GANModule, InfoGANModule, VanillaGANModule
from infogan.modules.classifier import ClassifierModule
from tests.conftest import Loader
from tests.support.stripes import save_checkpoint, stripe_data

Build = Callable[..., GANModule]
MakeTrainer = Callable[..., pl.Trainer]
Save = Callable[[pl.LightningModule], Path]

CONDITIONS = ["recognition", "labelled", "geometric", "generated", "generated+geometric"]


@pytest.fixture
def data(tmp_path: Path) -> MNISTDataModule:
    """Return images of four stripes."""
    return stripe_data(tmp_path)


@pytest.fixture
def save(trainer: MakeTrainer, tmp_path: Path) -> Save:
    """Return a function that writes a module's checkpoint."""
    return lambda module: save_checkpoint(module, trainer(), tmp_path / "saved.ckpt")


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "results.csv").open() as file:
        return list(csv.DictReader(file))


def test_the_command_writes_its_results_and_repeats_them(
    build: Build, save: Save, data: MNISTDataModule, tmp_path: Path
) -> None:
    checkpoint = save(build())
    options: dict[str, Any] = {
        "labels_per_class": (1, 2),
        "images_per_category": 6,
        "seeds": (3, 4),
        "num_steps": 2,
        "batch_size": 8,
        "accelerator": "cpu",
    }
    augment(checkpoint, data, tmp_path / "first", **options)
    augment(checkpoint, data, tmp_path / "second", **options)
    first, second = rows_of(tmp_path / "first"), rows_of(tmp_path / "second")
    assert list(first[0]) == [
        "labels_per_class",
        "seed",
        "condition",
        "accuracy",
        "naming_correct",
        "steps",
        "seconds",
    ]
    runs = [(row["seed"], row["labels_per_class"], row["condition"]) for row in first]
    assert runs == [(s, n, c) for s in ("3", "4") for n in ("1", "2") for c in CONDITIONS]
    assert [row["steps"] for row in first[:5]] == ["0", "2", "2", "2", "2"]
    for row in [*first, *second]:
        del row["seconds"]
    assert first == second
    text = (tmp_path / "first" / "results.md").read_text()
    assert f"| {'labels a class'} |" in text
    assert str(checkpoint) in text
    with Image.open(tmp_path / "first" / "generated.png") as picture:
        assert picture.height > 4 * 8 * 2


def test_the_table_holds_mean_and_deviation_of_the_rows(
    build: Build,
    save: Save,
    data: MNISTDataModule,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    augment(
        save(build()),
        data,
        out,
        labels_per_class=(2,),
        images_per_category=4,
        num_steps=1,
        batch_size=8,
        accelerator="cpu",
    )
    accuracies = [100 * float(r["accuracy"]) for r in rows_of(out) if r["condition"] == "labelled"]
    expected = f"{np.mean(accuracies):.1f} ± {np.std(accuracies, ddof=1):.1f}"
    table = [line for line in (out / "results.md").read_text().splitlines() if line[:1] == "|"]
    header, _, row = ([cell.strip() for cell in line.split("|")] for line in table)
    assert row[header.index("labelled")] == expected
    named = [int(r["naming_correct"]) for r in rows_of(out) if r["condition"] == "labelled"]
    assert row[header.index("names")] == f"{np.mean(named):.3g} of 4"
    printed = capsys.readouterr().out
    assert all(line in printed for line in table)
    assert "[ 12/12] 2 labels a class, seed 2, generated+geometric:" in printed


@pytest.mark.parametrize(
    ("values", "expected"), [([50.0], "50.0"), ([50.0, 52.0, 54.0], "52.0 ± 2.0")]
)
def test_one_value_has_no_deviation(values: list[float], expected: str) -> None:
    assert summary(values) == expected


def test_the_second_categorical_code_can_be_chosen(build: Build, save: Save) -> None:
    codes = [UniformCode(), CategoricalCode(3), CategoricalCode(4)]
    checkpoint = save(build(codes=codes))
    cpu = torch.device("cpu")
    first, second = (CategoricalGAN.load(checkpoint, c, cpu) for c in (None, "categorical2"))
    assert (first.code_index, first.num_categories) == (1, 3)
    assert (second.code_index, second.num_categories) == (2, 4)
    posteriors = second.recognize(torch.rand(5, 1, 8, 8))
    torch.testing.assert_close(posteriors.sum(dim=1), torch.ones(5))


def test_a_checkpoint_that_was_chosen_by_a_metric_is_told_from_the_last(
    build: Build, tmp_path: Path, batches: Callable[..., list[Tensor]], trainer: MakeTrainer
) -> None:
    keep = ModelCheckpoint(
        tmp_path, "best", monitor="train/generator_loss", save_last=True, every_n_train_steps=1
    )
    made = trainer(max_steps=2, enable_checkpointing=True, callbacks=[keep])
    made.fit(build(), Loader(batches(2)), [])
    assert selection_metric(tmp_path / "best.ckpt") == "train/generator_loss"
    assert selection_metric(tmp_path / "last.ckpt") is None


# What is refused, in one line


@pytest.mark.parametrize(
    ("codes", "kind", "message"),
    [
        ([UniformCode()], InfoGANModule, r"no categorical code \(its codes: uniform0\)"),
        ([CategoricalCode(4)], VanillaGANModule, r"checkpoint of another architecture"),
    ],
)
def test_a_checkpoint_of_another_kind(
    build: Build,
    save: Save,
    data: MNISTDataModule,
    codes: list[LatentCode],
    kind: type[GANModule],
    message: str,
    tmp_path: Path,
) -> None:
    checkpoint = save(build(kind, codes=codes))
    with pytest.raises(ConfigurationError, match=message):
        augment(checkpoint, data, tmp_path / "out", accelerator="cpu")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": ()}, r"seeds=\[\]: give numbers of at least 0"),
        ({"labels_per_class": (5, 0)}, r"labels_per_class=\[5,0\]: give numbers of at least 1"),
        ({"batch_size": 1}, r"batch_size=\[1\]: give numbers of at least 2"),
        ({"labels_per_class": (101,)}, "labels_per_class=101 is more than the 100 .* of class 0"),
        ({"code": "categorical1"}, "code=categorical1 is no .*; choose from categorical0"),
        ({"factor": "tilt"}, "factor=tilt is no discrete factor .*; choose from label"),
        ({"category_names": (0, 1)}, r"category_names=\[0, 1\] must give each of the 4"),
        ({"category_names": (0, 1, 2, 4)}, "a class from 0 to 3"),
    ],
)
def test_options_that_do_not_fit(
    build: Build,
    save: Save,
    data: MNISTDataModule,
    options: dict[str, Any],
    message: str,
    tmp_path: Path,
) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        augment(save(build()), data, tmp_path / "out", **{"accelerator": "cpu", **options})
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_images_of_another_shape(
    build: Build, save: Save, data: MNISTDataModule, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=r"shape \(1, 8, 8\) and the InfoGAN's \(1, 12"):
        augment(save(build(image_size=12)), data, tmp_path / "out", accelerator="cpu")


def test_training_images_without_labels(
    build: Build, save: Save, data: MNISTDataModule, tmp_path: Path
) -> None:
    data.labelled = False
    with pytest.raises(ConfigurationError, match="set the data's `labelled` to true"):
        augment(save(build()), data, tmp_path / "out", accelerator="cpu")


def test_a_classifier_of_other_classes() -> None:
    with pytest.raises(ConfigurationError, match="knows 3 classes and the data has 4"):
        Namer(4, 4, "majority", classifier=ClassifierModule(3, image_size=8))
    with pytest.raises(ConfigurationError, match="are both given"):
        Namer(4, 4, "majority", ClassifierModule(4, image_size=8), [0, 1, 2, 3])


@pytest.mark.parametrize("content", [None, b"", b"not a checkpoint"])
def test_a_file_that_is_no_checkpoint(
    data: MNISTDataModule, tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "other.ckpt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="checkpoint .*other.ckpt") as caught:
        augment(path, data, tmp_path / "out", accelerator="cpu")
    assert "\n" not in str(caught.value)


def test_results_are_not_overwritten_unless_told(tmp_path: Path) -> None:
    (tmp_path / "results.csv").write_text("kept")
    with pytest.raises(ConfigurationError, match="or set overwrite to true"):
        Report(tmp_path, overwrite=False)
    assert (tmp_path / "results.csv").read_text() == "kept"
    Report(tmp_path, overwrite=True).start(4)
    # What an interrupted study has left is begun again, unless there is more.
    assert [path.name for path in tmp_path.iterdir()] == ["unfinished.csv"]
    Report(tmp_path, overwrite=False)
    (tmp_path / "mine.txt").write_text("kept")
    with pytest.raises(ConfigurationError, match="or set overwrite to true"):
        Report(tmp_path, overwrite=False)
    with pytest.raises(ConfigurationError, match="is a file; give a folder"):
        Report(tmp_path / "mine.txt", overwrite=True)
