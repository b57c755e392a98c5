"""The verb `explore`: its held-out images, its defaults, what it refuses."""

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor

from datamodules import MNISTDataModule
from infogan.commands.explore.held_out import load_held_out
from infogan.commands.explore.studio import Studio
from infogan.errors import ConfigurationError
from infogan.latents import BernoulliCode, CategoricalCode, LatentCode, NormalCode, UniformCode
from infogan.modules import GANModule, InfoGANModule, VanillaGANModule
from infogan.modules.loading import load_gan
from tests.conftest import Outcome
from tests.support.stripes import brightness, save_checkpoint, stripe_data

Build = Callable[..., Any]
CODES: list[LatentCode] = [CategoricalCode(4), UniformCode(), NormalCode(), BernoulliCode()]


# ---- held-out images ---------------------------------------------------------------------------


class StripeReader(InfoGANModule):
    """Reads the class of a stripe exactly, with its categories in reverse."""

    def recognize(self, images: Tensor) -> tuple[Tensor, ...]:
        return (brightness(images).flip(1),)


def test_held_out_images_name_the_categories(build: Build, tmp_path: Path) -> None:
    module = build(StripeReader, codes=[CategoricalCode(4)])
    held_out = load_held_out(stripe_data(tmp_path, val_size=60), module, num_images=30)
    assert held_out.images.shape == (30, 1, 8, 8) and held_out.images.max() <= 1
    assert held_out.meanings == {0: ["3", "2", "1", "0"]}
    read = brightness(held_out.images).argmax(dim=1)
    assert held_out.captions == [f"label {int(k)}" for k in read]
    studio = Studio(module, held_out.meanings)
    assert studio.choices(0) == ["0 (3)", "1 (2)", "2 (1)", "3 (0)"]


def test_a_vanilla_gan_names_no_categories(build: Build, tmp_path: Path) -> None:
    module = build(VanillaGANModule)
    assert load_held_out(stripe_data(tmp_path), module).meanings == {}


class Unlabelled(pl.LightningDataModule):
    """Delivers images alone, or nothing."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def test_dataloader(self) -> list[Tensor]:
        return [torch.rand(5, 1, 8, 8) for _ in range(self.number)]


def test_images_without_factors_are_shown_without_names(build: Build) -> None:
    held_out = load_held_out(Unlabelled(3), build())
    assert len(held_out.images) == 15
    assert (held_out.captions, held_out.meanings) == ([], {})


def test_data_that_cannot_be_had_is_one_line_with_a_way_out(build: Build, tmp_path: Path) -> None:
    way_out = "or none with --data null"
    with pytest.raises(ConfigurationError, match=rf"Unlabelled: there are no held-out .*{way_out}"):
        load_held_out(Unlabelled(0), build())
    with pytest.raises(ConfigurationError, match=rf"shape \(1, 8, 8\) and the model's.*{way_out}"):
        load_held_out(stripe_data(tmp_path), build(image_size=12))
    missing = MNISTDataModule(str(tmp_path / "none"), download=False)
    with pytest.raises(ConfigurationError, match=rf"MNISTDataModule: .*{way_out}"):
        load_held_out(missing, build())


# ---- the command -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "codes"),
    [(InfoGANModule, CODES), (VanillaGANModule, []), (VanillaGANModule, CODES[:1])],
)
def test_a_checkpoint_from_python_opens_as_what_it_is(
    build: Build, trainer: Build, tmp_path: Path, kind: type[GANModule], codes: list[LatentCode]
) -> None:
    module = build(kind, codes=codes, image_channels=3)
    path = save_checkpoint(module, trainer(), tmp_path / "saved.ckpt")
    opened = load_gan(path)
    assert type(opened) is kind and not opened.training
    latent = module.latents.sample(2)
    torch.testing.assert_close(opened.generate(latent), module.eval().generate(latent))


@pytest.mark.parametrize("content", [None, b"", b"not a checkpoint", "tensor", "dict"])
def test_a_bad_checkpoint_is_one_line_and_code_2(
    command: Callable[..., Outcome], content: bytes | str | None
) -> None:
    path = Path("other.ckpt")
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        saved: Any = torch.zeros(3) if content == "tensor" else {"state_dict": {}}
        torch.save(saved, path)
    outcome = command("explore", "--ckpt_path", str(path), "--port", "0")
    assert outcome.code == 2
    assert len(outcome.errors) == 1 and "other.ckpt" in outcome.errors[0]


@pytest.fixture
def saved(build: Build, trainer: Build, tmp_path: Path) -> str:
    """Return the path of a checkpoint."""
    return str(save_checkpoint(build(), trainer(), tmp_path / "saved.ckpt"))


def test_a_port_in_use_is_one_line_and_code_2(command: Callable[..., Outcome], saved: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        outcome = command("explore", "--ckpt_path", saved, "--port", port)
    assert outcome.code == 2
    (line,) = outcome.errors
    assert (
        f"port={port} cannot be served on (Address already in use); give another --host or" in line
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--port", "70000"), "port=70000 is no port"),
        (("--host", "no.such.host.invalid"), "host=no.such.host.invalid"),
        (("--data", "NoSuchData"), "NoSuchData"),
    ],
)
def test_wrong_options_are_one_line_and_code_2(
    command: Callable[..., Outcome], saved: str, options: tuple[str, str], message: str
) -> None:
    outcome = command("explore", "--ckpt_path", saved, *options)
    assert outcome.code == 2
    assert len(outcome.errors) == 1 and message in outcome.errors[0]


def test_without_gradio_the_way_out_is_named(
    command: Callable[..., Outcome], saved: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    outcome = command("explore", "--ckpt_path", saved)
    assert outcome.code == 2
    assert "which is not installed: pip install -e '.[explore]'" in outcome.errors[0]


def test_the_data_of_the_run_is_the_default(command: Callable[..., Outcome], saved: str) -> None:
    folder = Path("run/checkpoints")
    folder.mkdir(parents=True)
    moved = str(Path(saved).rename(folder / "last.ckpt"))
    config = Path("run/config.yaml")
    config.write_text("data: {class_path: MNISTDataModule, init_args: {eval_batch_size: 77}}\n")
    printed = command("explore", "--ckpt_path", moved, "--print_config").out
    assert "eval_batch_size: 77" in printed
    given = command("explore", "--ckpt_path", moved, "--data", "null", "--print_config").out
    assert "data: null" in given
    config.write_text("model: {}\n")
    outcome = command("explore", "--ckpt_path", moved)
    assert outcome.code == 2 and "config.yaml beside the checkpoint names no data" in outcome.err
