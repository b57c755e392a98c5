"""Which runs are measured by their strokes, when, and what is logged and said."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor

from infogan.callbacks.morphometrics import Morphometrics
from infogan.latents import CategoricalCode, UniformCode
from infogan.metrics.morphometrics import MEASURES
from infogan.modules import GANModule, InfoGANModule, VanillaGANModule
from tests.conftest import TINY, Outcome
from tests.metrics.test_morphometrics import bars
from tests.support.stripes import stripe_data

Build = Callable[..., GANModule]


class Drawing(torch.nn.Module):
    """A generator whose two uniform codes are the slant and the width of a bar."""

    def forward(self, latent: Tensor) -> Tensor:
        return bars(0.4 * latent[:, -2], 3 + latent[:, -1])[:, None]


def drawing_gan(build: Build, kind: type[GANModule] = InfoGANModule) -> GANModule:
    codes = [CategoricalCode(4), UniformCode(), UniformCode()]
    module = build(kind, codes=codes, image_size=28)
    module.generator = Drawing()
    return module


class Bars(pl.LightningDataModule):
    """Held-out images of random bars."""

    shows_strokes = True
    factors = ()
    image_shape = (1, 28, 28)

    def val_dataloader(self) -> Any:
        stream = torch.Generator().manual_seed(0)
        slants, widths = torch.rand(2, 120, generator=stream) * 2 - 1
        images = bars(0.4 * slants, 3 + widths)[:, None]
        dataset = torch.utils.data.TensorDataset(images, torch.empty(120, 0))
        return torch.utils.data.DataLoader(dataset, batch_size=50)

    test_dataloader = val_dataloader


def named(scores: dict[str, float], prefix: str) -> dict[str, float]:
    return {
        name.removeprefix(prefix): value
        for name, value in scores.items()
        if name.startswith(prefix)
    }


def test_a_test_tells_what_each_code_sets(build: Build, trainer: Callable[..., Any]) -> None:
    run = trainer(callbacks=[Morphometrics(num_images=150)])
    (scores,) = run.test(drawing_gan(build), datamodule=Bars(), verbose=False)
    made, read = (named(scores, f"test/morpho_{kind}_") for kind in ("generative", "inferential"))
    assert len(made) == len(read) == 2 * len(MEASURES)
    slants = [value for name, value in made.items() if name.startswith("slant")]
    widths = [value for name, value in made.items() if name.startswith("thickness")]
    assert slants[0] > 0.95 > 0.3 > abs(slants[1])
    assert widths[1] > 0.9 > 0.3 > abs(widths[0])
    assert all(-1 <= value <= 1 for value in read.values())


def test_validation_measures_on_request_alone(build: Build, trainer: Callable[..., Any]) -> None:
    module = drawing_gan(build)
    (scores,) = trainer(callbacks=[Morphometrics()]).validate(
        module, datamodule=Bars(), verbose=False
    )
    assert not named(scores, "val/morpho_")
    (scores,) = trainer(callbacks=[Morphometrics(num_val_images=60)]).validate(
        module, datamodule=Bars(), verbose=False
    )
    assert len(named(scores, "val/morpho_")) == 4 * len(MEASURES)


def test_a_gan_without_q_has_no_inferential_scores(
    build: Build, trainer: Callable[..., Any]
) -> None:
    run = trainer(callbacks=[Morphometrics(num_images=60)])
    (scores,) = run.test(drawing_gan(build, VanillaGANModule), datamodule=Bars(), verbose=False)
    assert named(scores, "test/morpho_generative_")
    assert not named(scores, "test/morpho_inferential_")


def test_other_data_and_other_codes_are_passed_over(
    build: Build, trainer: Callable[..., Any], tmp_path: Path
) -> None:
    run = trainer(callbacks=[Morphometrics(num_images=60)])
    (scores,) = run.test(build(), datamodule=stripe_data(tmp_path), verbose=False)
    assert not named(scores, "test/morpho_")
    module = build(codes=[CategoricalCode(4)], image_size=28)
    (scores,) = run.test(module, datamodule=Bars(), verbose=False)
    assert not named(scores, "test/morpho_")


def test_a_run_ends_with_captions(command: Callable[..., Outcome]) -> None:
    small = ("--morphometrics.num_end_images=20",)
    assert command("fit", "--config", "infogan_mnist.yaml", *TINY, *small).code == 0
    (metrics,) = Path("runs/infogan_mnist").rglob("metrics.csv")
    with metrics.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["val/morpho_generative_slant_uniform1"]]
    assert len(rows) == 1


def test_wrong_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="num_images must be at least 0, got -1"):
        Morphometrics(num_images=-1)
