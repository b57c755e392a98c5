"""A folder of picture files."""

import hashlib
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from pytorch_lightning.utilities import rank_zero_info
from torch import Tensor

from datamodules.base import ImageDataModule
from datamodules.errors import DataError
from datamodules.factors import Factor
from datamodules.image_files import Background, Resize, decode_pictures, list_pictures
from datamodules.loader import TensorSource

# Files named in one line; the others are counted.
_NUM_NAMED = 10


class ImageFolderDataModule(ImageDataModule):
    """Deliver a folder of your own pictures, gray or RGB, brought to one square size.

    The pictures lie in the folder itself or, as torchvision's ImageFolder has them, in a sub-folder
    a class. Classes are used for scoring only. The files are decoded once and kept as bytes in
    memory: 200,000 RGB pictures of 64x64 take 2.5 GB. A share of them is held out for validation,
    test and prediction.

    Args:
        data_dir: Folder of the pictures: bmp, gif, jpeg, pgm, png, ppm, tiff or webp.
        image_size: Side in pixels that every picture is brought to, divisible by 4; the model's
            `image_size` must be the same.
        image_channels: 1 for gray, 3 for RGB; the model's `image_channels` must be the same.
        resize: `crop` scales the shorter side to the size and cuts off the ends of the longer one;
            `pad` scales the longer side and fills up with the background; `stretch` distorts.
        background: What shows through transparent pixels, and what `pad` fills up with.
        corrupt_files: Whether files that cannot be read, or have more than 89 million pixels, are
            named and left out (`skip`), or the run does not start (`refuse`).
        val_share: Share of the files that is held out, between 0 and 1.
        split_seed: Fixes which files are held out, so that runs with other seeds are comparable.
        batch_size: Training images a batch and process; the paper's is 128.
        eval_batch_size: Images a batch and process in validation, test and prediction.
        drop_last: Whether training leaves out a last, smaller batch.
        seed: Fixes the order of the training images; null uses `seed_everything`'s, else 0.
        labelled: Whether training delivers the classes too, for a classifier; a GAN needs none.

    Raises:
        DataError: If the folder holds no pictures, or files cannot be read and that is refused.
        ValueError: If an option has no such value.
    """

    def __init__(
        self,
        data_dir: str,
        image_size: int = 32,
        image_channels: Literal[1, 3] = 3,
        resize: Resize = "crop",
        background: Background = "black",
        corrupt_files: Literal["skip", "refuse"] = "skip",
        val_share: float = 0.1,
        split_seed: int = 0,
        batch_size: int = 128,
        eval_batch_size: int = 1000,
        drop_last: bool = True,
        seed: int | None = None,
        labelled: bool = False,
    ) -> None:
        super().__init__(batch_size, eval_batch_size, drop_last, seed, labelled)
        if image_size < 4 or image_size % 4:
            raise ValueError(
                f"image_size={image_size} must be a positive multiple of 4, such as 32 or 64"
            )
        if not 0 < val_share < 1:
            raise ValueError(
                f"val_share={val_share} must lie between 0 and 1, such as 0.1; held-out pictures"
                " are what validation looks at"
            )
        if split_seed < 0:
            raise ValueError(f"split_seed={split_seed} must not be negative; use 0 or more")
        for name, value, choices in (
            ("image_channels", image_channels, (1, 3)),
            ("resize", resize, get_args(Resize)),
            ("background", background, get_args(Background)),
            ("corrupt_files", corrupt_files, ("skip", "refuse")),
        ):
            if value not in choices:
                raise ValueError(f"{name}={value} must be {' or '.join(map(str, choices))}")
        self.folder = Path(data_dir).expanduser()
        self.image_shape = (image_channels, image_size, image_size)
        self.resize = resize
        self.background = background
        self.corrupt_files = corrupt_files
        self.val_share = val_share
        self.split_seed = split_seed
        self.listing = list_pictures(self.folder)
        self.factors = self._class_factor()
        if labelled and not self.factors:
            raise DataError(
                f"labelled=true, but data_dir={self.folder} has no classes; sort its pictures into"
                " a sub-folder a class, or set labelled to false"
            )

    @property
    def class_names(self) -> list[str]:
        """Return the sub-folders' names in the order of their numbers; none of a flat folder."""
        return self.listing.class_names

    def fingerprint(self) -> str:
        """Return `folder-` and a hash of the files' contents, their classes and the options."""
        options = (self.image_shape, self.resize, self.background, self.val_share, self.split_seed)
        digest = hashlib.sha256(repr(options).encode())
        for path, label in zip(self.listing.paths, self.listing.labels, strict=True):
            content = _content_hash(path)
            digest.update(f"{path.relative_to(self.folder)} {label} {content}".encode())
        return f"folder-{digest.hexdigest()[:12]}"

    def setup(self, stage: str) -> None:
        """Decode the held-out pictures and, for `fit`, the training pictures."""
        if self.train_source is not None or (self.eval_source is not None and stage != "fit"):
            return
        held_out, training = self._split()
        images, factors, num_held_out = self._decode(held_out, training if stage == "fit" else [])
        self.eval_source = TensorSource(images[:num_held_out], factors[:num_held_out])
        sizes = {"held-out": num_held_out}
        if stage == "fit":
            labels = factors[num_held_out:] if self.labelled else None
            self.train_source = TensorSource(images[num_held_out:], labels)
            sizes["training"] = len(self.train_source)
        counts = " and ".join(f"{number} {name}" for name, number in sizes.items())
        # Two, because code accuracy names the categories on one half and scores them on the other.
        if num_held_out < 2 or not sizes.get("training", 1):
            raise DataError(
                f"data_dir={self.folder} gives {counts} pictures with val_share={self.val_share};"
                " at least 2 and 1 are needed: add pictures or change val_share"
            )
        classes = f"{len(self.class_names)} classes" if self.class_names else "no classes"
        rank_zero_info(f"{self.folder}: {counts} pictures of {self.image_shape}, {classes}.")

    def _class_factor(self) -> tuple[Factor, ...]:
        number = len(self.listing.class_names)
        return (Factor("class", number, 0, number - 1),) if number else ()

    def _split(self) -> tuple[list[int], list[int]]:
        """Return the numbers of the held-out and of the training files, in the files' order."""
        total = len(self.listing.paths)
        order = np.random.default_rng(self.split_seed).permutation(total)
        num_held_out = round(total * self.val_share)
        return sorted(order[:num_held_out].tolist()), sorted(order[num_held_out:].tolist())

    def _decode(self, held_out: list[int], training: list[int]) -> tuple[Tensor, Tensor, int]:
        """Decode the files numbered so; return images, factors and how many are held out.

        Raises:
            DataError: If some cannot be read, and that is refused.
        """
        numbers = [*held_out, *training]
        paths = [self.listing.paths[number] for number in numbers]
        images, read, unreadable = decode_pictures(
            paths, self.image_shape, self.resize, self.background
        )
        if unreadable:
            message = self._name_unreadable(unreadable, len(paths))
            if self.corrupt_files == "refuse":
                raise DataError(f"{message}; repair or delete them, or set corrupt_files to skip")
            rank_zero_info(f"Warning, left out: {message}")
        labels = [float(self.listing.labels[numbers[position]]) for position in read]
        factors = torch.tensor(labels).reshape(-1, 1)[:, : len(self.factors)]
        return torch.from_numpy(images), factors, sum(p < len(held_out) for p in read)

    def _name_unreadable(self, unreadable: dict[Path, str], total: int) -> str:
        named = [
            f"{path.relative_to(self.folder)} ({' '.join(reason.split())})"
            for path, reason in sorted(unreadable.items())
        ]
        more = f" and {len(named) - _NUM_NAMED} more" if len(named) > _NUM_NAMED else ""
        return (
            f"{len(named)} of {total} files in {self.folder} cannot be read:"
            f" {', '.join(named[:_NUM_NAMED])}{more}"
        )


def _content_hash(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return "unreadable"
