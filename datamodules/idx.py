"""Read and write IDX files, the format in which MNIST is published.

Two zero bytes, a type code, the number of dimensions, each dimension as a big-endian uint32,
then the values in C order, big-endian.
"""

import gzip
import io
import math
import os
import struct
import uuid
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from datamodules.errors import DataError

_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_CODES = {np.dtype(name).newbyteorder("="): code for code, name in _DTYPES.items()}


def read_idx(path: Path) -> np.ndarray:
    """Return the array in an IDX file, which may be gzipped (`.gz`).

    Raises:
        DataError: If the file is missing, no IDX file, or shorter or longer than its header says.
    """
    try:
        with open_uncompressed(path) as file:
            dtype, shape = _read_header(file, path)
            if isinstance(file, gzip.GzipFile):
                values = np.frombuffer(bytearray(file.read()), np.uint8)
            else:
                values = np.fromfile(file, np.uint8)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(_unreadable(path, error)) from error
    expected = math.prod(shape) * dtype.itemsize
    if values.size != expected:
        raise DataError(
            f"{path} is damaged: {values.size} bytes of values where its header, shape {shape},"
            f" announces {expected}; delete it and make or fetch it again"
        )
    return values.view(dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def read_idx_shape(path: Path) -> tuple[int, ...]:
    """Return the shape that an IDX file's header announces, without reading the values.

    Raises:
        DataError: If the file is missing or no IDX file.
    """
    try:
        with open_uncompressed(path) as file:
            return _read_header(file, path)[1]
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(_unreadable(path, error)) from error


def write_idx(path: Path, array: np.ndarray) -> None:
    """Write an array as an IDX file; readers see the whole of it or what was there before.

    Raises:
        DataError: If the array's type has no IDX code or the file cannot be written.
    """
    values = np.ascontiguousarray(array, array.dtype.newbyteorder(">"))
    write_atomically(path, [idx_header(array), values.reshape(-1).view(np.uint8).data])


def idx_header(array: np.ndarray) -> bytes:
    """Return the bytes that precede an array's values in an IDX file.

    Raises:
        DataError: If the array's type has no IDX code.
    """
    code = _CODES.get(array.dtype.newbyteorder("="))
    if code is None:
        known = ", ".join(str(dtype) for dtype in _CODES)
        raise DataError(f"dtype {array.dtype} of the array has no IDX code; convert it to {known}")
    return struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape)


@contextmanager
def open_uncompressed(path: Path) -> Iterator[io.BufferedReader | gzip.GzipFile]:
    """Open a file for reading its bytes, through gzip if its name ends in `.gz`."""
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        yield file


def write_atomically(path: Path, parts: list[bytes | memoryview]) -> None:
    """Replace a file by the given bytes in one step that no crash can cut in two.

    Raises:
        DataError: If the folder or file cannot be written.
    """
    # Beside the target, because a rename is atomic only within a file system; of its own name,
    # because several processes may prepare one folder.
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with unfinished.open("xb") as file:
                file.writelines(parts)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(
            f"cannot write {path}: {reason}; free space or choose another folder"
        ) from error


def _read_header(
    file: io.BufferedReader | gzip.GzipFile, path: Path
) -> tuple[np.dtype, tuple[int, ...]]:
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _DTYPES or magic[3] == 0:
        raise DataError(
            f"{path} is no IDX file: it starts with {magic.hex(' ') or 'nothing'} instead of"
            " 00 00, a type code and the number of dimensions; delete it and make or fetch it again"
        )
    num_dims = magic[3]
    sizes = file.read(4 * num_dims)
    if len(sizes) < 4 * num_dims:
        raise DataError(f"{path} is cut short in its header; delete it and make or fetch it again")
    return np.dtype(_DTYPES[magic[2]]), struct.unpack(f">{num_dims}I", sizes)


def _unreadable(path: Path, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return f"{path} does not exist; check the folder's name, or make or fetch the file first"
    return f"cannot read {path}: {error}; delete it and make or fetch it again"
