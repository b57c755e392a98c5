"""The objectives against the paper's formulas, scipy and closed forms."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError
from scipy.spatial.distance import jensenshannon
from torch import Tensor

from infogan.latents import BernoulliCode, CategoricalCode, LatentSpec, NormalCode, UniformCode
from infogan.objectives import (
    GENERATOR_LOSSES,
    clustering_loss,
    code_information,
    discriminator_loss,
    jensen_shannon_estimate,
    minimax_generator_loss,
    mutual_information_lower_bound,
    non_saturating_generator_loss,
)

LN2 = math.log(2)


def logits(num: int = 64) -> Tensor:
    """Return random logits."""
    return 4 * torch.randn(num, 1, dtype=torch.float64)


# ---- adversarial losses ----------------------------------------------------------------------


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_discriminator_loss_is_equation_1(smoothing: float) -> None:
    """D's loss is -V(D, G) with probabilities, and target 1 - smoothing on real images."""
    real, fake = logits(64), logits(48)
    d_real, d_fake, a = real.sigmoid(), fake.sigmoid(), 1 - smoothing
    value = (a * d_real.log() + (1 - a) * (1 - d_real).log()).mean() + (1 - d_fake).log().mean()
    torch.testing.assert_close(discriminator_loss(real, fake, smoothing), -value)


@pytest.mark.parametrize("smoothing", [0.1, 0.25])
def test_smoothed_optimum_is_the_smoothed_label(smoothing: float) -> None:
    """On real images alone the best D says 1 - smoothing, where the loss is its entropy."""
    a = 1 - smoothing
    best = torch.full((1, 1), math.log(a / smoothing), dtype=torch.float64, requires_grad=True)
    silent = torch.full((1, 1), -1e4, dtype=torch.float64)
    loss = discriminator_loss(best, silent, smoothing)
    loss.backward()
    entropy = -a * math.log(a) - smoothing * math.log(smoothing)
    assert loss.item() == pytest.approx(entropy)
    assert best.grad is not None
    assert best.grad.item() == pytest.approx(0, abs=1e-12)


def test_generator_losses_are_the_papers() -> None:
    """The losses are -E[log D(G)] and E[log(1 - D(G))], and are found by name."""
    fake = logits()
    torch.testing.assert_close(non_saturating_generator_loss(fake), -fake.sigmoid().log().mean())
    torch.testing.assert_close(minimax_generator_loss(fake), (1 - fake.sigmoid()).log().mean())
    assert GENERATOR_LOSSES["non_saturating"] is non_saturating_generator_loss
    assert GENERATOR_LOSSES["minimax"] is minimax_generator_loss


def test_only_the_non_saturating_gradient_survives_a_strong_discriminator() -> None:
    """The gradients are -(1 - D) and -D: both pull D(G) up, minimax not where D is sure."""
    fake = torch.tensor([[-12.0], [0.0], [3.0]], dtype=torch.float64, requires_grad=True)
    d = fake.detach().sigmoid()
    for loss, expected in (
        (non_saturating_generator_loss, -(1 - d)),
        (minimax_generator_loss, -d),
    ):
        (gradient,) = torch.autograd.grad(loss(fake), fake)
        torch.testing.assert_close(gradient, expected / 3)


@pytest.mark.parametrize("sign", [-1, 1])
def test_losses_are_finite_at_extreme_logits(sign: int) -> None:
    """Losses and gradients are finite, and right, at logits of 1e4 in float32."""
    extreme = torch.full((4, 1), sign * 1e4, requires_grad=True)
    cost = 1e4 if sign < 0 else 0.0
    losses = {
        "real": (discriminator_loss(extreme, torch.full((4, 1), -1e4)), cost),
        "smoothed": (
            discriminator_loss(extreme, torch.full((4, 1), -1e4), 0.1),
            9e3 if cost else 1e3,
        ),
        "fake": (discriminator_loss(torch.full((4, 1), 1e4), extreme), 1e4 - cost),
        "non_saturating": (non_saturating_generator_loss(extreme), cost),
        "minimax": (minimax_generator_loss(extreme), cost - 1e4),
    }
    for name, (loss, expected) in losses.items():
        assert loss.item() == pytest.approx(expected), name
        assert torch.autograd.grad(loss, extreme)[0].isfinite().all(), name


def test_shapes_are_checked() -> None:
    """The tests run with the annotated shapes enforced: a flat vector of logits is refused."""
    with pytest.raises(TypeCheckError):
        discriminator_loss(torch.zeros(8), torch.zeros(8, 1))


# ---- Jensen-Shannon divergence ---------------------------------------------------------------

COUNTS = [
    ([5, 3, 2], [1, 4, 5]),
    ([1, 1, 1, 1], [4, 2, 1, 1]),
    ([2, 8], [2, 8]),
]


def observe(values: Tensor, counts: list[int]) -> Tensor:
    """Return each outcome's value as often as it was counted, (sum of counts, 1)."""
    return values.repeat_interleave(torch.tensor(counts)).unsqueeze(1)


@pytest.mark.parametrize(("p", "q"), COUNTS)
def test_jsd_estimate_is_exact_at_the_optimal_discriminator(p: list[int], q: list[int]) -> None:
    """With D = p / (p + q) the estimate is scipy's divergence of the two distributions."""
    ratio = torch.tensor(p) * sum(q) / (torch.tensor(q) * sum(p))
    optimal = ratio.double().log()
    estimate = jensen_shannon_estimate(observe(optimal, p), observe(optimal, q))
    assert estimate.item() == pytest.approx(jensenshannon(p, q) ** 2, abs=1e-6)


@pytest.mark.parametrize(("p", "q"), COUNTS)
def test_jsd_estimate_is_a_lower_bound(p: list[int], q: list[int]) -> None:
    """No other D makes the estimate exceed the divergence."""
    for _ in range(200):
        other = torch.randn(len(p), dtype=torch.float64)
        estimate = jensen_shannon_estimate(observe(other, p), observe(other, q))
        assert estimate.item() < jensenshannon(p, q) ** 2


def test_jsd_estimate_tops_out_at_ln_2() -> None:
    """A D that tells the two apart perfectly reads ln 2, a blind one 0."""
    sure, blind = torch.full((2, 1), 1e4), torch.zeros(2, 1)
    assert jensen_shannon_estimate(sure, -sure).item() == pytest.approx(LN2)
    assert jensen_shannon_estimate(blind, blind).item() == pytest.approx(0, abs=1e-7)


# ---- mutual information ----------------------------------------------------------------------


def binary_entropy(p: float) -> float:
    """Return the entropy of a coin, in nats."""
    return -p * math.log(p) - (1 - p) * math.log(1 - p)


# A binary symmetric channel that flips a tenth of a fair bit: (c, g) in the exact proportions.
SENT = torch.tensor([0] * 50 + [1] * 50)
RECEIVED = torch.tensor([0] * 45 + [1] * 5 + [1] * 45 + [0] * 5)
FLIP = 0.1


def categorical_channel(log_odds: float) -> tuple[LatentSpec, Tensor, Tensor]:
    """Return the channel as a categorical code, and Q's trust in the bit that it received."""
    latent = torch.nn.functional.one_hot(SENT, 2).double()
    logit = log_odds * (2 * RECEIVED.double() - 1)
    return LatentSpec(0, (CategoricalCode(2),)), latent, torch.stack([0 * logit, logit], dim=1)


def bernoulli_channel(log_odds: float) -> tuple[LatentSpec, Tensor, Tensor]:
    """Return the channel as a Bernoulli code."""
    logit = log_odds * (2 * RECEIVED.double() - 1)
    return LatentSpec(0, (BernoulliCode(),)), SENT.double().unsqueeze(1), logit.unsqueeze(1)


Channel = Callable[[float], tuple[LatentSpec, Tensor, Tensor]]
TRUE_LOG_ODDS = math.log((1 - FLIP) / FLIP)


@pytest.mark.parametrize("channel", [categorical_channel, bernoulli_channel])
def test_bound_is_tight_for_the_true_posterior(channel: Channel) -> None:
    """With Q the true posterior the bound is I(c; g) = ln 2 - h(flip)."""
    bound = mutual_information_lower_bound(*channel(TRUE_LOG_ODDS))
    assert bound.item() == pytest.approx(LN2 - binary_entropy(FLIP), abs=1e-6)


@pytest.mark.parametrize("channel", [categorical_channel, bernoulli_channel])
@pytest.mark.parametrize("error", [-5.0, -1.0, -0.1, 0.1, 1.0, 5.0])
def test_bound_is_lower_for_any_other_posterior(channel: Channel, error: float) -> None:
    """A more or a less confident Q gives less, and less by exactly KL(posterior || Q)."""
    spec, latent, parameters = channel(TRUE_LOG_ODDS + error)
    q = 1 / (1 + math.exp(-(TRUE_LOG_ODDS + error)))
    divergence = (1 - FLIP) * math.log((1 - FLIP) / q) + FLIP * math.log(FLIP / (1 - q))
    bound = mutual_information_lower_bound(spec, latent, parameters)
    assert divergence > 0
    assert bound.item() == pytest.approx(LN2 - binary_entropy(FLIP) - divergence, abs=1e-6)


def test_bound_of_a_gaussian_channel() -> None:
    """For g = c + noise, all Gaussian, the true posterior gives ln(1 + snr) / 2."""
    num, noise_std = 200_000, 0.5
    gain, posterior_std = 1 / (1 + noise_std**2), noise_std / math.sqrt(1 + noise_std**2)
    spec = LatentSpec(0, (NormalCode(posterior_std=posterior_std),))
    code = spec.sample(num)
    received = code + noise_std * torch.randn(num, 1)
    bound = mutual_information_lower_bound(spec, code, gain * received).item()
    assert bound == pytest.approx(0.5 * math.log(1 + 1 / noise_std**2), abs=0.01)
    assert mutual_information_lower_bound(spec, code, received).item() < bound - 0.05


def test_terms_of_equation_4_by_code() -> None:
    """Entropy is the prior's, cross entropy Q's, by code; their difference is the bound."""
    spec = LatentSpec(
        2, (CategoricalCode(10), UniformCode(low=0.0, high=3.0), BernoulliCode(0.2), NormalCode())
    )
    latent = spec.sample(64)
    parameters = torch.randn(64, spec.num_parameters)
    information = code_information(spec, latent, parameters)
    entropies = [
        math.log(10),
        math.log(3),
        binary_entropy(0.2),
        0.5 * math.log(2 * math.pi * math.e),
    ]
    assert information.entropy.tolist() == pytest.approx(entropies)
    for i, (code, c, q) in enumerate(
        zip(spec.codes, spec.split_codes(latent), spec.split_parameters(parameters), strict=True)
    ):
        cross_entropy = -code.posterior_log_prob(c, q).mean()
        torch.testing.assert_close(information.cross_entropy[i], cross_entropy)
        torch.testing.assert_close(
            information.reference_entropy[i], -code.reference_log_prob(c).mean()
        )
    torch.testing.assert_close(
        information.lower_bound, information.entropy - information.cross_entropy
    )
    torch.testing.assert_close(
        information.gaussian_prior_estimate,
        information.reference_entropy - information.cross_entropy,
    )
    torch.testing.assert_close(
        mutual_information_lower_bound(spec, latent, parameters), information.lower_bound.sum()
    )


@pytest.mark.parametrize("num_categories", [2, 10, 100])
def test_categorical_bound_lies_between_blind_and_exact(num_categories: int) -> None:
    """An exact Q reads ln K, a blind one 0."""
    spec = LatentSpec(0, (CategoricalCode(num_categories),))
    code = torch.eye(num_categories)
    assert mutual_information_lower_bound(spec, code, 100 * code).item() == pytest.approx(
        math.log(num_categories)
    )
    assert mutual_information_lower_bound(spec, code, 0 * code).item() == pytest.approx(0, abs=1e-6)


def test_gaussian_prior_estimate_tops_out_where_the_papers_curve_does() -> None:
    """Exact reading gives ln 10 + 2 / 6 = 2.636 nats, while the true bound is another number."""
    spec = LatentSpec(0, (CategoricalCode(10), UniformCode(), UniformCode()))
    num = 1000
    walk = torch.from_numpy((np.arange(num) + 0.5) / num * 2 - 1).double()
    category = torch.nn.functional.one_hot(torch.arange(num) % 10, 10).double()
    code = torch.cat([category, walk[:, None], walk.flip(0)[:, None]], dim=1)
    exact = torch.cat([1e4 * category, code[:, 10:]], dim=1)
    information = code_information(spec, code, exact)
    assert information.gaussian_prior_estimate.sum().item() == pytest.approx(2.636, abs=1e-3)
    continuous = LN2 - 0.5 * math.log(2 * math.pi)
    assert information.lower_bound.tolist() == pytest.approx(
        [math.log(10), continuous, continuous], abs=1e-6
    )


def test_clustering_loss_is_its_definition_and_finite_for_large_logits() -> None:
    first, second = torch.randn(6, 4, dtype=torch.float64), torch.randn(3, 4, dtype=torch.float64)
    p, q = first.softmax(dim=1), second.softmax(dim=1)
    agreement = -(p[:3] * q.log()).sum(dim=1).mean()
    uncertainty = torch.distributions.Categorical(p).entropy().mean()
    balance = torch.distributions.Categorical(p.mean(dim=0)).entropy()
    expected = agreement + uncertainty - 2.5 * balance
    torch.testing.assert_close(clustering_loss(first, second, 2.5), expected)
    extreme = (1e4 * torch.eye(4)).requires_grad_()
    loss = clustering_loss(extreme, extreme.detach(), 1.0)
    # Certain, equally often, alike: minus the entropy of four categories.
    torch.testing.assert_close(loss, torch.tensor(-math.log(4)))
    loss.backward()
    assert extreme.grad is not None and extreme.grad.isfinite().all()


def test_clustering_loss_moves_the_second_view_towards_the_first() -> None:
    first, second = torch.randn(5, 3).requires_grad_(), torch.randn(5, 3).requires_grad_()
    clustering_loss(first, second, 0.0).backward()
    assert second.grad is not None and first.grad is not None
    # d/dq of the cross entropy is q - p; p feels its own entropy alone.
    torch.testing.assert_close(second.grad, (second.softmax(1) - first.softmax(1)).detach() / 5)
    alone = first.detach().clone().requires_grad_()
    torch.distributions.Categorical(logits=alone).entropy().mean().backward()
    assert alone.grad is not None
    torch.testing.assert_close(first.grad, alone.grad)
