"""The command `export`: what other tools compute from the files is what torch computes."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import pytorch_lightning as pl
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from infogan.commands.export import export
from infogan.commands.export.onnx_files import largest_difference, write
from infogan.errors import ConfigurationError
from infogan.latents import BernoulliCode, CategoricalCode, NormalCode, UniformCode
from infogan.modules import GANModule, InfoGANModule
from infogan.networks import ReferenceNetworks
from tests.conftest import Outcome
from tests.support.small_gan import gan
from tests.support.stripes import save_checkpoint

Build = Callable[..., GANModule]
Save = Callable[[pl.LightningModule], Path]

CODES = [CategoricalCode(4), UniformCode(low=-2, high=3), NormalCode(learn_std=True)]


@pytest.fixture
def save(trainer: Callable[..., pl.Trainer], tmp_path: Path) -> Save:
    """Return a function that writes a module's checkpoint."""
    return lambda module: save_checkpoint(module, trainer(), tmp_path / "saved.ckpt")


def trained(module: GANModule) -> GANModule:
    """Give the batch norms statistics other than 0 and 1."""
    for _ in range(3):
        images = module.generator(module.latents.sample(16))
        (features,) = module.discriminator.trunk(images + 0.1 * torch.rand_like(images))
        if isinstance(module, InfoGANModule):
            module.recognition_head(features)
    return module.eval()


def run(path: Path, inputs: Tensor) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (name,) = [node.name for node in session.get_inputs()]
    return session.run(None, {name: inputs.numpy()})


@torch.no_grad()
def test_all_files_give_what_torch_gives(
    build: Build, save: Save, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options: dict[str, Any] = {"codes": CODES, "image_channels": 3}
    options["networks"] = ReferenceNetworks(spectral_normalization=True)
    module = trained(build(**options))
    assert isinstance(module, InfoGANModule)
    folder = tmp_path / "out"
    export(save(module), folder)
    names = ["generator.onnx", "model.json", "model.safetensors", "recognition.onnx"]
    assert sorted(path.name for path in folder.iterdir()) == names
    # ONNX, by the description alone, for numbers of images that it was not checked with.
    description = json.loads((folder / "model.json").read_text())
    assert description["images"]["shape"] == [3, 8, 8]
    assert description["images"]["pixel_range"] == [0, 1]
    for size in (1, 5, 40):
        latent = module.latents.sample(size)
        assert latent.shape[1] == description["latent"]["dim"]
        images = module.generate(latent)
        (mine,) = run(folder / description["generator"]["onnx"], latent)
        assert np.abs(mine - images.numpy()).max() <= 1e-5
        outputs = run(folder / description["recognition"]["onnx"], images)
        for theirs, parameters in zip(outputs, module.recognize(images), strict=True):
            assert np.abs(theirs - parameters.numpy()).max() <= 1e-5
    assert 0 <= description["generator"]["onnx_largest_difference"] <= 1e-5
    session = onnxruntime.InferenceSession(folder / "recognition.onnx")
    outputs_named = [node.name for node in session.get_outputs()]
    assert outputs_named == description["recognition"]["outputs"]
    for name in ("generator", "recognition"):
        onnx.checker.check_model(folder / f"{name}.onnx", full_check=True)
    # safetensors, into a module with other weights.
    other = build(**options)
    nn.init.ones_(next(other.parameters()))
    other.load_state_dict(load_file(folder / description["safetensors"]))
    assert torch.equal(other.eval().generate(latent), module.generate(latent))
    with safe_open(folder / "model.safetensors", "pt") as file:
        assert file.metadata() == {"class": description["class"]}
    printed = capsys.readouterr().out
    assert "generator.onnx, within" in printed and "recognition.onnx, within" in printed
    assert f"export      {folder}" in printed


def test_the_description_names_columns_ranges_and_meanings(
    build: Build, save: Save, tmp_path: Path
) -> None:
    module = build(codes=[*CODES, BernoulliCode()], noise_distribution="normal")
    export(save(module), tmp_path / "out", ("safetensors",))
    description = json.loads((tmp_path / "out" / "model.json").read_text())
    latent = description["latent"]
    assert latent["noise"] == {
        "columns": [0, 3],
        "distribution": "normal",
        "mean": 0.0,
        "std": 1.0,
    }
    codes = latent["codes"]
    assert [code["name"] for code in codes] == [
        "categorical0",
        "uniform1",
        "normal2",
        "bernoulli3",
    ]
    assert [code["columns"] for code in codes] == [[3, 7], [7, 8], [8, 9], [9, 10]]
    heads = [code["posterior"]["columns_of_head"] for code in codes]
    assert heads == [[0, 4], [4, 5], [5, 7], [7, 8]]
    assert codes[0]["values"]["2"] == [0, 0, 1, 0] and "range" not in codes[0]
    assert codes[1]["range"] == [-2, 3] and codes[1]["settings"]["low"] == -2
    assert codes[2]["range"] == [-2, 2]
    assert codes[3]["values"] == {"0": [0], "1": [1]}
    meanings = [code["posterior"]["meaning"] for code in codes]
    assert meanings == [
        "a logit a category",
        "mean; the std is 1.0",
        "mean and log std, the std to be clamped to [0.05, 2.0]",
        "the logit of a 1",
    ]
    assert description["class"] == "infogan.modules.infogan.InfoGANModule"
    assert description["checkpoint"] == "saved.ckpt" and description["step"] == 0
    assert str(tmp_path) not in json.dumps(description)


def test_a_gan_without_q_has_a_generator_alone(save: Save, tmp_path: Path) -> None:
    module = trained(gan(networks=ReferenceNetworks(generator_output="binary")))
    with torch.no_grad():
        # Untrained, it is nowhere sure, and a pixel of 0.5 could be rounded either way.
        module.get_parameter("generator.upsample.3.weight").mul_(100)
    export(save(module), tmp_path / "out", ("onnx",))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "generator.onnx",
        "model.json",
    ]
    description = json.loads((tmp_path / "out" / "model.json").read_text())
    assert description["recognition"] is None and description["latent"]["codes"] == []
    latent = module.latents.sample(3)
    (images,) = run(tmp_path / "out" / "generator.onnx", latent)
    assert np.array_equal(images, module.generate(latent).detach().numpy())
    assert set(np.unique(images)) == {0.0, 1.0}


# What is refused


class Doubling(nn.Module):
    def forward(self, latent: Tensor) -> Tensor:
        return 2 * latent


class Branching(nn.Module):
    def forward(self, latent: Tensor) -> Tensor:
        return latent if latent.sum().item() > 0 else -latent


def test_a_file_that_computes_something_else_is_refused(tmp_path: Path) -> None:
    path, inputs = tmp_path / "g.onnx", torch.rand(2, 3)
    write(Doubling(), path, "latent", inputs, ["images"])
    assert largest_difference(Doubling(), path, [inputs, torch.rand(5, 3)]) == 0
    for inputs in (torch.rand(2, 3), torch.full((2, 3), float("nan"))):
        with pytest.raises(ConfigurationError, match="g.onnx differs from torch by") as caught:
            largest_difference(nn.Identity(), path, [inputs])
        assert "--formats [safetensors]" in str(caught.value)


def test_a_network_that_onnx_has_not_is_refused_and_nothing_left(
    build: Build, save: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = save(build())

    def opened(_: Path) -> GANModule:
        module = build().eval()
        module.generator = Branching()
        return module

    monkeypatch.setattr("infogan.commands.export.command.load_gan", opened)
    with pytest.raises(ConfigurationError, match="generator.onnx cannot be written") as caught:
        export(checkpoint, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["saved.ckpt"]


@pytest.mark.parametrize("formats", [("onnx", "safetensors"), ("onnx",), ("safetensors",)])
def test_missing_packages_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, formats: Any
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ConfigurationError, match=r"pip install -e '.\[export\]'") as caught:
        export(tmp_path / "x.ckpt", formats=formats)
    assert ("onnxruntime" in str(caught.value)) == ("onnx" in formats)
    assert "\n" not in str(caught.value)


def test_no_format_and_an_output_that_is_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="at least one of onnx, safetensors"):
        export(tmp_path / "x.ckpt", formats=())
    (tmp_path / "out").write_text("mine")
    with pytest.raises(ConfigurationError, match="out exists already"):
        export(tmp_path / "x.ckpt", tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"


def test_the_command_line_from_another_directory(
    command: Callable[..., Outcome],
    trained: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    checkpoint = str(trained().absolute() / "checkpoints/last.ckpt")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    outcome = command("export", "--ckpt_path", checkpoint, "--formats=[safetensors]")
    assert outcome.code == 0, outcome.err
    assert "export      export: with model.json" in outcome.out
    weights = load_file("export/model.safetensors")
    module = InfoGANModule.load_from_checkpoint(checkpoint)
    assert all(torch.equal(weights[name], v) for name, v in module.state_dict().items())
    description = json.loads(Path("export/model.json").read_text())
    assert description["class"].endswith(".InfoGANModule") and description["step"] == 2
    for arguments, words in (
        ([], "output=export exists already"),
        (["--output=new", "--formats=[torchscript]"], "formats"),
    ):
        outcome = command("export", "--ckpt_path", checkpoint, *arguments)
        assert outcome.code == 2 and len(outcome.errors) == 1 and words in outcome.errors[0]
