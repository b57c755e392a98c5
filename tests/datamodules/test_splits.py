"""Which images are held out, and that `fit` and `test` keep to it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor

from datamodules import BasicPropDataModule, ImageFolderDataModule, MNISTDataModule
from datamodules.idx import read_idx
from datamodules.splits import balanced_subset, split_by_name
from infogan.modules import InfoGANModule
from tests.support.pictures import gray, save
from tests.support.stripes import stripe_data

Build = Callable[..., InfoGANModule]
Trainer = Callable[..., pl.Trainer]


def test_every_class_gives_equally_many() -> None:
    labels = np.random.default_rng(0).integers(10, size=60_000)
    chosen = balanced_subset(labels, 5000)
    assert len(np.unique(chosen)) == 5000 and (np.diff(chosen) > 0).all()
    assert np.bincount(labels[chosen]).tolist() == [500] * 10
    # From the whole file, not from its head.
    assert chosen.min() < 100 and chosen.max() > 59_900


def test_a_smaller_choice_is_part_of_a_larger_one() -> None:
    labels = np.arange(300) % 3
    small, large = (set(balanced_subset(labels, size).tolist()) for size in (31, 100))
    assert small < large
    assert sorted(np.bincount(labels[list(small)]).tolist()) == [10, 10, 11]


def test_a_rare_class_gives_what_it_has() -> None:
    labels = np.array([0] * 90 + [1] * 2)
    assert np.bincount(labels[balanced_subset(labels, 12)]).tolist() == [10, 2]


def test_names_split_in_the_given_shares() -> None:
    names = [f"cat/{i:05d}.png" for i in range(20_000)]
    splits = split_by_name(names, val_share=0.1, test_share=0.2, seed=0)
    assert sorted(sum(splits.values(), [])) == list(range(20_000))
    # Within five standard deviations of binomials.
    assert abs(len(splits["val"]) - 2000) < 215 and abs(len(splits["test"]) - 4000) < 285


@pytest.mark.parametrize("seed", range(20))
def test_a_folder_that_grows_moves_nothing_into_the_held_out_splits(seed: int) -> None:
    names = [f"{i}.png" for i in range(40)]
    trained: set[str] = set()
    for count in range(6, 41):
        splits = split_by_name(names[:count], 0.1, 0.1, seed)
        held_out = {names[i] for i in splits["val"] + splits["test"]}
        assert not trained & held_out
        assert len(splits["val"]) >= 2 and len(splits["test"]) >= 2
        assert not set(splits["val"]) & set(splits["test"])
        trained |= {names[i] for i in splits["train"]}


def test_a_share_of_nothing_is_empty() -> None:
    splits = split_by_name([f"{i}" for i in range(50)], 0.0, 0.0, 0)
    assert splits == {"train": list(range(50)), "val": [], "test": []}


# ---- what fit and test read --------------------------------------------------------------------


def mnist_like(folder: Path) -> MNISTDataModule:
    data = stripe_data(folder, val_size=40)
    data.labelled = False
    return data


def basicprop(_: Path) -> BasicPropDataModule:
    return BasicPropDataModule(train_size=200, eval_size=60, val_size=60, batch_size=20)


def pictures(folder: Path) -> ImageFolderDataModule:
    for i in range(100):
        save(folder / f"class{i % 2}" / f"{i}.png", gray(2 * i))
    return ImageFolderDataModule(
        str(folder), 8, 1, batch_size=10, eval_batch_size=10, val_share=0.2, test_share=0.2
    )


class Watch(pl.Callback):
    """Keep the images that a trainer hands to the module, as bytes, by the kind of step."""

    def __init__(self) -> None:
        self.seen: dict[str, set[bytes]] = {"train": set(), "val": set(), "test": set()}

    def keep(self, kind: str, batch: Any) -> None:
        images = batch if isinstance(batch, Tensor) else batch[0]
        self.seen[kind] |= {image.cpu().numpy().tobytes() for image in images}

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, *_: Any) -> None:
        self.keep("train", batch)

    def on_validation_batch_start(self, trainer: Any, module: Any, batch: Any, *_: Any) -> None:
        self.keep("val", batch)

    def on_test_batch_start(self, trainer: Any, module: Any, batch: Any, *_: Any) -> None:
        self.keep("test", batch)


@pytest.mark.parametrize("make", [mnist_like, basicprop, pictures])
def test_fit_reads_no_test_image_and_trains_on_no_validation_image(
    make: Callable[[Path], Any], build: Build, trainer: Trainer, tmp_path: Path
) -> None:
    data = make(tmp_path)
    module = build(image_size=data.image_shape[1])
    watch = Watch()
    # Three epochs of other orders see every training image.
    trainer(max_epochs=3, callbacks=[watch]).fit(module, datamodule=data)
    assert data.test_source is None
    trainer(callbacks=[watch]).test(module, datamodule=data, verbose=False)
    trained, validated, tested = watch.seen.values()
    assert len(trained) > 50 and len(validated) > 10 and len(tested) > 10
    assert not trained & validated and not trained & tested and not validated & tested


def test_fit_opens_no_test_file(
    build: Build, trainer: Trainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = mnist_like(tmp_path)
    opened = []

    def watched(path: Path) -> np.ndarray:
        opened.append(path.name)
        return read_idx(path)

    monkeypatch.setattr("datamodules.mnist.read_idx", watched)
    trainer(max_epochs=1).fit(build(), datamodule=data)
    trainer().validate(build(), datamodule=data, verbose=False)
    assert "train-images-idx3-ubyte" in opened and "t10k-images-idx3-ubyte" not in opened
    opened.clear()
    trainer().test(build(), datamodule=data, verbose=False)
    assert opened == ["t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"]


def test_the_seed_moves_no_image(tmp_path: Path) -> None:
    stripe_data(tmp_path)
    chosen = []
    for seed in (0, 1):
        pl.seed_everything(seed, verbose=False)
        data = MNISTDataModule(str(tmp_path), verify=False, seed=seed, val_size=40)
        data.setup("fit")
        chosen.append(data.val_source.images)  # type: ignore[union-attr]
    assert torch.equal(*chosen) and len(chosen[0]) == 40


def test_mnist_holds_out_five_hundred_of_each_digit() -> None:
    data = MNISTDataModule()
    data.prepare_data()
    data.setup("fit")
    digits = torch.cat([factors for _, factors in data.val_dataloader()])
    assert digits.flatten().long().bincount().tolist() == [500] * 10
    assert len(data.train_source) == 55_000 and data.val_split == "5000 of train"  # type: ignore[arg-type]


def test_judges_learn_from_all_but_the_test_images(tmp_path: Path) -> None:
    data = mnist_like(tmp_path)
    data.setup("fit")
    everything = data.with_all_labels()
    everything.setup("fit")
    images, labels = everything.train_source.fetch(torch.arange(400), None)  # type: ignore
    assert len(images) == len(labels) == 400
    assert len(data.train_source) == 360  # type: ignore[arg-type]


# ---- without validation ------------------------------------------------------------------------


def test_without_validation_all_is_trained_on_and_one_line_says_so(
    build: Build, trainer: Trainer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stripe_data(tmp_path)
    data = MNISTDataModule(str(tmp_path), batch_size=40, verify=False, val_size=0)
    watch = Watch()
    with caplog.at_level("INFO"):
        trainer(max_epochs=1, callbacks=[watch]).fit(build(), datamodule=data)
    assert len(watch.seen["train"]) == 400 and not watch.seen["val"]
    assert data.val_split == "none"
    (line,) = [r.getMessage() for r in caplog.records if "validation" in r.getMessage()]
    assert "MNISTDataModule holds out no validation images" in line
    with pytest.raises(ValueError, match="raise its val_size .* or use `test`"):
        trainer().validate(build(), datamodule=data)


def test_a_validation_that_leaves_nothing_is_refused(tmp_path: Path) -> None:
    stripe_data(tmp_path)
    with pytest.raises(ValueError, match="val_size=400 leaves none of 400 training images"):
        MNISTDataModule(str(tmp_path), verify=False, val_size=400).setup("fit")
    with pytest.raises(ValueError, match="val_size=-1 must be at least 0"):
        MNISTDataModule(val_size=-1)


# ---- what predict reads ------------------------------------------------------------------------


@pytest.mark.parametrize("make", [mnist_like, basicprop, pictures])
def test_predict_reads_every_image_of_all_splits_once(
    make: Callable[[Path], Any], tmp_path: Path
) -> None:
    data = make(tmp_path)
    data.predict_split = "all"
    data.setup("predict")
    images = torch.cat(list(data.predict_dataloader()))
    named = data.predicted_images
    assert len(images) == len(named) == len(set(named))
    assert [split for split, _ in named] == sorted(
        (split for split, _ in named), key=["train", "val", "test"].index
    )
    for split in ("train", "val", "test"):
        data.predict_split = split
        of_split = [name for name in named if name[0] == split]
        assert data.predicted_images == of_split
        batches = [b if isinstance(b, Tensor) else b[0] for b in data.predict_dataloader()]
        first = [name[0] for name in named].index(split)
        assert torch.equal(torch.cat(batches), images[first : first + len(of_split)])


def test_predict_counts_within_mnists_own_file(tmp_path: Path) -> None:
    data = mnist_like(tmp_path)
    data.predict_split = "val"
    data.setup("predict")
    everything = stripe_data(tmp_path / "again")
    everything.raw_dir = data.raw_dir
    everything.setup("fit")
    assert everything.train_source is not None and data.val_source is not None
    numbers = torch.tensor([int(name) for _, name in data.predicted_images])
    images, _ = everything.train_source.fetch(numbers, np.random.default_rng(0))
    assert torch.equal(images, data.val_source.fetch(torch.arange(40), None)[0])  # type: ignore[arg-type]


def test_predict_refuses_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="predict_split='training' is unknown; choose from train"):
        MNISTDataModule(predict_split="training")
    with pytest.raises(ValueError, match="predict_split=train with on_the_fly=true"):
        BasicPropDataModule(on_the_fly=True, predict_split="train")
    data = BasicPropDataModule(val_size=0, predict_split="val")
    data.setup("predict")
    with pytest.raises(ValueError, match="holds out no validation images; choose another split"):
        data.predict_dataloader()
