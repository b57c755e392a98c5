"""The adversarial game: who changes when, steps, logs and seeds."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import CSVLogger
from torch import Tensor

from infogan.latents import CategoricalCode, LatentCode
from infogan.modules import GANModule, VanillaGANModule

Build = Callable[..., GANModule]
Batches = Callable[..., list[Tensor]]
Fit = Callable[..., pl.Trainer]
State = dict[str, Tensor]


def snapshot(module: torch.nn.Module) -> State:
    """Return a copy of the weights and buffers."""
    return {name: value.clone() for name, value in module.state_dict().items()}


def changed(before: State, after: State) -> set[str]:
    """Return the names of the tensors that are not bit-identical."""
    return {name for name in before if not torch.equal(before[name], after[name])}


class Latents(pl.Callback):
    """Keeps the generator's inputs by step; `disturb` draws random numbers between the steps."""

    def __init__(self, disturb: bool = False) -> None:
        self.by_step: dict[int, list[Tensor]] = {}
        self.disturb = disturb

    def on_fit_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Watch the generator."""

        def keep(_: torch.nn.Module, inputs: tuple[Tensor]) -> None:
            self.by_step.setdefault(trainer.global_step, []).append(inputs[0].clone())

        pl_module.generator.register_forward_pre_hook(keep)

    def on_train_batch_end(self, *_: Any) -> None:
        """Use up random numbers."""
        if self.disturb:
            torch.rand(17)


class Updates(pl.Callback):
    """Keeps the whole state and all gradients before and after every optimizer step."""

    def __init__(self) -> None:
        self.states: list[State] = []
        self.gradients: list[State] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Watch both optimizers."""

        def keep(*_: Any) -> None:
            self.states.append(snapshot(pl_module))
            named = pl_module.named_parameters()
            self.gradients.append({n: p.grad.clone() for n, p in named if p.grad is not None})

        keep()
        for optimizer in trainer.optimizers:
            optimizer.register_step_post_hook(keep)


# ---- who changes when ------------------------------------------------------------------------


def test_each_update_changes_its_own_networks_weights(
    build: Build, batches: Batches, fit: Fit
) -> None:
    """D's update leaves G's weights bit-identical, G's update those of D and Q, and gradients too.

    The batch-norm statistics do follow every pass, as in the original: those of G in D's update,
    and those of D (not of Q's unused half) in G's.
    """
    updates = Updates()
    module = build()
    fit(module, batches(), callbacks=[updates])
    weights = {name for name, _ in module.named_parameters()}
    start, after_discriminator, after_generator = updates.states
    own = {name for name in weights if not name.startswith("generator.")}

    first = changed(start, after_discriminator)
    assert first & weights == own
    assert first - weights == {n for n in start if "running" in n or "num_batches" in n}

    second = changed(after_discriminator, after_generator)
    assert second & weights == weights - own
    assert second - weights == {n for n in start if "running" in n or "num_batches" in n}

    assert updates.gradients[1].keys() == own
    assert not changed(updates.gradients[1], {**updates.gradients[2]})
    assert updates.gradients[2].keys() == weights


def test_statistics_follow_every_pass(build: Build, batches: Batches, fit: Fit) -> None:
    """A batch counts once for G in either update; for D real and fake, then fake again."""
    module = build()
    fit(module, batches())
    state = module.state_dict()
    assert state["generator.dense.1.num_batches_tracked"] == 2
    assert state["discriminator.trunk.norm3.num_batches_tracked"] == 3
    assert state["recognition_head.norm.num_batches_tracked"] == 2


def test_everything_is_trainable_after_a_fit(build: Build, batches: Batches, fit: Fit) -> None:
    """Freezing ends with each update."""
    module = build()
    fit(module, batches(2))
    assert all(parameter.requires_grad for parameter in module.parameters())


def test_batches_are_left_as_they_were(build: Build, batches: Batches, fit: Fit) -> None:
    """The penalty's gradient does not stay on the loader's tensors."""
    (images,) = batches()
    before = images.clone()
    fit(build(r1_weight=1.0, instance_noise_std=0.1), [images])
    assert torch.equal(images, before)
    fit(build(r1_weight=1.0), [images])
    assert torch.equal(images, before)
    assert not images.requires_grad
    assert images.grad is None


def test_codes_without_information_are_only_input(build: Build, batches: Batches, fit: Fit) -> None:
    """A vanilla GAN takes codes or none; its latents hold them."""
    codes: list[list[LatentCode]] = [[], [CategoricalCode(5)]]
    for given in codes:
        module = build(VanillaGANModule, codes=given)
        fit(module, batches())
        assert module(torch.randn(2, module.latents.dim)).shape == (2, 1, 8, 8)
        assert module.latents.dim == 3 + sum(code.dim for code in given)
        assert "mi" not in module.scalars


# ---- steps -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("discriminator_updates", "generator_updates"), [(1, 1), (2, 1), (1, 3), (3, 2)]
)
def test_global_step_counts_batches(
    discriminator_updates: int, generator_updates: int, build: Build, batches: Batches, fit: Fit
) -> None:
    """Each batch is one step of the trainer, whatever its number of updates."""
    module = build(
        num_discriminator_updates=discriminator_updates, num_generator_updates=generator_updates
    )
    steps: list[int] = []
    watch = pl.callbacks.LambdaCallback(
        on_train_batch_end=lambda trainer, *_: steps.append(trainer.global_step)
    )
    trainer = fit(module, batches(3, size=4), max_steps=5, callbacks=[watch])
    assert steps == [1, 2, 3, 4, 5]
    updates = [
        {int(state["step"]) for state in optimizer.state.values()}
        for optimizer in trainer.optimizers
    ]
    assert updates == [{5 * discriminator_updates}, {5 * generator_updates}]


def test_scalars_are_logged_by_batch(
    tmp_path: Path, build: Build, batches: Batches, fit: Fit
) -> None:
    """The x-axis counts batches, and the design's names are there, finite, without gradient."""
    logger = CSVLogger(tmp_path)
    fit(build(), batches(6, size=4), logger=logger, log_every_n_steps=2)
    lines = Path(logger.log_dir, "metrics.csv").read_text().splitlines()
    table = [dict(zip(lines[0].split(","), line.split(","), strict=True)) for line in lines[1:]]
    assert [int(row["step"]) for row in table] == [2, 4, 6]
    names = [
        *("discriminator_loss", "generator_loss", "d_real", "d_fake", "jsd", "images_per_second"),
        *("mi", "mi_categorical", "mi_continuous", "mi_gaussian_prior", "code_entropy"),
        "cross_entropy",
    ]
    for row in table:
        for name in names:
            assert np.isfinite(float(row[f"train/{name}"])), name
        assert 0 < float(row["train/d_real"]) < 1
        assert float(row["train/images_per_second"]) > 0
        total = float(row["train/mi_categorical"]) + float(row["train/mi_continuous"])
        assert float(row["train/mi"]) == pytest.approx(total, abs=1e-5)


def test_a_run_without_a_logger_frequency_logs_nothing(
    build: Build, batches: Batches, fit: Fit
) -> None:
    """log_every_n_steps 0 is Lightning's way to log nothing."""
    trainer = fit(build(), batches(2, size=4), log_every_n_steps=0)
    assert not trainer.logged_metrics


# ---- seeds -----------------------------------------------------------------------------------


def test_two_fits_with_one_seed_are_identical(
    build: Build, batches: Batches, fit: Fit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The weights are a function of the seed; another seed gives others."""
    states = []
    for seed in ("7", "7", "8"):
        monkeypatch.setenv("PL_GLOBAL_SEED", seed)
        module = build(instance_noise_std=0.1)
        fit(module, batches(3))
        states.append(snapshot(module))
    assert not changed(states[0], states[1])
    assert changed(states[0], states[2]) >= {name for name, _ in module.named_parameters()}


def test_without_a_global_seed_the_random_state_is_the_seed(
    build: Build, batches: Batches, fit: Fit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run from Python that never called seed_everything follows torch.manual_seed."""
    monkeypatch.delenv("PL_GLOBAL_SEED")
    states = []
    for seed in (3, 3, 4):
        module = build()
        torch.manual_seed(seed)
        fit(module, batches())
        states.append(snapshot(module))
    assert not changed(states[0], states[1])
    assert changed(states[0], states[2])


def test_latents_depend_on_the_step_alone(
    tmp_path: Path, build: Build, batches: Batches, fit: Fit
) -> None:
    """Neither earlier random draws nor a resumed run change the latents of a step."""
    calm, disturbed, resumed = Latents(), Latents(disturb=True), Latents()
    path = tmp_path / "second.ckpt"
    fit(build(), batches(4), callbacks=[calm])
    fit(build(r1_weight=1.0), batches(2), callbacks=[disturbed]).save_checkpoint(path)
    fit(build(), batches(4), callbacks=[resumed], ckpt=path)
    assert calm.by_step.keys() == {0, 1, 2, 3}
    assert disturbed.by_step.keys() == {0, 1}
    assert resumed.by_step.keys() == {2, 3}
    for step, latents in (disturbed.by_step | resumed.by_step).items():
        assert len(latents) == 2
        for one, two in zip(calm.by_step[step], latents, strict=True):
            assert torch.equal(one, two)
    distinct = [latent for latents in calm.by_step.values() for latent in latents]
    assert not any(torch.equal(a, b) for a, b in itertools.combinations(distinct, 2))


def test_ranks_draw_different_latents(
    build: Build, batches: Batches, fit: Fit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The step's seed depends on the rank."""
    module = build()
    fit(module, batches())
    draws = []
    for rank in (0, 1, 0):
        monkeypatch.setattr(GANModule, "global_rank", rank)
        module.on_train_batch_start(None, 0)
        draws.append(module.latents.sample(4))
    assert torch.equal(draws[0], draws[2])
    assert not torch.equal(draws[0], draws[1])
