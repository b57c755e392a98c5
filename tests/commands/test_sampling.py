"""The command `sample`: given codes are kept, the rest is drawn by the seed, nothing is lost."""

import csv
import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image
from torch import Tensor

from infogan.callbacks.generation import images_of
from infogan.commands.sample import code_values, draw_latents, sample
from infogan.errors import ConfigurationError
from infogan.latents import BernoulliCode, CategoricalCode, LatentSpec, NormalCode, UniformCode
from infogan.modules import GANModule, VanillaGANModule
from infogan.modules.loading import load_gan
from tests.conftest import Outcome
from tests.support.small_gan import gan
from tests.support.stripes import save_checkpoint

Build = Callable[..., GANModule]
Save = Callable[[pl.LightningModule], Path]

LATENTS = LatentSpec(
    3, (CategoricalCode(4), UniformCode(), NormalCode(mean=5), BernoulliCode(), CategoricalCode(3))
)


@pytest.fixture
def save(trainer: Callable[..., pl.Trainer], tmp_path: Path) -> Save:
    """Return a function that writes a module's checkpoint."""
    return lambda module: save_checkpoint(module, trainer(), tmp_path / "saved.ckpt")


def split(latent: Tensor) -> tuple[Tensor, ...]:
    return latent[:, :3], *LATENTS.split_codes(latent)


# Latents


def test_given_codes_are_set_and_the_rest_is_as_without() -> None:
    free = split(draw_latents(LATENTS, 6, {}, seed=1))
    fixed = split(draw_latents(LATENTS, 6, {0: 2, "uniform1": -0.25, 3: 1}, seed=1))
    assert torch.equal(fixed[1], torch.eye(4)[2].expand(6, 4))
    assert (fixed[2] == -0.25).all() and (fixed[4] == 1).all()
    for kept in (0, 3, 5):
        assert torch.equal(fixed[kept], free[kept])
    assert len(free[0].unique(dim=0)) == 6


def test_the_seed_decides_and_the_global_stream_is_left_alone() -> None:
    state = torch.get_rng_state()
    first, again, other = (draw_latents(LATENTS, 4, {}, seed) for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ({"0": 3}, {0: [0, 0, 0, 1]}),
        ({"categorical4": 0.0}, {4: [1, 0, 0]}),
        ({0: [0.5, 0, 0, 0.5]}, {0: [0.5, 0, 0, 0.5]}),
        ({1: [0.5], "normal2": 7}, {1: [0.5], 2: [7]}),
    ],
)
def test_values_by_position_name_and_list(
    codes: dict[int | str, Any], expected: dict[int, list[float]]
) -> None:
    values = {position: value.tolist() for position, value in code_values(LATENTS, codes).items()}
    assert values == expected


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        ({5: 0}, "codes names 5, which the model has not; it has 0 or categorical0, 1 or uni"),
        ({"digit": 0}, "codes names digit, which"),
        ({-1: 0}, "codes names -1, which"),
        ({0: 4}, "categorical0=4 must be a whole number from 0 to 3"),
        ({0: -1}, "categorical0=-1 must be"),
        ({0: 1.5}, "categorical0=1.5 must be"),
        ({3: 2}, "bernoulli3=2 must be a whole number from 0 to 1"),
        ({0: [1, 0]}, r"categorical0=\[1, 0\] has 2 numbers; the code has 4"),
        ({1: [0, 0]}, "uniform1.* has 2 numbers; the code has 1"),
        ({1: float("nan")}, "uniform1=nan is not finite"),
        ({2: [float("inf")]}, "normal2=.inf. is not finite"),
        ({0: 1, "categorical0": 1}, "two values to categorical0"),
    ],
)
def test_wrong_codes(codes: dict[int | str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        code_values(LATENTS, codes)


def test_a_value_outside_of_the_prior_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        assert code_values(LATENTS, {1: 2.0, 2: 100.0})[1].tolist() == [2.0]
    (line,) = [record.getMessage() for record in caplog.records]
    assert "uniform1=2.0 lies outside of its prior" in line


# Files


def test_pngs_are_the_generators_images(build: Build, save: Save, tmp_path: Path) -> None:
    module = build()
    sample(save(module), tmp_path / "out", {0: 2, 1: 0.5}, num_samples=11, seed=3)
    files = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert files == [*(f"{i:02d}.png" for i in range(11)), "codes.csv"]
    images = images_of(module.eval(), draw_latents(module.latents, 11, {0: 2, 1: 0.5}, seed=3))
    for number, image in enumerate(images):
        with Image.open(tmp_path / "out" / f"{number:02d}.png") as picture:
            assert picture.mode == "L"
            expected = (image[0] * 255).round().to(torch.uint8)
            assert np.array_equal(np.asarray(picture), expected)
    with (tmp_path / "out" / "codes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[10] == {"image": "10.png", "categorical0": "2", "uniform1": "0.5"}
    assert len(rows) == 11


def test_the_table_lists_what_was_drawn(build: Build, save: Save, tmp_path: Path) -> None:
    module = build(codes=list(LATENTS.codes))
    sample(save(module), tmp_path / "out", {0: [0.5, 0, 0, 0.5]}, num_samples=3)
    latent = draw_latents(module.latents, 3, {}, seed=0)
    with (tmp_path / "out" / "codes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    _, uniform, _, bernoulli, last = module.latents.split_codes(latent)
    for row, value, bit, category in zip(rows, uniform, bernoulli, last, strict=True):
        assert float(row["uniform1"]) == pytest.approx(value.item(), rel=1e-5)
        assert (row["bernoulli3"], row["categorical4"]) == (
            str(int(bit.item())),
            str(int(category.argmax())),
        )
        assert row["categorical0"] == "0.5 0 0 0.5"


def test_colour_pictures_and_arrays(build: Build, save: Save, tmp_path: Path) -> None:
    module = build(image_channels=3)
    checkpoint = save(module)
    sample(checkpoint, tmp_path / "out", num_samples=2)
    sample(checkpoint, tmp_path / "new" / "out.npz", {0: 1}, num_samples=2)
    latent = draw_latents(module.latents, 2, {0: 1}, seed=0)
    with np.load(tmp_path / "new" / "out.npz") as arrays:
        assert set(arrays) == {"images", "noise", "categorical0", "uniform1"}
        assert np.array_equal(arrays["images"], images_of(module.eval(), latent).numpy())
        assert arrays["images"].dtype == np.float32
        assert np.array_equal(arrays["noise"], latent[:, :3].numpy())
        assert arrays["categorical0"].argmax(axis=1).tolist() == [1, 1]
    with Image.open(tmp_path / "out" / "0.png") as picture:
        assert picture.mode == "RGB" and picture.size == (8, 8)


def test_channels_that_no_png_has(build: Build, save: Save, tmp_path: Path) -> None:
    checkpoint = save(build(image_channels=2))
    with pytest.raises(ConfigurationError, match="cannot have the images' 2 channels.*npz"):
        sample(checkpoint, tmp_path / "out")
    sample(checkpoint, tmp_path / "out.npz")


@pytest.mark.parametrize("name", ["out", "out.npz", "file"])
def test_nothing_is_written_over(build: Build, save: Save, tmp_path: Path, name: str) -> None:
    checkpoint = save(build())
    (tmp_path / "file").write_text("mine")
    if name != "file":
        sample(checkpoint, tmp_path / name, num_samples=1)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    with pytest.raises(ConfigurationError, match=f"output=.*{name} exists already") as caught:
        sample(checkpoint, tmp_path / name, num_samples=2)
    assert "\n" not in str(caught.value)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_a_failure_leaves_nothing(
    build: Build, save: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = save(build())
    (tmp_path / "out").mkdir()

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(OSError, match="No space"):
        sample(checkpoint, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "saved.ckpt"]
    monkeypatch.undo()
    sample(checkpoint, tmp_path / "out", num_samples=1)
    assert (tmp_path / "out" / "0.png").is_file()


# Models


def test_a_gan_without_codes_samples_noise_alone(save: Save, tmp_path: Path) -> None:
    checkpoint = save(gan())
    sample(checkpoint, tmp_path / "out", num_samples=1)
    assert (tmp_path / "out" / "codes.csv").read_text().split() == ["image", "0.png"]
    with pytest.raises(ConfigurationError, match="codes names 0, but the model has no codes"):
        sample(checkpoint, tmp_path / "other", {0: 3})


def test_a_checkpoint_opens_as_what_it_is(build: Build, save: Save, tmp_path: Path) -> None:
    assert isinstance(load_gan(save(gan(noise_distribution="normal"))), VanillaGANModule)
    module = load_gan(save(build()))
    assert not module.training
    assert torch.equal(
        module.state_dict()["generator.dense.0.weight"],
        build().state_dict()["generator.dense.0.weight"],
    )
    for path, words in ((tmp_path / "missing.ckpt", "is not a file"), (Path(__file__), "another")):
        with pytest.raises(ConfigurationError, match=f"ckpt_path={path}.*{words}"):
            load_gan(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"num_samples": 0}, "num_samples=0"), ({"seed": -1}, "seed=-1"), ({"seed": 2**32}, "seed=")],
)
def test_wrong_numbers(
    build: Build, save: Save, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        sample(save(build()), tmp_path / "out", **options)


def test_the_command_line_from_another_directory(
    command: Callable[..., Outcome],
    trained: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    checkpoint = str(trained().absolute() / "checkpoints/last.ckpt")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    named = command("sample", "--ckpt_path", checkpoint, "--codes", "{0: 3, uniform1: -0.5}")
    assert named.code == 0 and "samples: 16 PNGs and codes.csv" in named.out
    with Path("samples/codes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {(row["categorical0"], row["uniform1"]) for row in rows} == {("3", "-0.5")}
    one_by_one = ("--codes.0=3", "--codes.uniform1=-0.5", "--output=again")
    assert command("sample", "--ckpt_path", checkpoint, *one_by_one).code == 0
    for path in Path("samples").iterdir():
        assert path.read_bytes() == (Path("again") / path.name).read_bytes()
    options = json.dumps({"ckpt_path": checkpoint, "output": "x.npz", "codes": {"0": 1}})
    Path("options.json").write_text(options)
    assert command("sample", "--config=options.json").code == 0
    assert Path("x.npz").is_file()
    for arguments, words in (
        (["--output=new", "--codes={0: 10}"], "categorical0=10"),
        (["--output=new", "--codes={0: three}"], "three"),
        (["--output=new", "--codes=3"], "codes"),
        ([], "output=samples exists already"),
    ):
        outcome = command("sample", "--ckpt_path", checkpoint, *arguments)
        assert outcome.code == 2 and "Traceback" not in outcome.err
        assert len(outcome.errors) == 1 and words in outcome.errors[0]
    assert not Path("new").exists()


def test_a_class_of_the_users_own_is_found_in_the_working_directory(
    command: Callable[..., Outcome], save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The class is imported by the path in the checkpoint, as `test` does by the config's."""
    Path("own_gan.py").write_text(
        "from infogan.latents import CategoricalCode\n"
        "from infogan.modules import InfoGANModule\n\n\n"
        "class OwnGAN(InfoGANModule):\n"
        "    def __init__(self, own_weight: float = 1.0, **kwargs):\n"
        "        super().__init__([CategoricalCode(4)], noise_dim=3, image_size=8)\n"
    )
    monkeypatch.setattr(sys, "path", [*sys.path, str(Path.cwd())])
    module = importlib.import_module("own_gan").OwnGAN()
    save(module).rename("own.ckpt")
    saved = torch.load("own.ckpt", weights_only=True)
    # As the command line saves it.
    arguments = {
        "own_weight": 2.0,
        "_class_path": "own_gan.OwnGAN",
        "_instantiator": "pytorch_lightning.cli.instantiate_module",
    }
    torch.save({**saved, "hyper_parameters": arguments}, "own.ckpt")
    for verb, options in (("sample", ()), ("export", ("--formats=[safetensors]",))):
        # As in a process of its own, that has not imported the class.
        sys.modules.pop("own_gan")
        done = command(verb, "--ckpt_path=own.ckpt", f"--output={verb}", *options)
        assert done.code == 0, done.err
    sys.modules.pop("own_gan")
    Path("own_gan.py").rename("elsewhere.py")
    importlib.invalidate_caches()
    lost = command("sample", "--ckpt_path=own.ckpt", "--output=lost")
    assert (
        lost.code == 2 and "own_gan.OwnGAN" in lost.err and "run this where own_gan.py" in lost.err
    )
