"""The training step on a real card; `pytest -m gpu` runs it where there is one."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor

from datamodules.base import ImageDataModule
from datamodules.factors import Factor
from datamodules.loader import TensorSource
from infogan.callbacks.collapse import CollapseStopping
from infogan.callbacks.nan_stopping import NonFiniteStopping
from infogan.callbacks.stopping import RunStoppedError
from infogan.differentiable_augmentation import RandomAffine
from infogan.latents import CategoricalCode, UniformCode
from infogan.modules import ClusteringInfoGANModule, HessianPenaltyInfoGANModule, InfoGANModule
from infogan.terms import Clustering, Equivariance
from infogan.transformations import Shear, StrokeWidth

pytestmark = pytest.mark.gpu

STEPS = 24


class Noise(ImageDataModule):
    """Random images, the same in every run."""

    factors = (Factor("digit", 10, 0, 9),)
    image_shape = (1, 28, 28)

    def setup(self, stage: str) -> None:
        stream = torch.Generator().manual_seed(1)
        images = torch.randint(256, (640, 1, 28, 28), dtype=torch.uint8, generator=stream)
        self.train_source = TensorSource(images)


@pytest.fixture(autouse=True)
def seeded(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("PL_GLOBAL_SEED", "5")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic = True
    yield
    torch.backends.cudnn.deterministic = False
    torch.cuda.set_sync_debug_mode("default")


def gan(kind: type[InfoGANModule] = InfoGANModule, **settings: Any) -> InfoGANModule:
    torch.manual_seed(2)
    return kind(codes=[CategoricalCode(10), UniformCode(), UniformCode()], **settings)


def fit(module: InfoGANModule, *callbacks: pl.Callback, ckpt: Path | None = None, **flags: Any):
    trainer = pl.Trainer(
        accelerator="gpu",
        devices=1,
        callbacks=list(callbacks),
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **{
            "enable_checkpointing": False,
            "max_steps": STEPS,
            "max_epochs": 10,
            "log_every_n_steps": 8,
            **flags,
        },
        limit_val_batches=0,
    )
    trainer.fit(module, datamodule=Noise(batch_size=64), ckpt_path=ckpt)
    return trainer


def assert_equal(one: InfoGANModule, other: InfoGANModule) -> None:
    for name, value in one.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], value, rtol=1e-4, atol=1e-5)


SETTINGS: dict[str, tuple[type[InfoGANModule], dict[str, Any]]] = {
    "paper": (InfoGANModule, {}),
    "rates that fall": (InfoGANModule, {"learning_rate_decay_steps": 10}),
    "noise that falls": (
        InfoGANModule,
        {"instance_noise_std": 0.3, "instance_noise_steps": 12, "r1_weight": 0.5},
    ),
    "clipping": (InfoGANModule, {"gradient_clip_norm": 0.1}),
    "clustering": (ClusteringInfoGANModule, {}),
    "hessian": (HessianPenaltyInfoGANModule, {}),
    "separation": (
        InfoGANModule,
        {
            "terms": [
                Clustering(augmentation=RandomAffine()),
                Equivariance({1: Shear(), 2: StrokeWidth()}, generator_weight=1.0),
            ]
        },
    ),
}


# `separation` transforms images, whose gradient is summed in an order that varies.
@pytest.mark.parametrize("name", [name for name in SETTINGS if name != "separation"])
def test_a_captured_graph_gives_the_numbers_of_the_plain_path(name: str) -> None:
    kind, settings = SETTINGS[name]
    captured, plain = gan(kind, **settings), gan(kind, cuda_graph=False, **settings)
    fit(captured, NonFiniteStopping())
    fit(plain, NonFiniteStopping())
    assert_equal(plain, captured)


@pytest.mark.parametrize("name", ["paper", "clustering"])
def test_a_captured_graph_casts_the_weights_anew_in_every_batch(name: str) -> None:
    """In mixed precision; what is kept of a weight between batches would be frozen in the graph."""
    kind, settings = SETTINGS[name]
    captured, plain = gan(kind, **settings), gan(kind, cuda_graph=False, **settings)
    fit(captured, precision="bf16-mixed", max_steps=64)
    fit(plain, precision="bf16-mixed", max_steps=64)
    for network, value in plain.named_parameters():
        moved = (captured.get_parameter(network) - value).norm() / value.norm().clamp(min=1e-6)
        assert moved < 0.05, (network, float(moved))


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
def test_mixed_precision_trains_and_clips(precision: Any) -> None:
    module = gan(gradient_clip_norm=1.0, discriminator_augmentation=RandomAffine())
    before = {name: value.clone() for name, value in module.named_parameters()}
    fit(module, NonFiniteStopping(), CollapseStopping(), precision=precision)
    for name, value in module.named_parameters():
        assert value.isfinite().all(), name
        assert not torch.equal(value.cpu(), before[name]), name


def test_a_run_that_is_resumed_gives_the_numbers_of_one_that_is_not(tmp_path: Path) -> None:
    whole, first, second = gan(), gan(), gan()
    fit(whole)
    saver = ModelCheckpoint(tmp_path, "half", every_n_train_steps=11, save_top_k=-1)
    fit(first, saver, max_steps=11, enable_checkpointing=True)
    fit(second, ckpt=tmp_path / "half.ckpt")
    assert_equal(whole, second)


class NoWaiting(pl.Callback):
    """Fail on any operation of a batch that makes the host wait, but in steps that are logged."""

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        # The first batches allocate and capture.
        step = trainer.global_step + 1
        checked = step > 8 and step % trainer.log_every_n_steps != 0  # type: ignore[attr-defined]
        torch.cuda.set_sync_debug_mode("error" if checked else "default")

    def on_train_batch_end(self, *_: Any) -> None:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("cuda_graph", [None, False])
@pytest.mark.parametrize(
    "name", ["paper", "clustering", "hessian", "separation", "noise that falls"]
)
def test_the_host_does_not_wait_between_logged_steps(name: str, cuda_graph: bool | None) -> None:
    kind, settings = SETTINGS[name]
    module = gan(kind, discriminator_augmentation=RandomAffine(), cuda_graph=cuda_graph, **settings)
    fit(module, NonFiniteStopping(), CollapseStopping(warmup_steps=0), NoWaiting())


class Poison(pl.Callback):
    """Make the real images NaN from a batch on."""

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Tensor, batch_idx: int
    ) -> None:
        if trainer.global_step >= 13:
            batch.fill_(float("nan"))


@pytest.mark.parametrize("cuda_graph", [None, False])
def test_nan_never_reaches_the_weights(cuda_graph: bool | None) -> None:
    module = gan(cuda_graph=cuda_graph)
    with pytest.raises(RunStoppedError, match="NaN in the loss") as stopped:
        fit(module, NonFiniteStopping(), Poison())
    assert stopped.value.step == 16
    assert all(value.isfinite().all() for value in module.parameters())


def test_batches_are_put_together_on_the_card_in_the_order_of_the_cpu() -> None:
    class Batches(pl.Callback):
        def __init__(self) -> None:
            self.seen: list[Tensor] = []

        def on_train_batch_start(self, trainer: Any, module: Any, batch: Tensor, i: int) -> None:
            assert batch.device.type == "cuda"
            self.seen.append(batch.cpu())

    batches = Batches()
    fit(gan(), batches, max_steps=10, max_epochs=1)
    data = Noise(batch_size=64)
    data.setup("fit")
    for seen, expected in zip(batches.seen, data.train_dataloader(), strict=True):
        assert isinstance(expected, Tensor)
        torch.testing.assert_close(seen, expected.float() / 255)
