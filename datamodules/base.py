"""The part that all datamodules share: loaders, the seed, and bytes to floats on the device."""

import copy
import os
from collections.abc import Sequence
from typing import Literal, Self, get_args

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities import rank_zero_info
from torch import Tensor

from datamodules.errors import DataError, check_at_least
from datamodules.factors import Factor
from datamodules.loader import Batch, BatchLoader, BatchSource, JoinedSource, TensorSource

__all__ = ["DataError", "ImageDataModule"]

Split = Literal["train", "val", "test"]
PredictSplit = Literal["train", "val", "test", "all"]


class ImageDataModule(pl.LightningDataModule):
    """Deliver float images in [0, 1]: for training alone, for evaluation with their factors.

    A subclass sets `factors`, `image_shape` (C, H, W) and, in `setup`, the sources of the splits
    that `splits_of(stage)` names: `train_source`, `val_source`, `test_source`. No image is in two
    of them; an empty `val_source` means no validation.

    Args:
        batch_size: Training images a batch and process; the paper's is 128.
        eval_batch_size: Images a batch and process in validation, test and prediction.
        drop_last: Whether training leaves out a last, smaller batch.
        seed: Fixes the order of the training images; null uses `seed_everything`'s, else 0.
        labelled: Whether training delivers the factors too, for a classifier; a GAN needs none.
        predict_split: Images that `predict` reads: `train`, `val`, `test` or `all` of them.

    Raises:
        ValueError: If a batch size is below 1, the seed negative or the split unknown.
    """

    factors: tuple[Factor, ...]
    image_shape: tuple[int, int, int]
    # Whether the images are bright strokes on dark, whose slant and thickness can be measured.
    shows_strokes = False
    # The options that choose which images of one set are held out and which are trained on.
    split_options: tuple[str, ...] = ()

    def __init__(
        self,
        batch_size: int = 128,
        eval_batch_size: int = 1000,
        drop_last: bool = True,
        seed: int | None = None,
        labelled: bool = False,
        predict_split: PredictSplit = "test",
    ) -> None:
        super().__init__()
        check_at_least(1, batch_size=batch_size, eval_batch_size=eval_batch_size)
        check_at_least(0, seed=seed or 0)
        if predict_split not in get_args(PredictSplit):
            choices = ", ".join(get_args(PredictSplit))
            raise ValueError(f"predict_split={predict_split!r} is unknown; choose from {choices}")
        self.predict_split: PredictSplit = predict_split
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.drop_last = drop_last
        self.seed = seed
        self.labelled = labelled
        self.train_source: BatchSource | None = None
        self.val_source: BatchSource | None = None
        self.test_source: BatchSource | None = None
        # By split, where an image's name is not its number in the split.
        self.image_names: dict[Split, Sequence[str]] = {}

    @property
    def val_split(self) -> str:
        """Return what validation looks at, in words, such as `5000 of train`."""
        return "the datamodule's own"

    def fingerprint(self) -> str:
        """Return a short name of the data: equal exactly if the images and factors are."""
        raise NotImplementedError(f"{type(self).__name__} must override fingerprint()")

    def splits_of(self, stage: str) -> tuple[Split, ...]:
        """Return the splits that `fit`, `validate`, `test` or `predict` reads."""
        if stage == "predict":
            return get_args(Split) if self.predict_split == "all" else (self.predict_split,)
        of_stages: dict[str, tuple[Split, ...]] = {"fit": ("train", "val"), "validate": ("val",)}
        return of_stages.get(stage, ("test",))

    @property
    def predicted_images(self) -> list[tuple[str, str]]:
        """Return split and name of every image that `predict` reads, in its order."""
        predicted = []
        for split in self.splits_of("predict"):
            size = len(self._ready(getattr(self, f"{split}_source"), "predict"))
            names = self.image_names.get(split) or map(str, range(size))
            predicted += [(str(split), name) for name in names]
        return predicted

    def with_all_labels(self) -> Self:
        """Return a copy that trains on all but the test images and delivers their factors.

        Classifiers that judge samples in a test learn from it.
        """
        copied = copy.copy(self)
        copied.labelled = True
        copied.train_source = copied.val_source = None
        copied.leave_out_validation()
        return copied

    def leave_out_validation(self) -> None:
        """Set the options so that training gets the validation images, too, where it can."""

    def train_dataloader(self) -> BatchLoader:
        """Return shuffled batches of images, with their factors if `labelled`."""
        # Lightning cannot turn off the shuffling of a loader that is not torch's.
        overfit = getattr(self.trainer, "overfit_batches", 0) > 0
        return BatchLoader(
            self._placed(self._ready(self.train_source, "fit")),
            self.batch_size,
            shuffle=not overfit,
            drop_last=self.drop_last,
            seed=self._global_seed(),
        )

    def val_dataloader(self) -> BatchLoader | list[Batch]:
        """Return batches of images and factors, each image once, in order; [] without validation.

        Raises:
            DataError: If `validate` is asked for and there are no images to validate on.
        """
        source = self._ready(self.val_source, "validate")
        if len(source):
            return self._eval_loader(source)
        name = type(self).__name__
        if getattr(self.trainer, "validating", False):
            raise DataError(
                f"{name} holds out no validation images; raise its val_size (or val_share) from 0,"
                " or use `test`"
            )
        rank_zero_info(
            f"{name} holds out no validation images: nothing is logged as val/ and no best"
            " checkpoint is kept, the last one alone."
        )
        return []

    def test_dataloader(self) -> BatchLoader:
        """Return batches of the test images and their factors, each image once, in order."""
        return self._eval_loader(self._ready(self.test_source, "test"))

    def predict_dataloader(self) -> BatchLoader:
        """Return batches of the images of `predict_split`, each image once, in order."""
        splits = self.splits_of("predict")
        sources = [self._ready(getattr(self, f"{split}_source"), "predict") for split in splits]
        source = sources[0] if len(sources) == 1 else JoinedSource(sources)
        if not len(source):
            raise DataError(
                f"predict_split={self.predict_split}, but {type(self).__name__} holds out no"
                " validation images; choose another split"
            )
        return self._eval_loader(source)

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Convert images from bytes to float32 in [0, 1], on the device they are on."""
        if isinstance(batch, Tensor):
            return to_unit_interval(batch)
        images, factors = batch
        return to_unit_interval(images), factors

    def _eval_loader(self, source: BatchSource) -> BatchLoader:
        return BatchLoader(
            self._placed(source),
            self.eval_batch_size,
            shuffle=False,
            drop_last=False,
            seed=self._global_seed(),
        )

    def _placed(self, source: BatchSource) -> BatchSource:
        """Return the source on the trainer's GPU if it takes no more than a quarter of its memory.

        Batches are then put together on the card, and the host copies none.
        """
        device = torch.device("cpu") if self.trainer is None else self.trainer.strategy.root_device
        if device.type != "cuda" or not isinstance(source, TensorSource):
            return source
        free, _ = torch.cuda.mem_get_info(device)
        return source.to(device) if 4 * source.images.nbytes <= free else source

    def _global_seed(self) -> int:
        return int(os.environ.get("PL_GLOBAL_SEED", 0)) if self.seed is None else self.seed

    def _ready(self, source: BatchSource | None, stage: str) -> BatchSource:
        if source is None:
            name = type(self).__name__
            raise ValueError(f"{name} is not set up; call prepare_data() and setup({stage!r})")
        return source


def to_unit_interval(images: Tensor) -> Tensor:
    """Return uint8 images (B, C, H, W) as float32 in [0, 1]; float images as they are."""
    return images.to(torch.float32).div_(255) if images.dtype == torch.uint8 else images
