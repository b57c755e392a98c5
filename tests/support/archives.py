"""Archives in MNIST's format, made for tests and entered into torchvision's tables."""

import gzip
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torchvision.datasets

from datamodules.idx import idx_header


def write_archives(folder: Path, dataset: str, number: int = 60) -> dict[str, bytes]:
    """Write a data set's four archives; return them by name. Image i is gray, labels take turns.

    Args:
        folder: The data_dir.
        dataset: Name of the class in torchvision.datasets.
        number: Training images; there are half as many test images.
    """
    archives = {}
    for split, size in (("train", number), ("t10k", number // 2)):
        images = np.broadcast_to(np.arange(size, dtype=np.uint8)[:, None, None], (size, 28, 28))
        labels = (np.arange(size) % 10).astype(np.uint8)
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            content = idx_header(array) + array.tobytes()
            archives[f"{split}-{kind}-ubyte.gz"] = gzip.compress(content)
    raw_dir = folder / dataset / "raw"
    raw_dir.mkdir(parents=True)
    for name, archive in archives.items():
        (raw_dir / name).write_bytes(archive)
    return archives


def enter(monkeypatch: pytest.MonkeyPatch, dataset: str, archives: dict[str, bytes]) -> None:
    """Let torchvision's table hold these archives' MD5s, and its mirror be out of reach."""
    kind: Any = getattr(torchvision.datasets, dataset)
    md5s = [(name, hashlib.md5(archive).hexdigest()) for name, archive in archives.items()]
    monkeypatch.setattr(kind, "resources", md5s)
    monkeypatch.setattr(kind, "mirrors", ["http://127.0.0.1:9/"])
