"""Decide which images are held out: the same ones in every run, whatever its seed."""

import hashlib
from collections.abc import Sequence
from typing import Literal

import numpy as np

# A number of its own: no `seed_everything` moves an image between training and validation.
_SEED = 60_000


def balanced_subset(labels: np.ndarray, size: int) -> np.ndarray:
    """Choose images with equally many of every class, as far as the classes reach.

    The choice is a function of the labels alone, and a smaller one is part of a larger one.

    Args:
        labels: Class of every image, (N,).
        size: Number of images to choose, at most N.

    Returns:
        Numbers of the chosen images, ascending, int64 (size,).
    """
    # RandomState's streams are frozen; those of a Generator may change with NumPy's version.
    order = np.random.RandomState(_SEED).permutation(len(labels))
    # Deal the shuffled images out class by class: each one's turn within its class.
    turn = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        of_class = order[labels[order] == label]
        turn[of_class] = np.arange(len(of_class))
    return np.sort(np.lexsort((labels, turn))[:size])


def split_by_name(
    names: Sequence[str], val_share: float, test_share: float, seed: int
) -> dict[Literal["train", "val", "test"], list[int]]:
    """Split files into `train`, `val` and `test` by a hash of each one's name.

    A file's place depends on its own name: files that are added move no trained picture into a
    held-out split. Where a share is above 0 its split holds at least two files.

    Args:
        names: Name of every file, relative to the folder.
        val_share: Expected share of validation, in [0, 1).
        test_share: Expected share of test, in [0, 1).
        seed: Chooses another split.

    Returns:
        The files' numbers by split, ascending.
    """
    places = [_unit_hash(f"{seed}/{name}") for name in names]
    ranking = sorted(range(len(names)), key=lambda i: (places[i], names[i]))
    # Test grows from 0 upwards and validation from 1 downwards, so that neither moves the other.
    test = {i for i in ranking if places[i] < test_share}
    val = {i for i in ranking if places[i] >= 1 - val_share}
    # A picture that is added can only push another out of the first two, into training.
    test |= set(ranking[:2]) if test_share else set()
    val |= set(ranking[::-1][:2]) if val_share else set()
    val -= test
    held_out = test | val
    return {
        "train": [i for i in range(len(names)) if i not in held_out],
        "val": sorted(val),
        "test": sorted(test),
    }


def _unit_hash(text: str) -> float:
    """Return a number in [0, 1) that is a function of the text."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:7]) / 2**56
