"""A test's scores of generators whose worth is known."""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import CSVLogger

from datamodules import BasicPropDataModule
from infogan.callbacks.quality import SampleQuality
from infogan.errors import ConfigurationError
from infogan.judge import JudgeRecipe
from infogan.modules import GANModule, VanillaGANModule
from tests.support.stripes import NAMES, known_gan, stripe_data

Build = Callable[..., GANModule]
Score = Callable[..., dict[str, float]]

OF_SAMPLES = {"fid", "kid", "precision", "recall", "density", "coverage"}
OF_SAMPLES |= {"class_entropy", "class_kl_to_uniform"}


@pytest.fixture
def score(trainer: Callable[..., pl.Trainer], tmp_path: Path) -> Score:
    """Return a function that tests a GAN on stripes and returns what the callback has logged."""

    def run(module: GANModule, data: Any = None, **options: Any) -> dict[str, float]:
        quality = SampleQuality(
            **{"num_images": 64, "judge_folder": tmp_path / "judges", **options},
            judge=JudgeRecipe(num_steps=40, batch_size=32),
        )
        made = trainer(callbacks=[quality], logger=CSVLogger(tmp_path, "run"))
        data = stripe_data(tmp_path) if data is None else data
        (logged,) = made.test(module, datamodule=data, verbose=False)
        return {name.removeprefix("test/"): value for name, value in logged.items()}

    return run


def test_a_generator_that_is_right(build: Build, score: Score) -> None:
    """What real images score, equal classes, and every code found again."""
    found = score(known_gan(build))
    assert found["fid"] < 2 * found["fid_real"]
    assert abs(found["kid"]) < 0.1
    for name in ("precision", "recall", "coverage"):
        assert found[name] > 0.8, name
        assert found[f"{name}_real"] > 0.8, name
    assert found["class_kl_to_uniform"] < 0.1
    assert found["class_consistency"] > 0.95
    assert found["judge_accuracy"] > 0.95
    assert found["self_consistency_categorical0"] == 1
    assert found["mi"] == pytest.approx(math.log(4), abs=0.01)


def test_a_generator_that_has_collapsed(build: Build, score: Score) -> None:
    """One class whatever the code: far from the data, and a code in four is right by chance."""
    found = score(known_gan(build, torch.tensor([2, 2, 2, 2])))
    assert found["fid"] > 10 * found["fid_real"]
    assert found["coverage"] < 0.4
    assert found["recall"] < 0.4
    assert found["class_kl_to_uniform"] == pytest.approx(math.log(4), abs=0.1)
    assert found["class_kl_to_uniform_real"] < 0.1
    for name in ("class_consistency", "self_consistency_categorical0"):
        assert found[name] == pytest.approx(0.25, abs=0.15), name
    assert found["mi"] < 0


def test_categories_that_draw_another_class_than_they_name(build: Build, score: Score) -> None:
    """As good as real images, and no code is what Q names it."""
    found = score(known_gan(build, torch.arange(4)))
    assert not (torch.arange(4) == NAMES).any()
    assert found["fid"] < 2 * found["fid_real"]
    assert found["class_consistency"] < 0.05
    assert found["self_consistency_categorical0"] == 0


def test_a_gan_without_q_is_judged_all_the_same(build: Build, score: Score) -> None:
    found = score(known_gan(build, kind=VanillaGANModule))
    expected = {name + suffix for name in OF_SAMPLES for suffix in ("", "_real")}
    assert found.keys() == expected | {"judge_accuracy", "d_real"}


def test_data_with_an_inverse_renderer_needs_no_judge(
    build: Build, score: Score, tmp_path: Path
) -> None:
    data = BasicPropDataModule("line", train_size=10, eval_size=20)
    found = score(build(image_size=28), data)
    assert not OF_SAMPLES & found.keys()
    assert {"self_consistency_categorical0", "self_consistency_uniform1", "mi"} <= found.keys()
    assert not (tmp_path / "judges").exists()


def test_it_can_be_turned_off(build: Build, score: Score, tmp_path: Path) -> None:
    found = score(known_gan(build), num_images=0)
    assert not {"fid", "mi", "judge_accuracy"} & found.keys()
    assert not (tmp_path / "judges").exists()


def test_the_weights_are_named(
    build: Build, score: Score, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On the screen and beside the scores; the next test has the same judge."""
    digests = []
    for version in range(2):
        score(known_gan(build))
        facts = (tmp_path / f"run/version_{version}/hparams.yaml").read_text()
        (digest,) = re.findall(r"^judge_sha256: (\w{12})$", facts, flags=re.MULTILINE)
        assert f"judge       weights {digest}, accuracy" in capsys.readouterr().out
        digests.append(digest)
    assert digests[0] == digests[1]
    assert len(list((tmp_path / "judges").glob("*.pt"))) == 1


def test_too_few_images_are_refused(build: Build, score: Score) -> None:
    with pytest.raises(ConfigurationError, match="sample_quality.num_images=5 with 80 test images"):
        score(known_gan(build), num_images=5)
    with pytest.raises(ConfigurationError, match="67 that the judge has not learned from"):
        score(known_gan(build), num_neighbors=70, num_images=80)


@pytest.mark.parametrize("wrong", [{"num_images": -1}, {"batch_size": 0}, {"num_neighbors": 0}])
def test_wrong_options(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SampleQuality(**wrong)  # type: ignore[arg-type]
