"""Draw batches in one process, in an order that a checkpoint can continue."""

import math
from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor, distributed

from datamodules.errors import DataError, check_at_least

Batch = Tensor | tuple[Tensor, Tensor]


@runtime_checkable
class BatchSource(Protocol):
    """What a BatchLoader draws from: images by their number, a whole batch at once."""

    def __len__(self) -> int:
        """Return the number of images in an epoch."""
        ...

    def fetch(self, indices: Tensor, rng: np.random.Generator) -> Batch:
        """Return the images numbered `indices`, alone or with their factors.

        Args:
            indices: int64 (B,).
            rng: A function of (seed, epoch, rank, batch number), for sources that render images
                afresh; sources in memory ignore it.

        Returns:
            Images, uint8 (B, C, H, W); or images and factors, float32 (B, F).
        """
        ...


class TensorSource:
    """Hold images, and optionally their factors, in memory.

    Args:
        images: uint8 (N, C, H, W).
        factors: float32 (N, F), or None to deliver images alone.

    Raises:
        ValueError: If images and factors differ in number.
    """

    def __init__(self, images: Tensor, factors: Tensor | None = None) -> None:
        if factors is not None and len(factors) != len(images):
            raise ValueError(
                f"factors has {len(factors)} rows for {len(images)} images; give one row an image"
            )
        self.images = images
        self.factors = factors

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    def fetch(self, indices: Tensor, rng: np.random.Generator) -> Batch:
        """Return images[indices], with factors[indices] if there are factors."""
        # Many times faster than self.images[indices] on bytes.
        images = self.images.index_select(0, indices)
        return images if self.factors is None else (images, self.factors.index_select(0, indices))

    @property
    def device(self) -> torch.device:
        """Return where the images are."""
        return self.images.device

    def to(self, device: torch.device) -> "TensorSource":
        """Return the same source on a device, where its batches are then put together."""
        factors = None if self.factors is None else self.factors.to(device)
        return TensorSource(self.images.to(device), factors)


class JoinedSource:
    """Put sources one after another, without their factors.

    Args:
        sources: The sources.
    """

    def __init__(self, sources: Sequence[BatchSource]) -> None:
        self.sources = list(sources)

    def __len__(self) -> int:
        """Return the number of images of all sources."""
        return sum(map(len, self.sources))

    def fetch(self, indices: Tensor, rng: np.random.Generator) -> Tensor:
        """Return the images of ascending numbers that count through all sources."""
        parts, first = [], 0
        for source in self.sources:
            own = indices[(indices >= first) & (indices < first + len(source))] - first
            first += len(source)
            if len(own):
                batch = source.fetch(own, rng)
                parts.append(batch if isinstance(batch, Tensor) else batch[0])
        return torch.cat(parts)


def rank_and_world_size() -> tuple[int, int]:
    """Return this process's rank and the number of ranks; (0, 1) outside a process group."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


class BatchLoader:
    """Iterate over one rank's share of a source, without workers and without per-image Python.

    Training (`shuffle=True`) reorders by (seed, epoch); all ranks get equally many batches, of
    equal sizes: with `drop_last=False` by repeating at most one image a rank, and the last but one
    leaves the last an image where it would have one alone. Evaluation
    (`shuffle=False`) repeats none: rank r gets images r::world_size, in order, every time with
    the same `rng`. Ranks then still agree on the number of batches (one that is an image short
    splits its last batch), except where a rank has fewer images than others have batches
    (`batch_size=1`, or more ranks than images).

    Args:
        source: Where the images come from.
        batch_size: Images a batch and rank.
        shuffle: Whether to draw in a new random order each epoch.
        drop_last: Whether to leave out a last, smaller batch.
        seed: Non-negative; with the epoch it fixes the order.

    Raises:
        ValueError: If a value is out of range, the source is empty, or no full batch exists.
    """

    # Lightning reads it on everything that has a `sampler`.
    batch_sampler: None = None

    def __init__(
        self, source: BatchSource, batch_size: int, *, shuffle: bool, drop_last: bool, seed: int
    ) -> None:
        check_at_least(1, batch_size=batch_size)
        check_at_least(0, seed=seed)
        if len(source) == 0:
            raise ValueError(f"source={type(source).__name__} holds no images; give at least one")
        self.source = source
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.seed = seed
        self.epoch = 0
        self._num_delivered = 0
        self._first_batch = 0
        self._skipped_epochs = 0
        self._is_resuming = False
        self._share()

    @property
    def sampler(self) -> "BatchLoader":
        """Return itself: Lightning calls `set_epoch` on a loader's sampler."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next; a new epoch starts at its first batch."""
        if self._is_resuming and self._num_delivered == 0:
            # With `max_steps`, Lightning resumes after an epoch by counting one that draws nothing.
            self._skipped_epochs = epoch - self.epoch
        elif epoch - self._skipped_epochs != self.epoch:
            self.epoch = epoch - self._skipped_epochs
            self._num_delivered = self._first_batch = 0

    def __len__(self) -> int:
        """Return the number of batches of this rank in an epoch."""
        return self._share()[1]

    def __iter__(self) -> Iterator[Batch]:
        """Yield the epoch's batches; those a loaded state has delivered are passed over once."""
        # As a generator, all this happens when the first batch is asked for: Lightning creates
        # iterators that it never uses, and others before it announces the epoch.
        rank, world_size = rank_and_world_size()
        num_images, num_batches = self._share()
        # Of one image, batch normalisation has no variance to divide by.
        least = 2 if self.shuffle and num_images >= 2 * num_batches else 1
        order = self._order(num_images, rank, world_size)
        epoch = self.epoch if self.shuffle else 0
        first_batch, self._first_batch, self._is_resuming = self._first_batch, 0, False
        for batch in range(first_batch, num_batches):
            # Every batch to come keeps its least number of images.
            start = min(batch * self.batch_size, num_images - least * (num_batches - batch))
            stop = min(
                (batch + 1) * self.batch_size, num_images - least * (num_batches - batch - 1)
            )
            indices = order[start:stop].long()
            # The order uses the key (epoch,): a key of another length is another stream.
            key = np.random.SeedSequence(self.seed, spawn_key=(epoch, rank, batch))
            # Before the yield: a checkpoint is written while the generator waits in it.
            self._num_delivered = batch + 1
            yield self.source.fetch(indices, np.random.default_rng(key))

    def state_dict(self) -> dict[str, int]:
        """Return the position in the epoch and what gives it its meaning."""
        return {
            "epoch": self.epoch,
            "num_delivered": self._num_delivered,
            "skipped_epochs": self._skipped_epochs,
            **self._settings(),
        }

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Go on after the batches that `state_dict` has delivered; warn if they would differ."""
        settings = self._settings()
        changed = [name for name, value in settings.items() if state_dict[name] != value]
        if changed and state_dict["num_delivered"] > 0:
            differences = ", ".join(f"{n} {state_dict[n]} -> {settings[n]}" for n in changed)
            rank_zero_warn(
                f"The data loader resumes with {differences}: images of epoch"
                f" {state_dict['epoch']} may be seen twice or not at all."
            )
        self.epoch = state_dict["epoch"]
        self._num_delivered = self._first_batch = state_dict["num_delivered"]
        self._skipped_epochs = state_dict["skipped_epochs"]
        self._is_resuming = True

    def _settings(self) -> dict[str, int]:
        return {
            "seed": self.seed,
            "batch_size": self.batch_size,
            "world_size": rank_and_world_size()[1],
            "num_images": len(self.source),
        }

    def _share(self) -> tuple[int, int]:
        """Return how many images and batches this rank gets in an epoch."""
        rank, world_size = rank_and_world_size()
        total = len(self.source)
        if self.drop_last:
            num_batches = total // (self.batch_size * world_size)
            if num_batches == 0:
                raise DataError(
                    f"batch_size={self.batch_size} on {world_size} rank(s) leaves no full batch of"
                    f" {total} images; lower batch_size or set drop_last to false"
                )
            return num_batches * self.batch_size, num_batches
        num_images = math.ceil(total / world_size)
        num_batches = math.ceil(num_images / self.batch_size)
        if self.shuffle:
            return num_images, num_batches
        num_images = len(range(rank, total, world_size))
        return num_images, min(num_batches, num_images)

    def _order(self, num_images: int, rank: int, world_size: int) -> Tensor:
        """Return the numbers of this rank's images in the epoch, on the source's device."""
        total = len(self.source)
        kind: type[np.signedinteger] = np.int32 if total < 2**30 else np.int64
        numbers = np.arange(rank, rank + num_images * world_size, world_size, dtype=kind)
        if self.shuffle:
            # One permutation of all images, the same on every rank and device.
            order = np.arange(total, dtype=kind)
            key = np.random.SeedSequence(self.seed, spawn_key=(self.epoch,))
            np.random.default_rng(key).shuffle(order)
            numbers = order.take(numbers, mode="wrap")
        return torch.from_numpy(numbers).to(getattr(self.source, "device", "cpu"))
