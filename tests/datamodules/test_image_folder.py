"""ImageFolderDataModule: every kind of file that a folder holds, as a model receives it."""

import csv
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image
from torch import Tensor

from datamodules import DataError, Factor, ImageFolderDataModule
from datamodules.image_files import decode_picture
from tests.conftest import TINY, Outcome
from tests.support.pictures import (
    SIZE,
    gray,
    png_of_16_bits,
    save,
    write_classes,
    write_with_damage,
)

Command = Callable[..., Outcome]


def made(folder: Path, stage: str = "fit", **options: Any) -> ImageFolderDataModule:
    defaults = {"image_size": SIZE, "image_channels": 1, "batch_size": 1, "test_share": 0.0}
    defaults["val_share"] = 0.2
    datamodule = ImageFolderDataModule(str(folder), **{**defaults, **options})
    datamodule.prepare_data()
    datamodule.setup(stage)
    return datamodule


def training_values(datamodule: ImageFolderDataModule) -> list[int]:
    """Return the first pixel of every training image, sorted."""
    batches = [batch for batch in datamodule.train_dataloader() if isinstance(batch, Tensor)]
    return sorted(int(image[0, 0, 0]) for batch in batches for image in batch)


def held_out(datamodule: ImageFolderDataModule) -> tuple[Tensor, Tensor]:
    parts = [datamodule.on_after_batch_transfer(b, 0) for b in datamodule.val_dataloader()]
    return torch.cat([images for images, _ in parts]), torch.cat([labels for _, labels in parts])


# Layouts and shares


def test_classes_come_with_held_out_images_alone(tmp_path: Path) -> None:
    datamodule = made(write_classes(tmp_path))
    assert datamodule.factors == (Factor("class", 3, 0, 2, ("cat", "dog", "owl")),)
    assert datamodule.class_names == ["cat", "dog", "owl"]
    images, labels = held_out(datamodule)
    assert 2 <= len(images) <= 12 and images.shape[1:] == (1, SIZE, SIZE)
    assert images.dtype == torch.float32
    values = (images[:, 0, 0, 0] * 255).round().long()
    assert labels.shape == (len(images), 1)
    assert torch.equal(labels.flatten().long(), values // 10)
    # Every file is in one of the two shares.
    assert sorted(training_values(datamodule) + values.tolist()) == list(range(30))
    batch = next(iter(datamodule.train_dataloader()))
    assert isinstance(batch, Tensor) and batch.dtype == torch.uint8


def test_numbers_in_names_sort_as_numbers(tmp_path: Path) -> None:
    for i in range(1, 13):
        save(tmp_path / str(i) / "a.png", gray(10 * i))
        save(tmp_path / str(i) / "b.png", gray(10 * i))
    datamodule = made(tmp_path)
    assert datamodule.class_names == [str(i) for i in range(1, 13)]
    images, labels = held_out(datamodule)
    assert torch.equal(labels.flatten(), (images[:, 0, 0, 0] * 25.5).round() - 1)


def test_a_flat_folder_has_no_factors(tmp_path: Path) -> None:
    for i in range(10):
        save(tmp_path / f"{i}.png", gray(i))
    datamodule = made(tmp_path)
    assert datamodule.factors == () and datamodule.class_names == []
    images, labels = held_out(datamodule)
    assert images.shape == (2, 1, SIZE, SIZE) and labels.shape == (2, 0)
    with pytest.raises(DataError, match="labelled=true, but .* has no classes"):
        made(tmp_path, labelled=True)


def test_one_sub_folder_tells_no_classes_apart(tmp_path: Path) -> None:
    for i in range(10):
        save(tmp_path / "all" / "deeper" / f"{i}.png", gray(i))
    assert made(tmp_path).factors == ()


def test_labelled_training_images_carry_their_classes(tmp_path: Path) -> None:
    datamodule = made(write_classes(tmp_path), labelled=True)
    for images, labels in datamodule.train_dataloader():
        assert torch.equal(images[:, 0, 0, 0] // 10, labels.flatten().to(torch.uint8))


def test_the_held_out_share_is_fixed_by_its_own_seed(tmp_path: Path) -> None:
    write_classes(tmp_path)
    first, other_order = made(tmp_path, seed=1), made(tmp_path, seed=2)
    assert torch.equal(held_out(first)[0], held_out(other_order)[0])
    assert not torch.equal(held_out(first)[0], held_out(made(tmp_path, split_seed=1))[0])
    assert 10 <= len(held_out(made(tmp_path, val_share=0.5))[0]) <= 20
    validated = made(tmp_path, stage="validate")
    assert validated.train_source is None
    assert torch.equal(held_out(validated)[0], held_out(first)[0])


def test_a_picture_that_is_added_moves_no_other(tmp_path: Path) -> None:
    first = held_out(made(write_classes(tmp_path)))[0]
    trained = training_values(made(tmp_path))
    save(tmp_path / "cat" / "a_new_one.png", gray(99))
    again, now_trained = held_out(made(tmp_path))[0], training_values(made(tmp_path))
    assert len(first) + len(trained) + 1 == len(again) + len(now_trained)
    assert set(trained) <= set(now_trained)


def test_files_are_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datamodule = made(write_classes(tmp_path))
    monkeypatch.setattr(
        "datamodules.image_folder.decode_pictures", lambda *_: pytest.fail("decoded again")
    )
    datamodule.setup("fit")
    datamodule.setup("validate")
    assert len(training_values(datamodule)) + len(held_out(datamodule)[0]) == 30


def test_other_files_and_hidden_ones_are_passed_over(tmp_path: Path) -> None:
    write_classes(tmp_path, 4)
    (tmp_path / "cat" / "notes.txt").write_text("no picture")
    (tmp_path / "cat" / "._00.png").write_bytes(b"what a Mac leaves")
    save(tmp_path / ".cache" / "x.png", gray(200))
    (tmp_path / "empty").mkdir()
    save(tmp_path / "owl" / "LOUD.PNG", gray(24), format="PNG")
    datamodule = made(tmp_path)
    assert datamodule.class_names == ["cat", "dog", "owl"]
    assert len(datamodule.listing.paths) == 13


def test_what_is_not_used_is_counted_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_classes(tmp_path)
    elsewhere = tmp_path.with_name(f"{tmp_path.name}-elsewhere")
    for i in range(3):
        save(elsewhere / f"{i}.jfif", gray(30 + i), format="JPEG")
    save(elsewhere / "3.avif", gray(33), format="AVIF")
    (tmp_path / "cat" / "linked").symlink_to(elsewhere)
    (tmp_path / "dog" / "round").symlink_to(tmp_path)
    (tmp_path / "owl" / "empty").mkdir()
    os.mkfifo(tmp_path / "owl" / "pipe.png")
    (tmp_path / ".DS_Store").write_text("hidden")
    for i in range(5):
        (tmp_path / "owl" / f"{i}.heic").write_text("a phone's")
    (tmp_path / "owl" / "LICENSE").write_text("text")
    with caplog.at_level("INFO"):
        datamodule = made(tmp_path)
    assert len(datamodule.listing.paths) == 34
    assert sum("linked" in path.parts for path in datamodule.listing.paths) == 4
    (line,) = [r.getMessage() for r in caplog.records if "not used" in r.getMessage()]
    for words in (
        "5 ending in .heic (owl/0.heic, owl/1.heic, owl/2.heic and others)",
        "1 hidden (.DS_Store)",
        "1 without an ending (owl/LICENSE)",
        "1 empty folder (owl/empty)",
        "1 linked to a folder around it (dog/round)",
        "1 neither a file nor a folder (owl/pipe.png)",
    ):
        assert words in line, line


def test_a_folder_has_one_depth(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for i in range(10):
        pixels = np.full((SIZE, SIZE, 1), 4095 if i == 0 else 100 * i, np.uint16)
        (tmp_path / f"{i}.png").write_bytes(png_of_16_bits(pixels))
    with caplog.at_level("INFO"):
        datamodule = made(tmp_path)
        made(tmp_path, stage="validate")
    assert "hold values of 12 bits" in caplog.text
    values = (held_out(datamodule)[0][:, 0, 0, 0] * 255).round().long().tolist()
    expected = [255] + [round(255 * 100 * i / 4095) for i in range(1, 10)]
    assert sorted(training_values(datamodule) + values) == sorted(expected)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "holds no pictures"),
        (["notes.heic"], "holds no pictures .*not used: 1 ending in .heic .notes.heic."),
        (["notes.txt"], "holds no pictures"),
        (["0.png", "cat/0.png"], "both beside its sub-folders .0.png. and in them .cat."),
        (["train/a/0.png", "val/a/0.png"], "sub-folders train, val, which are splits"),
        (["Training/0.png", "TESTING/0.png"], "sub-folders TESTING, Training, which are splits"),
        (
            ["0.png", "1.png"],
            "gives 0 training .* and test_share=0.0; at least 2",
        ),
    ],
)
def test_folders_that_cannot_be_used(tmp_path: Path, files: list[str], message: str) -> None:
    for name in files:
        save(tmp_path / name, gray(0), format="PNG")
    with pytest.raises(DataError, match=message) as caught:
        made(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="data_dir=.*nowhere is not a folder"):
        made(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 30}, "image_size=30 must be a positive multiple of 4"),
        ({"image_size": 0}, "image_size=0"),
        ({"val_share": -0.1}, "val_share=-0.1 must be 0 or more and below 1"),
        ({"val_share": 1.0}, "val_share=1.0"),
        ({"val_share": 0.5, "test_share": 0.5}, "test_share=0.5 leave nothing to train on"),
        ({"split_seed": -1}, "split_seed=-1 must be at least 0"),
        ({"image_channels": 2}, "image_channels=2 must be 1 or 3"),
        ({"resize": "fill"}, "resize=fill must be crop or pad or stretch"),
        ({"batch_size": 0}, "batch_size=0"),
    ],
)
def test_wrong_options(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made(write_classes(tmp_path, 2), **options)


# Files that cannot be read


def test_damaged_files_are_named_in_one_line_and_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    with caplog.at_level("INFO"):
        datamodule = made(write_with_damage(tmp_path))
    (line,) = [r.getMessage() for r in caplog.records if "Warning" in r.getMessage()]
    assert not [w for w in recwarn if "Decompression" in w.category.__name__]
    assert "\n" not in line and f"6 of 36 files in {tmp_path}" in line
    for name, reason in (
        ("cat/cut.jpg", "truncated"),
        ("cat/empty.png", "empty"),
        ("dog/text.png", "no picture"),
        ("dog/gone.png", "No such file"),
        ("owl/bomb.png", "million pixels"),
        ("owl/huge.png", "12000 x 10000 pixels"),
    ):
        assert any(name in part and reason in part for part in line.split(")")), (name, line)
    images, labels = held_out(datamodule)
    values = (images[:, 0, 0, 0] * 255).round().long()
    assert torch.equal(labels.flatten().long(), values // 10)
    assert sorted(training_values(datamodule) + values.tolist()) == list(range(30))


def test_damaged_files_are_refused_by_option(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="6 of 36 files .*set corrupt_files to skip") as caught:
        made(write_with_damage(tmp_path), corrupt_files="refuse")
    assert "\n" not in str(caught.value)


def test_many_damaged_files_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_classes(tmp_path)
    for i in range(25):
        (tmp_path / "cat" / f"bad{i:02d}.png").write_bytes(b"x")
    with caplog.at_level("INFO"):
        made(tmp_path)
    (line,) = [r.getMessage() for r in caplog.records if "Warning" in r.getMessage()]
    assert "bad09.png" in line and "bad10.png" not in line and line.endswith("and 15 more")


def test_a_bomb_is_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The size is refused from the header: nothing of that size is ever allocated."""
    sizes = []
    load = Image.Image.load

    def watched(self: Image.Image) -> Any:
        sizes.append(self.size)
        return load(self)

    monkeypatch.setattr(Image.Image, "load", watched)
    made(write_with_damage(tmp_path))
    assert sizes and max(width * height for width, height in sizes) < 10**5


def test_threads_give_the_files_their_own_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = set()

    def recorded(path: Path, *arguments: Any) -> np.ndarray:
        names.add(threading.current_thread().name)
        return decode_picture(path, *arguments)

    monkeypatch.setattr("os.cpu_count", lambda: 4)
    monkeypatch.setattr("datamodules.image_files.decode_picture", recorded)
    datamodule = made(write_classes(tmp_path))
    images, labels = held_out(datamodule)
    assert torch.equal(labels.flatten().long(), (images[:, 0, 0, 0] * 255).round().long() // 10)
    assert all("ThreadPool" in name for name in names)


# Fingerprint and training


def test_the_fingerprint_follows_contents_classes_and_options(tmp_path: Path) -> None:
    write_classes(tmp_path)
    first = made(tmp_path).fingerprint()
    assert first.startswith("folder-")
    assert made(tmp_path, stage="validate", seed=5, batch_size=3).fingerprint() == first
    assert made(tmp_path, resize="pad").fingerprint() != first
    assert made(tmp_path, split_seed=1).fingerprint() != first
    save(tmp_path / "cat" / "00.png", gray(77))
    changed = made(tmp_path).fingerprint()
    (tmp_path / "cat" / "00.png").rename(tmp_path / "dog" / "moved.png")
    assert len({first, changed, made(tmp_path).fingerprint()}) == 3


def test_a_model_of_another_size_is_refused_in_one_line(command: Command) -> None:
    write_classes(Path("pictures"))
    arguments = ("fit", "--config", "infogan_image_folder.yaml", *TINY)
    outcome = command(*arguments, "--data.init_args.image_channels=1")
    assert outcome.code == 2
    (line,) = outcome.errors
    assert "image_channels=3" in line and "(1, 32, 32)" in line


def test_options_that_cannot_be_are_refused_in_one_line(command: Command) -> None:
    arguments = ("fit", "--config", "infogan_image_folder.yaml", *TINY)
    for change, words in (
        ("data_dir=nowhere", "data_dir=nowhere is not a folder"),
        ("resize=fill", "resize"),
        ("image_channels=2", "image_channels"),
    ):
        outcome = command(*arguments, f"--data.init_args.{change}")
        assert outcome.code == 2 and len(outcome.errors) == 1
        assert words in outcome.errors[0]


def test_every_verb_of_lightning_runs_without_classes(
    trainer: Callable[..., pl.Trainer], build: Callable[..., Any], tmp_path: Path
) -> None:
    for i in range(12):
        save(tmp_path / f"{i:02d}.png", gray(20 * i))
    module = build()
    datamodule = made(tmp_path, batch_size=4, test_share=0.2)
    trainer(max_epochs=1).fit(module, datamodule=datamodule)
    (scores,) = trainer().test(module, datamodule=datamodule, verbose=False)
    assert 0 < scores["test/d_real"] < 1
    predictions: Any = trainer().predict(module, datamodule=datamodule)
    assert predictions[0].modes[0].shape == (len(datamodule.test_source), 4)  # type: ignore[arg-type]


def test_predict_names_the_files_of_the_chosen_split(command: Command) -> None:
    write_classes(Path("pictures"))
    small = [f"--data.init_args.{o}" for o in ("image_channels=1", "image_size=8", "batch_size=8")]
    small += ["--model.init_args.image_channels=1", "--model.init_args.image_size=8"]
    tiny = [option for option in TINY if "batch_size" not in option]
    assert command("fit", "-c", "infogan_image_folder.yaml", *tiny, *small).code == 0
    (checkpoint,) = Path("runs").rglob("last.ckpt")
    predict = ("predict", "--ckpt_path", str(checkpoint), "--wandb=disabled")
    for number, split in enumerate(("all", "val")):
        assert command(*predict, f"--data.init_args.predict_split={split}").code == 0
        folder = Path(f"runs/infogan_image_folder/predict/version_{number}")
        with (folder / "codes.csv").open(newline="") as file:
            table = list(csv.DictReader(file))
        files = {row["image"] for row in table}
        assert len(files) == len(table)
        everything = {str(p.relative_to("pictures")) for p in Path("pictures").rglob("*.png")}
        assert files == everything if split == "all" else files < everything
        splits = {row["split"] for row in table}
        assert splits == ({"train", "val", "test"} if split == "all" else {"val"})
    wrong = command(*predict, "--data.init_args.predict_split=training")
    assert wrong.code == 2 and "predict_split" in wrong.errors[0]


def test_fewer_pictures_than_a_batch_are_one_line(command: Command) -> None:
    write_classes(Path("pictures"), 4)
    fit = ("fit", "-c", "infogan_image_folder.yaml", *TINY)
    for size, said in ((64, "leaves no full batch"), (1, "needs at least 2 images a batch")):
        outcome = command(*fit, f"--data.init_args.batch_size={size}")
        assert outcome.code == 2
        (line,) = outcome.errors
        assert f"batch_size={size}" in line and said in line
