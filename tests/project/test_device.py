"""Everything runs on a card, without one: no tensor on the wrong device, no needless waiting."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from datamodules import BasicPropDataModule
from infogan.callbacks.collapse import CollapseStopping
from infogan.callbacks.confusion import ConfusionMatrix
from infogan.callbacks.disentanglement import Disentanglement
from infogan.callbacks.global_batch import GlobalBatch
from infogan.callbacks.last_checkpoint import LastCheckpoint
from infogan.callbacks.nan_stopping import NonFiniteStopping
from infogan.callbacks.predictions import CodeWriter
from infogan.callbacks.probe import EncoderProbe
from infogan.callbacks.progress import LossProgressBar, RunSummary
from infogan.callbacks.quality import SampleQuality
from infogan.callbacks.traversal import LatentTraversal
from infogan.callbacks.validity import SampleValidity
from infogan.differentiable_augmentation import RandomAffine
from infogan.judge import JudgeRecipe
from infogan.latents import BernoulliCode, CategoricalCode, NormalCode, UniformCode
from infogan.loggers import RunFolder
from infogan.modules import GANModule, InfoGANModule, VanillaGANModule
from infogan.modules import infogan as variants
from infogan.terms import (
    Clustering,
    CodeTerm,
    Equivariance,
    HessianPenalty,
    OrthogonalJacobian,
)
from infogan.transformations import ImageTransformation, Shear, StrokeWidth
from tests.support.fake_card import FakeCard, Stall, card_trainer, fake_card
from tests.support.resumable import SEED, SmallData, gan
from tests.support.stripes import stripe_data

VARIANTS = [
    kind
    for kind in vars(variants).values()
    if isinstance(kind, type) and issubclass(kind, InfoGANModule)
]


def with_terms(**settings: Any) -> InfoGANModule:
    """Return an InfoGAN with every term."""
    followed: dict[int, ImageTransformation] = {1: Shear(widening=0.2), 2: StrokeWidth()}
    terms: list[CodeTerm] = [
        Clustering(augmentation=RandomAffine()),
        HessianPenalty(),
        OrthogonalJacobian(),
        Equivariance(followed, generator_weight=1.0),
    ]
    return InfoGANModule(terms=terms, **settings)


MODULES = [VanillaGANModule, *VARIANTS, with_terms]
EVERYTHING_ON: dict[str, Any] = {
    "discriminator_augmentation": RandomAffine(),
    "label_smoothing": 0.1,
    "instance_noise_std": 0.1,
    "instance_noise_steps": 5,
    "r1_weight": 0.5,
    "num_discriminator_updates": 2,
    "learning_rate_decay_steps": 2,
    # A pretended card captures nothing; what the updates wait for, a graph refuses.
    "cuda_graph": False,
}


@pytest.fixture(autouse=True)
def seeded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PL_GLOBAL_SEED", str(SEED))
    monkeypatch.chdir(tmp_path)


def build(kind: Callable[..., GANModule] = InfoGANModule, side: int = 8, **settings: Any) -> Any:
    """Return a module of the paper's networks for small images, with a code of each kind."""
    torch.manual_seed(SEED)
    codes = [CategoricalCode(4), UniformCode(), NormalCode(learn_std=True), BernoulliCode()]
    return kind(codes=codes, noise_dim=3, image_size=side, **settings)


def stripes(folder: Path) -> Any:
    """Return small images of four classes, in batches of a few."""
    data = stripe_data(folder, val_size=80)
    data.labelled, data.batch_size = False, 8
    return data


def callbacks() -> list[Callback]:
    """Return every callback of the command line, each to act within a few batches."""
    recipe = JudgeRecipe(num_steps=4, batch_size=32)
    folder = Path("judges")
    return [
        LossProgressBar(refresh_rate=1),
        LatentTraversal(num_columns=2, num_values=2),
        LastCheckpoint(every_n_minutes=0.0),
        GlobalBatch(),
        SampleValidity(num_images=20),
        ConfusionMatrix(),
        Disentanglement(),
        SampleQuality(num_images=40, judge=recipe, judge_folder=folder),
        EncoderProbe(num_train=60, supervised=True, recipe=recipe, judge_folder=folder),
        NonFiniteStopping(),
        CollapseStopping("warn", warmup_steps=0, every_n_steps=1, window=2, num_images=8),
        RunSummary(),
        CodeWriter(),
    ]


def run_all(trainer: pl.Trainer, module: GANModule, data: Any) -> dict[str, Tensor]:
    """Train, test and predict; return what was logged."""
    trainer.fit(module, datamodule=data)
    logged = dict(trainer.callback_metrics)
    trainer.test(module, datamodule=data, verbose=False)
    logged |= trainer.callback_metrics
    if isinstance(module, InfoGANModule):
        trainer.predict(module, datamodule=data, return_predictions=False)
    return logged


def settings(**more: Any) -> dict[str, Any]:
    """Return a trainer's settings for a few batches of two epochs."""
    return {
        "max_epochs": 1,
        "limit_train_batches": 2,
        "log_every_n_steps": 2,
        "limit_val_batches": 1,
        "limit_test_batches": 2,
        "num_sanity_val_steps": 0,
        "enable_model_summary": False,
        **more,
    }


@pytest.mark.parametrize("kind", [VanillaGANModule, with_terms])
def test_fit_test_and_predict_stay_on_the_card(kind: Any, tmp_path: Path) -> None:
    """With every callback, every metric and every option of the module.

    The other classes differ in their updates alone, all of which the test of a batch runs.
    """
    data = stripes(tmp_path)
    with fake_card():
        trainer = card_trainer(
            logger=RunFolder("runs"), callbacks=callbacks(), **settings(precision="bf16-mixed")
        )
        logged = run_all(trainer, build(kind, **EVERYTHING_ON), data)
    assert logged["test/fid"].isfinite() and logged["train/d_real"].isfinite()


def test_generated_images_are_read_back_on_the_card() -> None:
    """BasicProp's inverse renderer, validity and mutual information with every factor."""
    data = BasicPropDataModule("line", on_the_fly=True, batch_size=8, eval_size=40)
    with fake_card():
        trainer = card_trainer(logger=RunFolder("runs"), callbacks=callbacks(), **settings())
        logged = run_all(trainer, build(side=28, cuda_graph=False), data)
    assert {"val/valid_share", "test/valid_share"} <= logged.keys()


# ---- the values --------------------------------------------------------------------------------


def test_a_run_on_the_card_is_the_run_on_the_cpu(tmp_path: Path) -> None:
    """The card's values are the CPU's, so that what the tests above went through is a real run."""

    def trained(make: Callable[..., pl.Trainer]) -> tuple[dict[str, Tensor], dict[str, Any]]:
        module = gan(InfoGANModule, cuda_graph=False)
        trainer = make(logger=False, enable_checkpointing=False, **settings())
        trainer.fit(module, datamodule=SmallData())
        logged = {n: float(v) for n, v in trainer.callback_metrics.items() if "second" not in n}
        return {name: value.cpu() for name, value in module.state_dict().items()}, logged

    expected = trained(lambda **flags: pl.Trainer(accelerator="cpu", **flags))
    with fake_card():
        found = trained(card_trainer)
    torch.testing.assert_close(found, expected)


# ---- the check has teeth -----------------------------------------------------------------------


def test_a_tensor_on_the_wrong_device_is_refused() -> None:
    with fake_card():
        on_card = torch.rand(3, device="cuda")
        with pytest.raises(RuntimeError, match="same device, but found at least two devices"):
            on_card + torch.rand(3)
        with pytest.raises(RuntimeError, match="same device"):
            torch.nn.Linear(3, 2)(on_card)


@pytest.mark.parametrize(
    ("function", "kinds"),
    [
        (lambda x: x.sum().item(), ["value read"]),
        (lambda x: bool((x > 0).all()), ["value read"]),
        (lambda x: x.cpu(), ["copy from the card"]),
        (lambda x: x + torch.ones(3).to("cuda"), ["copy to the card"]),
        (lambda x: x * torch.tensor([1.0, 2.0, 3.0], device="cuda"), ["copy to the card"]),
        (lambda x: x.copy_(torch.ones(3)), ["copy to the card"]),
        (lambda x: torch.empty(3).copy_(x), ["copy from the card"]),
        (lambda x: x[x > 0], ["selection by a mask"]),
        (lambda x: x[[0, 2]], ["copy to the card"]),
        (lambda x: x.nonzero(), ["nonzero"]),
        (lambda x: x.long().bincount(minlength=4), ["bincount"]),
        (lambda x: x.unique(), ["unique"]),
        (lambda x: (2 * x + torch.tensor(1.0)).where(x > 0, 0.0)[1:].fill_(3), []),
    ],
)
def test_what_makes_host_and_card_wait_is_counted(
    function: Callable[[Tensor], Any], kinds: list[str]
) -> None:
    with fake_card() as card:
        x = torch.rand(3, device="cuda")
        expected = function(x.cpu().clone()) if not kinds else None
        card.stalls.clear()
        result = function(x)
        assert [stall.kind for stall in card.stalls] == kinds
        if expected is not None:
            torch.testing.assert_close(result.cpu(), expected)


# ---- a batch -----------------------------------------------------------------------------------


class Batches(pl.Callback):
    """Keep what each batch has waited for, by its step."""

    def __init__(self, card: FakeCard) -> None:
        self.card = card
        self.by_step: dict[int, list[Stall]] = {}

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Take what has come together since the last batch."""
        self.by_step[trainer.global_step] = list(self.card.stalls)
        self.card.stalls.clear()


@pytest.mark.parametrize("kind", MODULES, ids=lambda kind: kind.__name__)
def test_a_batch_between_logging_steps_waits_for_nothing(kind: Any, tmp_path: Path) -> None:
    """Host and card wait for each other, and data is sent, only where something is logged.

    In the precision that a card trains in; with a validation at the end.
    """
    data = stripes(tmp_path)
    with fake_card() as card:
        batches = Batches(card)
        watching = [NonFiniteStopping(), CollapseStopping(warmup_steps=0), LastCheckpoint()]
        trainer = card_trainer(
            callbacks=[*watching, RunSummary(), LossProgressBar(), batches],
            logger=RunFolder("runs"),
            **settings(limit_train_batches=4, log_every_n_steps=4, precision="bf16-mixed"),
        )
        trainer.fit(build(kind, **EVERYTHING_ON), datamodule=data)
    assert list(batches.by_step) == [1, 2, 3, 4]
    # The first brings the weights to the card, the last one logs.
    between = [stall for step in (2, 3) for stall in batches.by_step[step]]
    assert between == []
