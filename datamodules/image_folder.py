"""A folder of picture files."""

import hashlib
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from pytorch_lightning.utilities import rank_zero_info
from torch import Tensor

from datamodules.base import ImageDataModule, Split
from datamodules.deep_pictures import deepest
from datamodules.errors import DataError, check_at_least
from datamodules.factors import Factor
from datamodules.image_files import (
    FORMATS,
    MAX_PIXELS,
    Background,
    Resize,
    decode_pictures,
    in_words,
    list_pictures,
)
from datamodules.loader import TensorSource
from datamodules.splits import split_by_name

# Files named in one line; the others are counted.
_NUM_NAMED = 10
_IN_WORDS = {"train": "training", "val": "validation", "test": "test"}


class ImageFolderDataModule(ImageDataModule):
    """Deliver a folder of your own pictures, gray or RGB, brought to one square size.

    The pictures lie in the folder itself or, as torchvision's ImageFolder has them, in a sub-folder
    a class. Classes are used for scoring only. The files are decoded once and kept as bytes in
    memory: 200,000 RGB pictures of 64x64 take 2.5 GB. One share of them is held out for validation
    and another for test. A file's name, with its sub-folder's, decides which one it is in, so that
    a folder that grows moves no trained picture into a held-out share.

    Args:
        data_dir: Folder of the pictures: avif, bmp, gif, jpeg, pgm, png, ppm, tiff or webp; links
            are followed. In files of 16 bits, values of 10, 12 or 14 are told by the largest one.
        image_size: Side in pixels that every picture is brought to, divisible by 4; the model's
            `image_size` must be the same.
        image_channels: 1 for gray, 3 for RGB; the model's `image_channels` must be the same.
        resize: `crop` scales the shorter side to the size and cuts off the ends of the longer one;
            `pad` scales the longer side and fills up with the background; `stretch` distorts.
        background: What shows through transparent pixels, and what `pad` fills up with.
        corrupt_files: Whether files that cannot be read, or have more than 89 million pixels, are
            named and left out (`skip`), or the run does not start (`refuse`).
        val_share: Share of the files that is held out for validation, at least two files; 0 for no
            validation.
        split_seed: Fixes which files are held out, so that runs with other seeds are comparable.
        test_share: Share of the files that is held out for test, at least two files; 0 for no test.
        **kwargs: See ImageDataModule.

    Raises:
        DataError: If the folder holds no pictures, or files cannot be read and that is refused.
        ValueError: If an option has no such value.
    """

    split_options = ("val_share", "test_share", "split_seed")

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
        test_share: float = 0.1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if image_size < 4 or image_size % 4:
            raise ValueError(
                f"image_size={image_size} must be a positive multiple of 4, such as 32 or 64"
            )
        for name, share in (("val_share", val_share), ("test_share", test_share)):
            if not 0 <= share < 1:
                raise ValueError(f"{name}={share} must be 0 or more and below 1, such as 0.1")
        if val_share + test_share >= 1:
            raise ValueError(
                f"val_share={val_share} and test_share={test_share} leave nothing to train on;"
                " lower them"
            )
        check_at_least(0, split_seed=split_seed)
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
        self.test_share = test_share
        self.split_seed = split_seed
        self.listing = list_pictures(self.folder)
        self.factors = self._class_factor()
        if self.labelled and not self.factors:
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
        shares = (self.val_share, self.test_share, self.split_seed)
        options = (self.image_shape, self.resize, self.background, *shares)
        digest = hashlib.sha256(repr(options).encode())
        for path, label in zip(self.listing.paths, self.listing.labels, strict=True):
            content = _content_hash(path)
            digest.update(f"{path.relative_to(self.folder)} {label} {content}".encode())
        return f"folder-{digest.hexdigest()[:12]}"

    @property
    def val_split(self) -> str:
        """Return what validation looks at, such as `0.1 of the files`."""
        return f"{self.val_share:g} of the files" if self.val_share else "none"

    def leave_out_validation(self) -> None:
        """Train on the pictures that are held out for validation, too."""
        self.val_share = 0.0

    def setup(self, stage: str) -> None:
        """Decode the pictures of the splits that the stage needs, each once."""
        splits = self.splits_of(stage)
        wanted = [split for split in splits if getattr(self, f"{split}_source") is None]
        if not wanted:
            return
        numbers = self._split()
        read, images, factors = self._decode([n for split in wanted for n in numbers[split]])
        for split in wanted:
            chosen = torch.isin(read, torch.tensor(numbers[split], dtype=torch.int64))
            with_factors = split != "train" or self.labelled
            source = TensorSource(images[chosen], factors[chosen] if with_factors else None)
            self._check_size(split, len(source))
            setattr(self, f"{split}_source", source)
            self.image_names[split] = [self._name(number) for number in read[chosen].tolist()]
        sizes = {split: len(getattr(self, f"{split}_source")) for split in splits}
        counts = " and ".join(f"{size} {_IN_WORDS[split]}" for split, size in sizes.items())
        classes = f"{len(self.class_names)} classes" if self.class_names else "no classes"
        rank_zero_info(f"{self.folder}: {counts} pictures of {self.image_shape}, {classes}.")
        if self.listing.unused:
            rank_zero_info(
                f"{self.folder}, not used: {in_words(self.listing.unused, self.folder)}."
            )

    def _check_size(self, split: str, size: int) -> None:
        """Refuse a split that is too small to be used."""
        # Two, because code accuracy names the categories on one half and scores them on the other,
        # and batch normalisation needs two.
        least = {"train": 2, "val": 2 if self.val_share else 0, "test": 2}[split]
        if size < least:
            raise DataError(
                f"data_dir={self.folder} gives {size} {_IN_WORDS[split]} pictures with"
                f" val_share={self.val_share} and test_share={self.test_share}; at least {least}"
                " are needed: add pictures or change the shares"
            )

    def _class_factor(self) -> tuple[Factor, ...]:
        names = tuple(self.listing.class_names)
        number = len(names)
        return (Factor("class", number, 0, number - 1, names),) if number else ()

    def _name(self, number: int) -> str:
        """Return a file's path relative to the folder."""
        return self.listing.paths[number].relative_to(self.folder).as_posix()

    def _split(self) -> dict[Split, list[int]]:
        """Return the numbers of the files of each split, in the files' order."""
        names = [self._name(number) for number in range(len(self.listing.paths))]
        return split_by_name(names, self.val_share, self.test_share, self.split_seed)

    def _decode(self, numbers: list[int]) -> tuple[Tensor, Tensor, Tensor]:
        """Decode the files numbered so; return those that could be read, images and factors.

        Raises:
            DataError: If some cannot be read, and that is refused.
        """
        paths = [self.listing.paths[number] for number in numbers]
        images, read, unreadable = decode_pictures(
            paths, self.image_shape, self.resize, self.background, self._depth
        )
        if unreadable:
            message = self._name_unreadable(unreadable, len(paths))
            if self.corrupt_files == "refuse":
                raise DataError(f"{message}; repair or delete them, or set corrupt_files to skip")
            rank_zero_info(f"Warning, left out: {message}")
        labels = [float(self.listing.labels[numbers[position]]) for position in read]
        factors = torch.tensor(labels).reshape(-1, 1)[:, : len(self.factors)]
        could_be_read = torch.tensor([numbers[position] for position in read], dtype=torch.int64)
        return could_be_read, torch.from_numpy(images), factors

    @cached_property
    def _depth(self) -> int | None:
        """Bits of the values in files of 16 bits, one for all files; None without such files."""
        depth = deepest(self.listing.paths, FORMATS, MAX_PIXELS)
        if depth is not None:
            rank_zero_info(
                f"{self.folder}: files of 16 bits a channel hold values of {depth} bits."
            )
        return depth

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
