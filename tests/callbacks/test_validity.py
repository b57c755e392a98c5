"""Generated images judged by the inverse renderer."""

import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import CSVLogger
from torch import Tensor

from datamodules.basicprop import BasicPropDataModule
from infogan.callbacks.validity import SampleValidity
from infogan.latents import CategoricalCode, UniformCode
from infogan.modules import GANModule
from tests.conftest import TINY, Outcome


class Real:
    """A generator that is right: it draws the data's own images, of given positions."""

    def __init__(self, data: BasicPropDataModule, positions: list[int]) -> None:
        data.setup("test")
        assert data.test_source is not None
        images, factors = data.test_source.fetch(torch.arange(100), None)  # type: ignore[arg-type]
        keep = torch.isin(factors[:, 0], torch.tensor(positions, dtype=factors.dtype))
        self.images = images[keep].float() / 255

    def __call__(self, latent: Tensor) -> Tensor:
        return self.images[torch.arange(len(latent)) % len(self.images)]


@pytest.mark.parametrize("spoiled", [0.0, 0.3])
def test_scores_of_a_generator_that_is_right_on_a_part(
    build: Callable[..., GANModule], monkeypatch: pytest.MonkeyPatch, spoiled: float
) -> None:
    data = BasicPropDataModule("line", train_size=10, eval_size=100)
    module = build(image_size=28)
    real = Real(data, positions=[1, 4, 9])

    def generate(latent: Tensor) -> Tensor:
        images = real(latent)
        images[: int(spoiled * len(images))] = 0.0
        return images

    logged: dict[str, Tensor] = {}
    monkeypatch.setattr(module, "generate", generate)
    monkeypatch.setattr(module, "log", lambda name, value: logged.update({name: value}))
    trainer = SimpleNamespace(datamodule=data)
    SampleValidity(num_images=50, batch_size=50).log_scores("val", trainer, module)  # type: ignore[arg-type]
    assert float(logged["val/valid_share"]) == pytest.approx(1 - spoiled)
    assert logged["val/cells_covered"] == 3


def test_a_run_on_basicprop_logs_them_and_one_on_mnist_does_not(
    command: Callable[..., Outcome], trained_run: Path
) -> None:
    small = ("--data.init_args.train_size=100", "--data.init_args.val_size=100")
    assert command("fit", "--config", "infogan_line.yaml", *TINY, *small).code == 0
    line, mnist = (
        (run / "metrics.csv").read_text().splitlines()[0]
        for run in (Path("runs/infogan_line/version_0"), trained_run)
    )
    assert "val/valid_share" in line and "val/cells_covered" in line
    assert "valid_share" not in mnist


def test_the_random_streams_go_on_as_they_were(build: Callable[..., GANModule]) -> None:
    state = torch.get_rng_state()
    module = build().eval()
    torch.set_rng_state(state)
    first, second = (SampleValidity(num_images=8).sample(module) for _ in range(2))
    assert torch.equal(first, second) and torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("wrong", [{"num_images": -1}, {"batch_size": 0}])
def test_wrong_options(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SampleValidity(**wrong)


def test_information_of_codes_in_generated_images(
    build: Callable[..., GANModule], trainer: Callable[..., pl.Trainer], tmp_path: Path
) -> None:
    """A generator that draws the left height by its code, and the right one at random."""
    data = BasicPropDataModule("rectangles", train_size=10, eval_size=10)
    module = build(codes=[UniformCode(), CategoricalCode(10)], image_size=28)

    class Drawn(torch.nn.Module):
        def forward(self, latent: Tensor) -> Tensor:
            left = latent[:, 4:].argmax(dim=1)
            factors = torch.stack([left, torch.randint(10, left.shape)], dim=1).float()
            images = data.variant_spec.render(factors, np.random.default_rng(0)).float() / 255
            images[::5] = 0.0  # not valid: no information is read from them
            return images

    module.generator = Drawn()
    made = trainer(callbacks=[SampleValidity(num_images=100)], logger=CSVLogger(tmp_path, "run"))
    (logged,) = made.test(module, datamodule=data, verbose=False)
    assert logged["test/valid_share"] == pytest.approx(0.8)
    information = {
        name.removeprefix("test/generated_mi_"): nats
        for name, nats in logged.items()
        if "generated_mi_" in name
    }
    assert information == pytest.approx(
        {
            "categorical1_left_height": math.log(10),
            "categorical1_right_height": 0.05,
            "uniform0_left_height": 0.1,
            "uniform0_right_height": 0.1,
        },
        abs=0.08,
    )
    # One factor of two is held by one code, but for what chance tells of it.
    assert logged["test/generated_mig"] == pytest.approx(0.5, abs=0.06)
    assert (tmp_path / "run/version_0/information_generated.png").is_file()


def test_no_valid_image_gives_no_information(
    build: Callable[..., GANModule], trainer: Callable[..., pl.Trainer], tmp_path: Path
) -> None:
    data = BasicPropDataModule("line", train_size=10, eval_size=10)
    made = trainer(callbacks=[SampleValidity(num_images=2)], logger=CSVLogger(tmp_path, "run"))
    (logged,) = made.test(build(image_size=28), datamodule=data, verbose=False)
    assert logged["test/valid_share"] == 0
    assert not any("generated_mi" in name for name in logged)
    assert not (tmp_path / "run/version_0/information_generated.png").exists()
