"""Settings of the game: clipping, precision, refused flags, values and data."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.precision import MixedPrecision
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from torch import Tensor

from infogan.errors import ConfigurationError
from infogan.latents import UniformCode
from infogan.modules import GANModule, VanillaGANModule
from infogan.networks import ReferenceNetworks

Build = Callable[..., GANModule]
Batches = Callable[..., list[Tensor]]
Fit = Callable[..., pl.Trainer]
State = dict[str, Tensor]


# ---- clipping and unsupported flags ----------------------------------------------------------


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_clipping_bounds_each_optimizers_gradient(
    precision: str, build: Build, batches: Batches, gradients: Callable[..., list[State]]
) -> None:
    """The gradients of D with Q, and of G, have at most the norm, and keep their direction."""
    flat: dict[float | None, list[Tensor]] = {}
    for norm in (None, 0.01, 1e6):
        module = build(gradient_clip_norm=norm)
        updates = gradients(module, batches(), precision=precision)
        flat[norm] = [torch.cat([g.flatten() for g in u.values()]) for u in updates]
    for clipped in flat[0.01]:
        assert clipped.norm().item() == pytest.approx(0.01, rel=1e-3)
    assert flat[None][0].norm() > 0.1
    assert torch.cosine_similarity(flat[0.01][0], flat[None][0], dim=0) > 0.9999
    assert torch.equal(flat[1e6][0], flat[None][0])


@pytest.mark.parametrize("flag", [{"accumulate_grad_batches": 2}, {"gradient_clip_val": 0.5}])
def test_flags_that_manual_optimization_ignores_are_refused(
    flag: dict[str, Any], build: Build, batches: Batches, fit: Fit
) -> None:
    """Lightning refuses what it would not do, and names the flag."""
    with pytest.raises(MisconfigurationException, match=next(iter(flag))):
        fit(build(), batches(), **flag)


# ---- the decay of the learning rates ---------------------------------------------------------


class Rates(pl.Callback):
    """Records both learning rates in every batch."""

    def __init__(self) -> None:
        self.rates: list[list[float]] = []

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any
    ) -> None:
        """Read what the batch used."""
        self.rates.append([o.param_groups[0]["lr"] for o in trainer.optimizers])


def test_rates_fall_linearly_in_the_last_batches_and_over_a_resume(
    build: Build, batches: Batches, fit: Fit, tmp_path: Path
) -> None:
    """D and G alike train at 1, 1, 1, 1, 1/2 of their rates, and a resume changes no bit."""
    images = batches() * 5  # a plain list does not remember where it was
    whole, before, after = Rates(), Rates(), Rates()
    straight = build(learning_rate_decay_steps=2)
    fit(straight, images, callbacks=[whole], max_steps=5, max_epochs=5)
    expected = [share * rate for share in (1, 1, 1, 1, 1 / 2) for rate in (2e-4, 1e-3)]
    assert [rate for rates in whole.rates for rate in rates] == pytest.approx(expected)

    cut = build(learning_rate_decay_steps=2)
    stop = StopAfter(4)
    trainer = fit(cut, images, callbacks=[before, stop], max_steps=5, max_epochs=5)
    trainer.save_checkpoint(tmp_path / "cut.ckpt")
    resumed = build(learning_rate_decay_steps=2)
    fit(resumed, images, tmp_path / "cut.ckpt", callbacks=[after], max_steps=5, max_epochs=5)
    assert before.rates + after.rates == whole.rates
    for name, value in straight.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_a_training_that_is_too_short_has_no_decay(
    build: Build, batches: Batches, fit: Fit
) -> None:
    rates = Rates()
    fit(build(learning_rate_decay_steps=2), batches(3), callbacks=[rates])
    assert rates.rates == [[2e-4, 1e-3]] * 3


class StopAfter(pl.Callback):
    """Ends a training early, as its user would."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        """Stop at the batch."""
        trainer.should_stop = trainer.global_step >= self.steps


def test_rates_need_an_end_to_fall_towards(build: Build, batches: Batches, fit: Fit) -> None:
    with pytest.raises(ConfigurationError, match=r"decay_steps=3 .* give trainer.max_epochs"):
        fit(build(learning_rate_decay_steps=3), batches(), max_steps=-1, max_epochs=-1)


# ---- precision -------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"r1_weight": 1.0, "networks": ReferenceNetworks(spectral_normalization=True)},
        {"codes": [UniformCode(learn_std=True)], "gradient_clip_norm": 1.0},
    ],
    ids=["default", "R1 and spectral", "learned std"],
)
def test_training_is_finite_in_each_precision(
    precision: str, settings: dict[str, Any], build: Build, batches: Batches, fit: Fit
) -> None:
    """Losses are float32 and finite, weights stay float32, and bf16 is really in use."""
    module = build(**settings)
    dtypes = set()
    trunk: torch.nn.Module = module.get_submodule("discriminator.trunk")
    trunk.register_forward_hook(lambda _, __, out: dtypes.add(out[0].dtype))
    fit(module, batches(3), precision=precision)
    assert dtypes == {torch.bfloat16 if precision == "bf16-mixed" else torch.float32}
    assert {"discriminator_loss", "generator_loss", "mi"} <= module.scalars.keys()
    for name, value in module.scalars.items():
        assert value.dtype == torch.float32, name
        assert value.isfinite(), name
        assert not value.requires_grad, name
    for name, parameter in module.named_parameters():
        assert parameter.dtype == torch.float32, name
        assert parameter.isfinite().all(), name


# ---- settings --------------------------------------------------------------------------------


def test_the_template_is_abstract() -> None:
    """A GANModule without an information term cannot be built."""
    template: Any = GANModule
    with pytest.raises(TypeError, match="discriminator_information_loss"):
        template(codes=[])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("generator_loss", "hinge"),
        ("label_smoothing", 1.0),
        ("label_smoothing", -0.1),
        ("instance_noise_std", -0.5),
        ("instance_noise_steps", -1),
        ("r1_weight", -2.0),
        ("r1_weight", float("nan")),
        ("num_discriminator_updates", 0),
        ("num_generator_updates", 0),
        ("gradient_clip_norm", 0.0),
        ("learning_rate_decay_steps", -1),
        ("image_channels", 0),
        ("image_size", 30),
        ("noise_dim", -1),
    ],
)
def test_impossible_settings_are_refused(name: str, value: Any, build: Build) -> None:
    """One line names the argument and its value."""
    with pytest.raises(ValueError) as error:
        build(VanillaGANModule, **{name: value})
    message = str(error.value)
    assert "\n" not in message
    assert name in message
    assert str(value) in message


class Images(pl.LightningDataModule):
    """Data that knows its images' shape."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.image_shape = shape

    def train_dataloader(self) -> Any:
        """Return one batch."""
        images: Any = list(torch.rand(4, *self.image_shape))
        return torch.utils.data.DataLoader(images, batch_size=4)


@pytest.mark.filterwarnings("ignore:You defined a `validation_step`", "ignore:.*num_workers")
def test_data_of_another_shape_is_refused(build: Build, trainer: Callable[..., pl.Trainer]) -> None:
    """One line names the module's arguments and the data's shape before the first batch."""
    with pytest.raises(ValueError, match=r"image_channels=1 and image_size=8 .*\(3, 8, 8\)"):
        trainer(max_steps=1).fit(build(), datamodule=Images((3, 8, 8)))


@pytest.mark.filterwarnings("ignore:You defined a `validation_step`", "ignore:.*num_workers")
def test_data_of_the_right_shape_trains(build: Build, trainer: Callable[..., pl.Trainer]) -> None:
    """A datamodule's images of the module's shape are taken."""
    made = trainer(max_steps=1)
    made.fit(build(), datamodule=Images((1, 8, 8)))
    assert made.global_step == 1


class Float32Scaling(MixedPrecision):
    """A gradient scaler without autocast: what it changes is the scale alone."""

    def forward_context(self) -> Any:
        return nullcontext()


def test_clipping_under_a_gradient_scaler_clips_the_true_gradient(
    build: Build, batches: Batches, gradients: Callable[..., list[State]]
) -> None:
    """A fused optimizer, which unscales by itself, gets the scaled form of the same gradients."""
    scale = 65536.0
    settings = {"gradient_clip_norm": 0.05}
    scaler = torch.amp.GradScaler("cpu", init_scale=scale)
    plugin = Float32Scaling("16-mixed", "cpu", scaler)
    scaled = gradients(build(**settings), batches(3), plugins=[plugin])
    plain = gradients(build(**settings), batches(3))
    for one, other in zip(scaled, plain, strict=True):
        norm = torch.stack([g.norm() for g in other.values()]).norm()
        assert norm <= 0.0501
        for name, gradient in other.items():
            torch.testing.assert_close(one[name] / scale, gradient, rtol=1e-3, atol=1e-7)
