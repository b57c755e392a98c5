"""IDX files: round trips, torchvision as the judge, damaged files, writes that fail."""

import errno
import gzip
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.datasets.mnist import read_image_file

from datamodules import DataError, read_idx, write_idx
from datamodules.idx import read_idx_shape


@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "i4", "f4", "f8", ">f4"])
def test_what_is_written_is_read(tmp_path: Path, dtype: str) -> None:
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    write_idx(tmp_path / "a", array)
    (tmp_path / "a.gz").write_bytes(gzip.compress((tmp_path / "a").read_bytes()))
    for name in ("a", "a.gz"):
        read = read_idx(tmp_path / name)
        np.testing.assert_array_equal(read, array)
        assert read.dtype == np.dtype(dtype).newbyteorder("=")
        assert read.flags.writeable
        assert read_idx_shape(tmp_path / name) == (2, 3, 4)


def test_torchvision_reads_it(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(256, size=(5, 28, 28)).astype(np.uint8)
    write_idx(tmp_path / "deep" / "images", images.transpose(0, 2, 1))
    read = read_image_file(str(tmp_path / "deep" / "images"))
    assert torch.equal(read, torch.from_numpy(images).mT)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no IDX file: it starts with nothing"),
        (b"<html>", "is no IDX file: it starts with 3c 68 74 6d"),
        (b"\0\0\x08\x02\0\0\0\x02", "cut short in its header"),
        (b"\0\0\x08\x01\0\0\0\x03ab", r"2 bytes of values where its header, shape \(3,\)"),
        (b"\0\0\x08\x01\0\0\0\x03abcd", "announces 3"),
        (gzip.compress(bytes(1000))[:-9], "cannot read|no IDX file"),
    ],
    ids=["empty", "html", "header", "short", "long", "archive"],
)
@pytest.mark.parametrize("compress", [False, True])
def test_a_damaged_file_is_named(
    tmp_path: Path, content: bytes, message: str, compress: bool
) -> None:
    path = tmp_path / ("damaged.gz" if compress else "damaged")
    path.write_bytes(gzip.compress(content) if compress else content)
    with pytest.raises(DataError, match=message) as caught:
        read_idx(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_archive_cut_short_is_named(tmp_path: Path) -> None:
    write_idx(tmp_path / "a", np.zeros((100, 28, 28), np.uint8))
    archive = tmp_path / "a.gz"
    archive.write_bytes(gzip.compress((tmp_path / "a").read_bytes())[:-20])
    with pytest.raises(DataError, match=f"cannot read {archive}"):
        read_idx(archive)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for read in (read_idx, read_idx_shape):
        with pytest.raises(DataError, match=f"{tmp_path / 'a'} does not exist"):
            read(tmp_path / "a")


def test_a_type_without_a_code_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="dtype int64 of the array .* uint8, int8"):
        write_idx(tmp_path / "a", np.arange(3))
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "a"
    write_idx(path, np.arange(3, dtype=np.uint8))
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match=f"cannot write {path}: No space left on device"):
        write_idx(path, np.arange(30, dtype=np.uint8))
    assert read_idx(path).tolist() == [0, 1, 2]
    assert list(tmp_path.iterdir()) == [path]
