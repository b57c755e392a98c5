"""MNISTDataModule: the real data, what a model receives, and other data in the same format."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor

from datamodules import BatchLoader, DataError, Factor, MNISTDataModule, write_idx

TEST_DIGITS = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
TRAIN_NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
TEST_NAMES = ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


@pytest.fixture(scope="session")
def mnist() -> MNISTDataModule:
    """Return the real data, fetched once into the user's cache."""
    datamodule = MNISTDataModule()
    datamodule.prepare_data()
    datamodule.setup("fit")
    datamodule.setup("test")
    return datamodule


# The real data


def test_training_batches_are_all_images_in_the_unit_interval(mnist: MNISTDataModule) -> None:
    loader = mnist.train_dataloader()
    assert len(loader) == 429
    batch = next(iter(loader))
    assert isinstance(batch, Tensor)
    assert batch.shape == (128, *mnist.image_shape)
    assert batch.dtype == torch.uint8
    images = mnist.on_after_batch_transfer(batch, 0)
    assert isinstance(images, Tensor)
    assert images.dtype == torch.float32
    assert (images.min(), images.max()) == (0, 1)
    torch.testing.assert_close(images, batch / 255)
    # 0.1307 is the mean that MNIST examples everywhere normalise by.
    total = sum(int(images.sum()) for images in loader if isinstance(images, Tensor))
    assert total / (429 * 128 * 28 * 28 * 255) == pytest.approx(0.1307, abs=1e-4)


def test_evaluation_batches_are_every_test_image_with_its_digit(mnist: MNISTDataModule) -> None:
    for loader in (mnist.test_dataloader(), mnist.predict_dataloader()):
        batches = [mnist.on_after_batch_transfer(batch, 0) for batch in loader]
        assert len(loader) == len(batches) == 10
        images = torch.cat([images for images, _ in batches])
        digits = torch.cat([factors for _, factors in batches])
        assert images.shape == (10_000, 1, 28, 28)
        assert images.dtype == digits.dtype == torch.float32
        assert digits.shape == (10_000, len(mnist.factors))
        assert digits.flatten().long().bincount().tolist() == TEST_DIGITS


def test_images_carry_their_own_digits(mnist: MNISTDataModule) -> None:
    images, factors = next(iter(mnist.test_dataloader()))
    digits = factors.flatten()
    means = torch.stack([images[digits == digit].float().mean(0).flatten() for digit in range(10)])
    nearest = torch.cdist(images.float().flatten(1), means).argmin(dim=1)
    assert (nearest == digits).float().mean() > 0.75


def test_the_description_needs_no_files(tmp_path: Path, mnist: MNISTDataModule) -> None:
    datamodule = MNISTDataModule(str(tmp_path / "nothing"), batch_size=7, seed=5)
    assert datamodule.factors == (Factor("digit", 10, 0.0, 9.0),)
    assert datamodule.image_shape == (1, 28, 28)
    assert datamodule.fingerprint() == mnist.fingerprint()
    assert datamodule.fingerprint().startswith("mnist-")


def test_data_dir_follows_torchvision_and_the_user(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    raw = Path("MNIST") / "raw"
    assert MNISTDataModule().raw_dir == tmp_path / ".cache" / "infogan" / raw
    assert MNISTDataModule("~/data").raw_dir == tmp_path / "data" / raw
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert MNISTDataModule().raw_dir == tmp_path / "cache" / "infogan" / raw


def test_the_seed_is_the_given_else_the_global_one(
    monkeypatch: pytest.MonkeyPatch, mnist: MNISTDataModule
) -> None:
    def first_batch(seed: int | None) -> Tensor:
        monkeypatch.setattr(mnist, "seed", seed)
        batch = next(iter(mnist.train_dataloader()))
        assert isinstance(batch, Tensor)
        return batch

    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
    assert torch.equal(first_batch(None), first_batch(0))
    monkeypatch.setenv("PL_GLOBAL_SEED", "7")
    assert torch.equal(first_batch(None), first_batch(7))
    assert not torch.equal(first_batch(0), first_batch(7))


class MeanImage(pl.LightningModule):
    """Remember the mean of each batch of images, by stage."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.trained: list[float] = []

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        self.trained.append(batch.mean().item())
        return self.weight.sum()

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self.log("mean", batch[0].mean())
        self.log("digit", batch[1].mean())

    test_step = validation_step

    def predict_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        return batch[1]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def trainer(**flags: Any) -> pl.Trainer:
    return pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **flags,
    )


def test_every_verb_of_lightning_runs() -> None:
    module = MeanImage()
    trainer(max_epochs=1, limit_train_batches=2).fit(module, datamodule=MNISTDataModule())
    assert module.trained == pytest.approx([0.1307, 0.1307], abs=0.02)
    digit = np.dot(TEST_DIGITS, range(10)) / 10_000
    for verb, mean, mean_digit in (("validate", 0.1308, 4.5), ("test", 0.1325, digit)):
        (logged,) = getattr(trainer(), verb)(module, datamodule=MNISTDataModule(), verbose=False)
        assert logged["mean"] == pytest.approx(mean, abs=1e-4)
        assert logged["digit"] == pytest.approx(mean_digit)
    predictions = trainer().predict(module, datamodule=MNISTDataModule())
    assert predictions is not None
    assert torch.cat([torch.as_tensor(factors) for factors in predictions]).shape == (10_000, 1)


def test_overfitting_sees_the_same_batches_again() -> None:
    module = MeanImage()
    run = trainer(max_epochs=2, overfit_batches=2)
    run.fit(module, datamodule=MNISTDataModule())
    assert module.trained[:2] == module.trained[2:]
    assert module.trained[0] != module.trained[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch_size=0 must be at least 1"),
        ({"eval_batch_size": 0}, "eval_batch_size=0 must be at least 1"),
        ({"seed": -1}, "seed=-1 must be at least 0"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MNISTDataModule(**arguments)


def test_what_is_not_set_up_says_so(tmp_path: Path) -> None:
    datamodule = MNISTDataModule(str(tmp_path))
    with pytest.raises(ValueError, match=r"MNISTDataModule is not set up; .*setup\('fit'\)"):
        datamodule.train_dataloader()
    with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte \(or .gz\) does not exist; call"):
        datamodule.setup("test")


# Other data in the same format


def write_split(
    folder: Path, names: tuple[str, str], labels: list[int], size: tuple[int, int] = (3, 5)
) -> None:
    images = np.arange(len(labels) * size[0] * size[1], dtype=np.uint8)
    write_idx(folder / "MNIST" / "raw" / names[0], images.reshape(-1, *size))
    write_idx(folder / "MNIST" / "raw" / names[1], np.array(labels, np.uint8))


def other_data(folder: Path, **options: Any) -> MNISTDataModule:
    datamodule = MNISTDataModule(str(folder), verify=False, **options)
    datamodule.prepare_data()
    datamodule.setup("fit")
    datamodule.setup("test")
    return datamodule


def test_other_data_is_read_and_described(tmp_path: Path) -> None:
    write_split(tmp_path, TRAIN_NAMES, [0, 1, 2, 3, 0, 1])
    write_split(tmp_path, TEST_NAMES, [3, 2])
    datamodule = other_data(tmp_path, batch_size=2)
    assert datamodule.factors == (Factor("label", 4, 0.0, 3.0),)
    assert datamodule.image_shape == (1, 3, 5)
    assert len(datamodule.train_dataloader()) == 3
    images, factors = next(iter(datamodule.test_dataloader()))
    assert images.flatten().tolist() == list(range(30))
    assert factors.tolist() == [[3], [2]]


def test_labelled_training_images_carry_their_labels(tmp_path: Path) -> None:
    write_split(tmp_path, TRAIN_NAMES, [0, 1, 2, 3, 0, 1])
    write_split(tmp_path, TEST_NAMES, [3, 2])
    batches = list(other_data(tmp_path, batch_size=2, labelled=True).train_dataloader())
    # The first pixel of image i is 15 i.
    pairs = [
        (int(image[0, 0, 0]) // 15, int(label))
        for b in batches
        for image, label in zip(*b, strict=True)
    ]
    assert sorted(pairs) == [(0, 0), (1, 1), (2, 2), (3, 3), (4, 0), (5, 1)]


def test_the_fingerprint_follows_the_data(tmp_path: Path) -> None:
    write_split(tmp_path, TEST_NAMES, [3, 2])
    fingerprints = []
    for labels in ([0, 1], [0, 0], [0, 1]):
        write_split(tmp_path, TRAIN_NAMES, labels)
        fingerprints.append(other_data(tmp_path, batch_size=2).fingerprint())
    assert fingerprints[0] == fingerprints[2] != fingerprints[1]
    assert fingerprints[0].startswith("idx-")


def test_other_data_is_never_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datamodules.mnist.prepare_mnist", lambda *_, **__: pytest.fail("fetched"))
    with pytest.raises(DataError, match="with verify: false nothing is downloaded: write the file"):
        other_data(tmp_path)
    write_split(tmp_path, TRAIN_NAMES, [0, 1])
    write_split(tmp_path, TEST_NAMES, [0, 1])
    assert isinstance(other_data(tmp_path, batch_size=2).train_dataloader(), BatchLoader)


def test_data_that_disagrees_is_refused(tmp_path: Path) -> None:
    raw_dir = tmp_path / "MNIST" / "raw"
    write_split(tmp_path, TRAIN_NAMES, [0, 1])
    write_split(tmp_path, TEST_NAMES, [0, 1], size=(5, 3))
    with pytest.raises(DataError, match=r"t10k-images.* shape \(1, 5, 3\), .*\(1, 3, 5\)"):
        other_data(tmp_path)
    write_split(tmp_path, TEST_NAMES, [0, 1])
    write_idx(raw_dir / TEST_NAMES[1], np.zeros(3, np.uint8))
    with pytest.raises(DataError, match="t10k-images.* holds 2 images but 3 labels"):
        other_data(tmp_path)
    write_idx(raw_dir / TEST_NAMES[1], np.zeros((2, 2), np.uint8))
    with pytest.raises(DataError, match="t10k-labels.* must hold one label"):
        other_data(tmp_path)
    write_idx(raw_dir / TRAIN_NAMES[0], np.zeros((2, 3), np.uint8))
    write_idx(raw_dir / TEST_NAMES[1], np.zeros(2, np.uint8))
    with pytest.raises(DataError, match=r"train-images.* has shape \(2, 3\); images must have"):
        other_data(tmp_path)
