"""FashionMNIST and KMNIST: read from checked archives, fetched when they are missing."""

import gzip
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision.datasets

from datamodules import DataError, Factor, FashionMNISTDataModule, KMNISTDataModule
from datamodules.archives import archive_md5s, prepare_archives
from datamodules.mnist_like import ArchivedMNISTDataModule
from tests.conftest import TINY, Outcome
from tests.support.archives import enter, write_archives

KINDS = {"FashionMNIST": FashionMNISTDataModule, "KMNIST": KMNISTDataModule}
LABELS = "t10k-labels-idx1-ubyte"


@pytest.fixture(params=KINDS)
def made(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[str, dict[str, bytes]]:
    """Write a data set's archives into the temporary folder; return its name and them."""
    archives = write_archives(tmp_path, request.param)
    enter(monkeypatch, request.param, archives)
    return request.param, archives


def set_up(name: str, folder: Path, **options: Any) -> ArchivedMNISTDataModule:
    datamodule = KINDS[name](str(folder), batch_size=20, **options)
    datamodule.prepare_data()
    datamodule.setup("fit")
    datamodule.setup("test")
    return datamodule


def test_images_and_labels_are_delivered(made: tuple[str, Any], tmp_path: Path) -> None:
    datamodule = set_up(made[0], tmp_path, labelled=True, val_size=0)
    assert datamodule.image_shape == (1, 28, 28)
    (factor,) = datamodule.factors
    assert (factor.num_values, factor.low, factor.high) == (10, 0, 9)
    images, labels = map(torch.cat, zip(*datamodule.train_dataloader(), strict=True))
    assert sorted(images[:, 0, 0, 0].tolist()) == list(range(60))
    assert torch.equal(images[:, 0, 0, 0].float() % 10, labels.flatten())
    (images, labels), *_ = datamodule.test_dataloader()
    assert images[:, 0, 0, 0].tolist() == list(range(30))
    assert datamodule.fingerprint().startswith(f"{made[0].lower()}-")


def test_the_md5s_are_torchvisions() -> None:
    # Of the published archives, as the authors' own pages list them.
    fashion, kmnist = archive_md5s("FashionMNIST"), archive_md5s("KMNIST")
    assert fashion["train-images-idx3-ubyte"] == "8d4fb7e6c68d591d4c3dfef9ec88bf0d"
    assert kmnist["train-images-idx3-ubyte"] == "bdb82020997e1d708af4cf47b453dcf7"
    assert len(fashion) == len(kmnist) == 4
    assert FashionMNISTDataModule().fingerprint() != KMNISTDataModule().fingerprint()


def test_the_names_of_the_factors() -> None:
    (article,), (character,) = FashionMNISTDataModule().factors, KMNISTDataModule().factors
    assert (article.name, article.num_values) == ("article", 10)
    assert article.value_names[9] == "ankle boot"
    assert (character.name, character.num_values) == ("character", 10)
    assert character.value_names[:3] == ("o", "ki", "su")
    assert KMNISTDataModule("~/x").raw_dir == Path.home() / "x" / "KMNIST" / "raw"


def test_without_a_copy_and_a_network_one_line_says_where_to_put_it(
    made: tuple[str, Any], tmp_path: Path
) -> None:
    archive = tmp_path / made[0] / "raw" / f"{LABELS}.gz"
    archive.unlink()
    with pytest.raises(DataError) as caught:
        set_up(made[0], tmp_path)
    message = str(caught.value)
    assert message.startswith(f"{made[0]} cannot be fetched (mirrors: ")
    assert message.endswith(f"put {LABELS}.gz into {archive.parent}")
    assert "\n" not in message


def test_what_is_damaged_is_not_read(made: tuple[str, Any], tmp_path: Path) -> None:
    archive = tmp_path / made[0] / "raw" / f"{LABELS}.gz"
    # A plain file beside it proves nothing: torchvision knows the archives alone.
    archive.with_suffix("").write_bytes(gzip.decompress(archive.read_bytes()))
    archive.write_bytes(gzip.compress(b"other content"))
    with pytest.raises(DataError, match=f"{archive} is damaged: MD5 .* Set download to true"):
        set_up(made[0], tmp_path, download=False)


def test_other_data_in_the_format_is_read_unchecked(
    made: tuple[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter(monkeypatch, made[0], dict.fromkeys(made[1], b"other content"))
    datamodule = set_up(made[0], tmp_path, verify=False)
    assert datamodule.factors == (Factor("label", 10, 0, 9),)
    with pytest.raises(DataError, match="is damaged"):
        set_up(made[0], tmp_path, download=False)


def test_before_prepare_data_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="t10k-images-idx3-ubyte.gz does not exist; call prepare"):
        KMNISTDataModule(str(tmp_path)).setup("test")


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def mirror(made: tuple[str, Any], tmp_path: Path) -> Iterator[str]:
    """Serve the archives; yield the address."""
    handler = partial(QuietHandler, directory=str(tmp_path / made[0] / "raw"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def test_missing_and_damaged_archives_are_fetched(
    made: tuple[str, dict[str, bytes]],
    mirror: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name, archives = made
    monkeypatch.setattr(getattr(torchvision.datasets, name), "mirrors", [mirror])
    raw_dir = tmp_path / "copy" / name / "raw"
    raw_dir.mkdir(parents=True)
    (raw_dir / f"{LABELS}.gz").write_bytes(b"damaged")
    assert set_up(name, tmp_path / "copy").train_source is not None
    assert {path.name: path.read_bytes() for path in raw_dir.iterdir()} == archives
    served = tmp_path / name / "raw" / f"{LABELS}.gz"
    served.write_bytes(gzip.compress(b"something else"))
    (raw_dir / served.name).unlink()
    with pytest.raises(DataError, match=f"{LABELS}.gz came with MD5 .* instead of"):
        prepare_archives(name, raw_dir, may_download=True)
    assert not (raw_dir / served.name).exists()


def test_offline_the_command_line_says_one_line(
    command: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torchvision.datasets.KMNIST, "mirrors", ["http://127.0.0.1:9/"])
    outcome = command(
        *("fit", "--config", "infogan_kmnist.yaml", *TINY), "--data.init_args.data_dir=nothing"
    )
    assert outcome.code == 2 and "Traceback" not in outcome.err
    (line,) = outcome.errors
    assert "KMNIST cannot be fetched" in line and "nothing/KMNIST/raw" in line
