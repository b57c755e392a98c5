"""The ways in which the game of G and D ends early are noticed; a healthy run goes on."""

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from pytorch_lightning.loggers import CSVLogger
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer

from infogan.callbacks.collapse import CollapseStopping, WindowMeans, probe, rms_std
from infogan.callbacks.stopping import RunStoppedError
from infogan.runtime.strategies import AlternatingDDPStrategy
from tests.support.small_gan import (
    Script,
    bars,
    fit,
    gan,
    let_discriminator_win,
    run_on_two_ranks,
)

HEALTHY = WindowMeans(
    d_real=0.7,
    d_fake=0.3,
    discriminator_loss=0.7,
    gradient_norm=2.0,
    fake_std=0.2,
    real_std=0.25,
)


# ---- the signs ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("signs", "outcome", "reason"),
    [
        ({}, None, ""),
        ({"d_fake": 0.006}, "discriminator_won", "d_fake / d_real = 0.0086 < 0.01 over 100"),
        ({"d_fake": 0.008}, None, ""),
        ({"discriminator_loss": 0.009}, "discriminator_won", "discriminator_loss = 0.009 < 0.01"),
        ({"discriminator_loss": 0.011}, None, ""),
        ({"d_real": 0.0, "d_fake": 0.0}, None, ""),
        ({"d_real": 0.51, "d_fake": 0.49}, None, ""),
        ({"gradient_norm": 9e-4}, None, ""),
        (
            {"d_real": 0.51, "d_fake": 0.49, "gradient_norm": 9e-4},
            "discriminator_at_chance",
            "d_real = 0.510, d_fake = 0.490 and the norm of D's gradient by the image = 0.0009 < ",
        ),
        ({"d_real": 0.53, "d_fake": 0.49, "gradient_norm": 9e-4}, None, ""),
        ({"fake_std": 0.004}, "mode_collapse", "std of generated / std of real images = 0.016 <"),
        ({"fake_std": 0.006}, None, ""),
        ({"fake_std": 0.0, "real_std": 0.0}, None, ""),
        (dict.fromkeys(WindowMeans._fields, float("nan")), None, ""),
    ],
)
def test_what_the_signs_mean(signs: dict[str, float], outcome: str | None, reason: str) -> None:
    outcomes = list(CollapseStopping().outcomes(HEALTHY._replace(**signs)))
    assert [found for found, _ in outcomes] == ([outcome] if outcome else [])
    assert all(text.startswith(reason) for _, text in outcomes)


@pytest.mark.parametrize(
    ("threshold", "signs"),
    [
        ("ratio_threshold", {"d_fake": 0.0}),
        ("loss_threshold", {"discriminator_loss": 0.0}),
        ("gradient_threshold", {"d_real": 0.5, "d_fake": 0.5, "gradient_norm": 0.0}),
        ("diversity_threshold", {"fake_std": 0.0}),
    ],
)
def test_every_sign_can_be_turned_off(threshold: str, signs: dict[str, float]) -> None:
    assert list(CollapseStopping().outcomes(HEALTHY._replace(**signs)))
    off: dict[str, Any] = {threshold: None}
    assert not list(CollapseStopping(**off).outcomes(HEALTHY._replace(**signs)))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"action": "halt"}, "action must be 'stop' or 'warn', got 'halt'"),
        ({"window": 0}, "window must be at least 1, got 0"),
        ({"warmup_steps": -1}, "warmup_steps must be at least 0, got -1"),
        ({"every_n_steps": 0}, "every_n_steps must be at least 1, got 0"),
        ({"num_images": 1}, "num_images must be at least 2, got 1"),
        ({"chance_tolerance": -0.1}, "chance_tolerance must be at least 0, got -0.1"),
        ({"ratio_threshold": 0}, "ratio_threshold must be positive, got 0; null turns it off"),
        ({"loss_threshold": -1}, "loss_threshold must be positive, got -1; null turns it off"),
    ],
)
def test_wrong_options_are_refused_in_one_line(option: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CollapseStopping(**option)


# ---- the window --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("is_bad", "stops_at"),
    [
        # The window holds 6 batches after the 5 of the warm-up, looked at every 2.
        (lambda step: True, 12),
        (lambda step: step >= 7, 12),
        (lambda step: step >= 8, 14),
        (lambda step: step >= 11, 16),
        (lambda step: step <= 9, None),
        (lambda step: step % 6 != 0, None),
        (lambda step: False, None),
    ],
)
def test_a_sign_must_fill_the_window(is_bad: Callable[[int], bool], stops_at: int | None) -> None:
    stopping = CollapseStopping(window=6, warmup_steps=5, every_n_steps=2)
    module = gan()
    try:
        fit(module, Script(is_bad), stopping, steps=20)
        stopped_at = None
    except RunStoppedError as stopped:
        stopped_at = stopped.step
        assert stopped.outcome == stopping.outcome == "discriminator_won"
        assert stopped.reason == stopping.reason
    assert stopped_at == stops_at
    assert module.global_step == (stops_at or 20)


def test_a_second_fit_starts_with_an_empty_window() -> None:
    stopping = CollapseStopping(window=6, warmup_steps=0, every_n_steps=1)
    for _ in range(2):
        with pytest.raises(RunStoppedError) as stopped:
            fit(gan(), Script(lambda step: True), stopping)
        assert stopped.value.step == 6


def test_a_warning_is_given_once_and_the_run_goes_on(tmp_path: Path) -> None:
    stopping = CollapseStopping("warn", window=2, warmup_steps=0, every_n_steps=2)
    logger = CSVLogger(tmp_path)
    with pytest.warns(UserWarning, match="^discriminator_won: d_fake / d_real = 0 <") as warned:
        fit(gan(), Script(lambda step: True), stopping, logger=logger)
    assert sum("discriminator_won" in str(warning.message) for warning in warned) == 1
    assert list(stopping.warnings) == ["discriminator_won"]
    assert stopping.warnings["discriminator_won"].endswith("over 2 batches at step 2")
    assert (stopping.outcome, stopping.reason) == (None, None)
    with Path(logger.log_dir, "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows if row["stop/discriminator_won"]] == ["2"]
    assert rows[-1]["step"] == "8"


def test_a_checkpoint_after_an_exception_waits_for_no_other_rank(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They may be anywhere then."""

    class Trainer:
        strategy = AlternatingDDPStrategy()

    monkeypatch.setattr(AlternatingDDPStrategy, "is_interrupted", True)
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    checkpoint: dict[str, Any] = {}
    stopping, trainer = CollapseStopping(), cast(Any, Trainer())
    stopping.recorded.append(torch.tensor([0.1, 0.2, 0.3]))
    stopping.on_save_checkpoint(trainer, gan(), checkpoint)
    assert list(checkpoint["collapse_window"]) == ["recorded"]
    assert checkpoint["collapse_window"]["recorded"].tolist() == [pytest.approx([0.1, 0.2, 0.3])]


# ---- the probe ---------------------------------------------------------------------------------


class LinearDiscriminator(nn.Module):
    """Its logit is half the sum of the pixels."""

    def trunk(self, *batches: Tensor) -> list[Tensor]:
        return [batch.flatten(1) for batch in batches]

    def logits(self, features: Tensor) -> Tensor:
        return 0.5 * features.sum(dim=1)


def test_the_probe_measures_a_linear_discriminator_exactly() -> None:
    module, discriminator = gan(), LinearDiscriminator()
    module.discriminator = cast(Any, discriminator)
    real = bars()
    gradient_norm, fake_std, real_std = probe(module, real, 16).tolist()
    assert gradient_norm == pytest.approx(0.5 * 64**0.5)
    assert real_std == pytest.approx(real.var(dim=0).mean().item() ** 0.5)
    assert 0 < fake_std < real_std


def test_equal_images_have_no_diversity() -> None:
    assert rms_std(bars()[:1].expand(8, -1, -1, -1)) == 0


def test_the_training_is_the_same_with_and_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")
    looking = CollapseStopping("warn", window=2, warmup_steps=0, every_n_steps=1)
    modules = [gan(), gan()]
    for module, callbacks in zip(modules, ([], [looking]), strict=True):
        fit(module, *callbacks)
    assert len(looking.probed) == 2
    without, watched = (module.state_dict() for module in modules)
    assert all(torch.equal(value, watched[name]) for name, value in without.items())
    assert all(
        a.grad is b.grad or torch.equal(a.grad, b.grad)
        for a, b in zip(*(module.parameters() for module in modules), strict=True)
    )
    assert all(part.training for part in modules[1].modules())


# ---- real runs ---------------------------------------------------------------------------------


def short_sighted() -> CollapseStopping:
    """Return options for runs of some hundred batches; in healthy ones the ratio is above 0.4."""
    return CollapseStopping(ratio_threshold=0.05, window=20, warmup_steps=20, every_n_steps=10)


def decay(parameters: Iterator[Tensor]) -> Optimizer:
    return SGD(parameters, 0.1, weight_decay=5.0)


@pytest.mark.parametrize(
    ("optimizers", "outcome"),
    [
        # D wins against a G that does not learn; D or G decays to a constant.
        (
            {
                "discriminator": lambda p: Adam(p, 2e-2, betas=(0.5, 0.999)),
                "generator": lambda p: SGD(p, 1e-12),
            },
            "discriminator_won",
        ),
        ({"discriminator": decay}, "discriminator_at_chance"),
        ({"generator": decay}, "mode_collapse"),
    ],
)
def test_a_run_that_is_made_to_collapse_stops(
    optimizers: dict[str, Callable[[Iterator[Tensor]], Optimizer]], outcome: str
) -> None:
    module = gan(**{f"{network}_optimizer": of for network, of in optimizers.items()})
    with pytest.raises(RunStoppedError) as stopped:
        fit(module, short_sighted(), steps=200)
    assert stopped.value.outcome == outcome


def test_a_healthy_run_does_not_stop() -> None:
    stopping = short_sighted()
    assert fit(gan(), stopping, steps=100).global_step == 100
    assert len(stopping.recorded) == 20


# ---- two processes -----------------------------------------------------------------------------


@pytest.mark.integration
def test_two_ranks_judge_by_their_mean_and_stop_together(tmp_path: Path) -> None:
    first, second = run_on_two_ranks(let_discriminator_win, tmp_path)
    assert first == second
    assert first[0] == 3
    assert first[1].startswith("run stopped at step 6 (discriminator_won): d_fake / d_real = 0 <")
