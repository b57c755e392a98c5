"""The loader: what it draws, how ranks share it, and the state that it keeps."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from datamodules import BatchLoader, TensorSource
from datamodules.loader import JoinedSource

NUM_IMAGES = 23


class NumberedSource:
    """Deliver, instead of images, their numbers and a draw from `rng` for each."""

    def __init__(self, num_images: int = NUM_IMAGES) -> None:
        self.num_images = num_images

    def __len__(self) -> int:
        return self.num_images

    def fetch(self, indices: Tensor, rng: np.random.Generator) -> Tensor:
        draws = torch.from_numpy(rng.integers(10**6, size=len(indices)))
        return torch.stack([indices, draws], dim=1)


def training_loader(batch_size: int = 4, drop_last: bool = True, seed: int = 3) -> BatchLoader:
    return BatchLoader(NumberedSource(), batch_size, shuffle=True, drop_last=drop_last, seed=seed)


def evaluation_loader(num_images: int = NUM_IMAGES, batch_size: int = 4) -> BatchLoader:
    source = NumberedSource(num_images)
    return BatchLoader(source, batch_size, shuffle=False, drop_last=False, seed=3)


def batches_of(loader: BatchLoader) -> list[Any]:
    return [batch.tolist() for batch in loader if isinstance(batch, Tensor)]


def numbers_of(loader: BatchLoader) -> list[int]:
    return [number for batch in batches_of(loader) for number, _ in batch]


def pretend_rank(monkeypatch: pytest.MonkeyPatch, rank: int, world_size: int) -> None:
    monkeypatch.setattr("datamodules.loader.rank_and_world_size", lambda: (rank, world_size))


# What is drawn


def test_every_image_comes_once_an_epoch() -> None:
    loader = training_loader(drop_last=False)
    assert [len(batch) for batch in batches_of(loader)] == [4, 4, 4, 4, 4, 3]
    assert sorted(numbers_of(loader)) == list(range(NUM_IMAGES))
    assert len(loader) == 6


def test_drop_last_leaves_out_the_smaller_batch() -> None:
    loader = training_loader(drop_last=True)
    assert [len(batch) for batch in batches_of(loader)] == [4] * 5 == [4] * len(loader)
    assert len(set(numbers_of(loader))) == 20


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        loader = training_loader(seed=seed)
        loader.set_epoch(epoch)
        return numbers_of(loader)

    assert order(3, 1) == order(3, 1)
    orders = [order(seed, epoch) for seed in (3, 4, 2**40) for epoch in (0, 1, 2)]
    assert len({tuple(order) for order in orders}) == len(orders)


def test_every_batch_has_random_numbers_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    draws = []
    for rank in (0, 1):
        pretend_rank(monkeypatch, rank, 2)
        loader = training_loader()
        for epoch in (0, 1):
            loader.set_epoch(epoch)
            draws += [draw for batch in batches_of(loader) for _, draw in batch]
    assert len(set(draws)) == len(draws) == 2 * 2 * 2 * 4


def test_evaluation_is_in_order_and_the_same_every_epoch() -> None:
    loader = evaluation_loader()
    first = batches_of(loader)
    loader.set_epoch(5)
    assert batches_of(loader) == first
    assert numbers_of(loader) == list(range(NUM_IMAGES))


def test_tensor_source_returns_the_images_asked_for() -> None:
    images = torch.arange(10, dtype=torch.uint8).reshape(10, 1, 1, 1)
    factors = torch.arange(10.0).reshape(10, 1) / 2
    indices, rng = torch.tensor([7, 0, 7]), np.random.default_rng(0)
    alone = TensorSource(images).fetch(indices, rng)
    assert isinstance(alone, Tensor)
    assert alone.flatten().tolist() == [7, 0, 7]
    both = TensorSource(images, factors).fetch(indices, rng)
    assert both[0].flatten().tolist() == [7, 0, 7]
    assert both[1].flatten().tolist() == [3.5, 0, 3.5]


# Ranks


@pytest.mark.parametrize("world_size", [2, 3, 5])
@pytest.mark.parametrize("drop_last", [True, False])
def test_training_ranks_share_an_epoch(
    monkeypatch: pytest.MonkeyPatch, world_size: int, drop_last: bool
) -> None:
    sizes, numbers = [], []
    for rank in range(world_size):
        pretend_rank(monkeypatch, rank, world_size)
        loader = training_loader(drop_last=drop_last)
        sizes.append([len(batch) for batch in batches_of(loader)])
        assert len(loader) == len(sizes[-1])
        numbers += numbers_of(loader)
    assert all(size == sizes[0] for size in sizes)
    if drop_last:
        assert set(sizes[0]) == {4}
        assert len(set(numbers)) == len(numbers) == NUM_IMAGES // (4 * world_size) * 4 * world_size
    else:
        assert set(numbers) == set(range(NUM_IMAGES))
        assert len(numbers) - NUM_IMAGES == -NUM_IMAGES % world_size


@pytest.mark.parametrize(
    ("num_images", "batch_size", "sizes"),
    [
        (23, 4, [[4, 4, 4], [4, 4, 3]]),
        (17, 4, [[4, 4, 1], [4, 3, 1]]),  # rank 1 splits its last batch to keep up
        (3, 1, [[1, 1], [1]]),  # it has nothing to split
        (1, 4, [[1], []]),
    ],
)
def test_evaluation_counts_no_image_twice(
    monkeypatch: pytest.MonkeyPatch, num_images: int, batch_size: int, sizes: list[list[int]]
) -> None:
    for rank in (0, 1):
        pretend_rank(monkeypatch, rank, 2)
        loader = evaluation_loader(num_images, batch_size)
        assert numbers_of(loader) == list(range(rank, num_images, 2))
        assert [len(batch) for batch in batches_of(loader)] == sizes[rank]
        assert len(loader) == len(sizes[rank])


# Errors


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 0}, "batch_size=0 must be at least 1"),
        ({"seed": -1}, "seed=-1 must be at least 0"),
        ({"source": NumberedSource(0)}, "holds no images"),
        ({"batch_size": 24}, "batch_size=24 on 1 rank.* of 23 images; lower batch_size or set dr"),
    ],
)
def test_wrong_arguments_are_refused(changes: dict[str, Any], message: str) -> None:
    right = {"source": NumberedSource(), "batch_size": 4, "seed": 0}
    with pytest.raises(ValueError, match=message):
        BatchLoader(**{**right, **changes}, shuffle=True, drop_last=True)


def test_ranks_known_only_later_can_make_the_batch_too_large(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loader = training_loader(batch_size=12)
    pretend_rank(monkeypatch, 1, 2)
    with pytest.raises(ValueError, match="batch_size=12 on 2 rank"):
        len(loader)


def test_factors_must_fit_the_images() -> None:
    images = torch.zeros(3, 1, 2, 2, dtype=torch.uint8)
    with pytest.raises(ValueError, match="factors has 2 rows for 3 images"):
        TensorSource(images, torch.zeros(2, 1))


# State


def test_a_loaded_state_goes_on_in_the_middle_once() -> None:
    loader = training_loader()
    loader.set_epoch(2)
    iterator = iter(loader)
    next(iterator), next(iterator)
    state = loader.state_dict()
    rest = [batch.tolist() for batch in iterator if isinstance(batch, Tensor)]

    resumed = training_loader()
    resumed.load_state_dict(state)
    assert resumed.state_dict() == state
    iter(resumed)  # an iterator that is never used takes nothing away
    resumed.set_epoch(2)
    assert batches_of(resumed) == rest
    assert batches_of(resumed)[2:] == rest


def test_an_abandoned_iteration_leaves_no_trace() -> None:
    loader = training_loader()
    next(iter(loader))
    assert len(batches_of(loader)) == 5


def test_state_of_other_settings_is_warned_about() -> None:
    loader = training_loader()
    next(iter(loader))
    with pytest.warns(UserWarning, match="seed 3 -> 4, batch_size 4 -> 2"):
        training_loader(batch_size=2, seed=4).load_state_dict(loader.state_dict())


@pytest.mark.parametrize(("total", "sizes"), [(37, [35, 2]), (38, [36, 2]), (73, [36, 35, 2])])
def test_no_training_batch_holds_one_image(total: int, sizes: list[int]) -> None:
    source = TensorSource(torch.arange(total).reshape(-1, 1, 1, 1))
    loader = BatchLoader(source, 36, shuffle=True, drop_last=False, seed=0)
    batches = list(loader)
    assert [len(batch) for batch in batches] == sizes
    images = torch.cat([batch for batch in batches if isinstance(batch, Tensor)])
    assert sorted(images.flatten().tolist()) == list(range(total))


def test_joined_sources_count_through() -> None:
    images = torch.arange(10).reshape(-1, 1, 1, 1)
    source = JoinedSource([TensorSource(images[:4]), TensorSource(images[4:], torch.zeros(6, 2))])
    assert len(source) == 10
    fetched = source.fetch(torch.tensor([1, 3, 4, 9]), np.random.default_rng(0))
    assert fetched.flatten().tolist() == [1, 3, 4, 9]
