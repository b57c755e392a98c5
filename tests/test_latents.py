"""The codes against torch.distributions, and the layout of the generator's input."""

import math
from collections.abc import Callable
from typing import Any

import jaxtyping
import pytest
import torch
from torch import Tensor
from torch.distributions import (
    Bernoulli,
    Distribution,
    Independent,
    Normal,
    OneHotCategorical,
    Uniform,
)

from infogan.latents import (
    BernoulliCode,
    CategoricalCode,
    ContinuousCode,
    LatentCode,
    LatentSpec,
    NormalCode,
    UniformCode,
    code_names,
)


def column(distribution: Distribution) -> Distribution:
    """Return the distribution of a (batch, 1) column."""
    return Independent(distribution, 1)


PRIORS: list[tuple[LatentCode, Distribution]] = [
    (CategoricalCode(2), OneHotCategorical(torch.ones(2))),
    (CategoricalCode(10), OneHotCategorical(torch.ones(10))),
    (BernoulliCode(), column(Bernoulli(torch.tensor([0.5])))),
    (BernoulliCode(0.2), column(Bernoulli(torch.tensor([0.2])))),
    (UniformCode(), column(Uniform(torch.tensor([-1.0]), torch.tensor([1.0])))),
    (UniformCode(low=2, high=7), column(Uniform(torch.tensor([2.0]), torch.tensor([7.0])))),
    (NormalCode(), column(Normal(torch.tensor([0.0]), torch.tensor([1.0])))),
    (NormalCode(mean=-3, std=0.4), column(Normal(torch.tensor([-3.0]), torch.tensor([0.4])))),
]
CODES = [code for code, _ in PRIORS]
every_prior = pytest.mark.parametrize(("code", "prior"), PRIORS, ids=map(str, CODES))
every_code = pytest.mark.parametrize("code", CODES, ids=str)


def inside(value: Tensor, distribution: Distribution) -> bool:
    """Return whether all values lie in the distribution's support."""
    assert distribution.support is not None
    return bool(distribution.support.check(value).all())


def posterior(code: LatentCode, parameters: Tensor) -> Distribution:
    """Return Q(c|x) as torch writes it."""
    if isinstance(code, CategoricalCode):
        return OneHotCategorical(logits=parameters)
    if isinstance(code, BernoulliCode):
        return column(Bernoulli(logits=parameters))
    assert isinstance(code, ContinuousCode)
    std = torch.full_like(parameters[:, :1], code.posterior_std)
    if code.learn_std:
        std = parameters[:, 1:].exp().clamp(code.min_std, code.max_std)
    return column(Normal(parameters[:, :1], std))


# ---- the prior -------------------------------------------------------------------------------


@every_prior
def test_log_prob_is_torchs(code: LatentCode, prior: Distribution) -> None:
    """The prior's log-probability is that of torch.distributions."""
    value = prior.sample((200,))
    torch.testing.assert_close(code.log_prob(value), prior.log_prob(value))


@every_prior
def test_entropy_is_torchs(code: LatentCode, prior: Distribution) -> None:
    """The prior's entropy is that of torch.distributions, in nats."""
    assert code.entropy == pytest.approx(prior.entropy().item(), abs=1e-6)


@every_prior
def test_samples_follow_the_prior(code: LatentCode, prior: Distribution) -> None:
    """Samples lie in the prior's support and have its mean and covariance."""
    num = 40_000
    sample = code.sample(num)
    assert sample.shape == (num, code.dim)
    assert sample.dtype == torch.float32
    assert inside(sample, prior)
    std = prior.variance.sqrt()
    # five standard errors; the fourth moment of all these priors is at most 4 std^4
    assert ((sample.mean(0) - prior.mean).abs() < 5 * std / math.sqrt(num)).all()
    assert ((sample.var(0) - std**2).abs() < 5 * 2 * std**2 / math.sqrt(num)).all()


@every_code
def test_samples_come_from_the_global_stream(code: LatentCode) -> None:
    """One seed gives one sample, and the stream goes on."""
    torch.manual_seed(1)
    first, second = code.sample(50), code.sample(50)
    torch.manual_seed(1)
    assert torch.equal(code.sample(50), first)
    assert not torch.equal(first, second)


def test_a_uniform_code_has_no_mass_outside_its_range() -> None:
    """The density is 0 outside [low, high]."""
    log_prob = UniformCode(low=0, high=2).log_prob(torch.tensor([[-0.1], [1.0], [2.1]]))
    assert log_prob.tolist() == pytest.approx([-math.inf, -math.log(2), -math.inf])


@every_prior
def test_reference_scores_uniform_codes_under_a_gaussian(
    code: LatentCode, prior: Distribution
) -> None:
    """Only uniform codes are scored by the original under another prior, N(0, 1)."""
    value = code.sample(100)
    if isinstance(code, UniformCode):
        prior = column(Normal(torch.zeros(1), torch.ones(1)))
    torch.testing.assert_close(code.reference_log_prob(value), prior.log_prob(value))


# ---- the posterior ---------------------------------------------------------------------------

LEARNED: list[LatentCode] = [
    UniformCode(learn_std=True),
    NormalCode(learn_std=True, min_std=0.3, max_std=0.7),
    UniformCode(posterior_std=0.25),
]
every_posterior = pytest.mark.parametrize("code", CODES + LEARNED, ids=str)


@every_posterior
def test_posterior_log_prob_is_torchs(code: LatentCode, float64: None) -> None:
    """Q's log-probability is that of torch.distributions, a learned std within its clamp."""
    value = code.sample(300).double()
    parameters = 3 * torch.randn(300, code.num_parameters)
    expected = posterior(code, parameters).log_prob(value)
    torch.testing.assert_close(code.posterior_log_prob(value, parameters), expected)


@every_posterior
def test_posterior_mode_is_the_likeliest_value(code: LatentCode) -> None:
    """No other value is likelier under Q than the mode, which has the code's format."""
    parameters = 3 * torch.randn(200, code.num_parameters)
    mode = code.posterior_mode(parameters)
    assert mode.shape == (200, code.dim)
    best = code.posterior_log_prob(mode, parameters)
    for _ in range(20):
        assert (code.posterior_log_prob(code.sample(200), parameters) <= best + 1e-6).all()


@pytest.mark.parametrize(("log_std", "std"), [(-9.0, 0.1), (0.0, 1.0), (9.0, 3.0)])
def test_learned_std_is_clamped(log_std: float, std: float) -> None:
    """The learned std is exp(log_std), at least min_std and at most max_std."""
    code = UniformCode(learn_std=True, min_std=0.1, max_std=3)
    mean, learned = code.posterior(torch.tensor([[0.5, log_std]]))
    assert mean.item() == 0.5
    assert learned.item() == pytest.approx(std)


def test_posterior_log_prob_is_finite_at_extreme_logits() -> None:
    """Confident and wrong costs many nats, not infinitely many."""
    one_hot, wrong = torch.tensor([[1.0, 0.0]]), torch.tensor([[-1e4, 1e4]])
    assert CategoricalCode(2).posterior_log_prob(one_hot, wrong).item() == pytest.approx(-2e4)
    one, low = torch.ones(1, 1), torch.full((1, 1), -1e4)
    assert BernoulliCode().posterior_log_prob(one, low).item() == pytest.approx(-1e4)


# ---- traversals ------------------------------------------------------------------------------


@every_code
def test_traversal_values_are_distinct_codes(code: LatentCode) -> None:
    """A traversal holds distinct values of the code's width, each with a name of its own."""
    values = code.traverse(7)
    assert values.shape[1] == code.dim
    assert len(values.unique(dim=0)) == len(values)
    assert len({code.label(value) for value in values}) == len(values)
    assert code.log_prob(values).isfinite().all()


@pytest.mark.parametrize("num_values", [2, 10])
def test_discrete_codes_show_every_value(num_values: int) -> None:
    """Discrete codes show all their values, whatever number is asked for."""
    assert torch.equal(CategoricalCode(5).traverse(num_values), torch.eye(5))
    assert BernoulliCode(0.1).traverse(num_values).tolist() == [[0.0], [1.0]]


def test_continuous_codes_span_their_range() -> None:
    """Uniform codes go from end to end, Gaussian ones two stds to either side."""
    torch.testing.assert_close(
        UniformCode(low=-2, high=4).traverse(4), torch.tensor([[-2.0], [0], [2], [4]])
    )
    torch.testing.assert_close(
        NormalCode(mean=1, std=0.5).traverse(3), torch.tensor([[0.0], [1], [2]])
    )


def test_labels() -> None:
    """Labels are a category's number, a bit, or a signed number."""
    assert CategoricalCode(3).label(torch.tensor([0.0, 0, 1])) == "2"
    assert BernoulliCode().label(torch.tensor([1.0])) == "1"
    assert UniformCode().label(torch.tensor([0.5])) == "+0.50"


# ---- LatentSpec ------------------------------------------------------------------------------

SPEC = LatentSpec(
    3, (CategoricalCode(4), UniformCode(), BernoulliCode(0.3), NormalCode(learn_std=True))
)


def test_spec_adds_up_its_codes() -> None:
    """Widths and entropies are sums over noise and codes."""
    assert SPEC.dim == 3 + 4 + 1 + 1 + 1
    assert SPEC.num_parameters == 4 + 1 + 1 + 2
    assert SPEC.entropy == pytest.approx(sum(code.entropy for code in SPEC.codes))


def test_sample_is_noise_then_codes() -> None:
    """A latent joins the noise and the codes, in order, and splits into the same codes."""
    latent = SPEC.sample(500)
    codes = SPEC.split_codes(latent)
    assert torch.equal(torch.cat([latent[:, :3], *codes], dim=1), latent)
    assert [tuple(c.shape) for c in codes] == [(500, code.dim) for code in SPEC.codes]
    assert torch.equal(codes[0].sum(dim=1), torch.ones(500))
    assert set(codes[2].unique().tolist()) == {0.0, 1.0}
    assert (codes[1].abs() <= 1).all()
    assert (codes[3].abs() > 1).any()


def test_parameters_split_by_code() -> None:
    """Q's output splits into each code's parameters, in order."""
    parameters = torch.arange(8.0).repeat(2, 1)
    parts = SPEC.split_parameters(parameters)
    assert [part[0].tolist() for part in parts] == [[0, 1, 2, 3], [4], [5], [6, 7]]


@pytest.mark.parametrize(
    ("distribution", "prior"), [("uniform", Uniform(-1.0, 1.0)), ("normal", Normal(0.0, 1.0))]
)
def test_noise_distribution(distribution: Any, prior: Distribution) -> None:
    """The noise is uniform on [-1, 1] or standard normal, independent by dimension."""
    spec = LatentSpec(2, (), distribution)
    noise = spec.sample(40_000)
    assert noise.shape == (40_000, 2)
    assert inside(noise, prior)
    torch.testing.assert_close(noise.T.cov(), prior.variance * torch.eye(2), atol=0.03, rtol=0)
    torch.testing.assert_close(noise.mean(0), torch.zeros(2), atol=0.025, rtol=0)


def test_a_spec_without_noise() -> None:
    """With noise_dim 0 the codes are the whole input."""
    spec = LatentSpec(0, (CategoricalCode(3), UniformCode()))
    latent = spec.sample(20)
    assert latent.shape == (20, 4)
    assert torch.equal(torch.cat(spec.split_codes(latent), dim=1), latent)


@pytest.mark.parametrize("code_index", range(4))
def test_traversal_changes_one_code_only(code_index: int) -> None:
    """Each base latent is kept, except for the one code, which walks through its values."""
    base = SPEC.sample(6)
    before = base.clone()
    values = SPEC.codes[code_index].traverse(5)
    grid = SPEC.traverse(base, code_index, 5)
    assert grid.shape == (len(values), 6, SPEC.dim)
    assert torch.equal(base, before)
    for row, value in zip(grid, values, strict=True):
        for index, (new, old) in enumerate(
            zip(SPEC.split_codes(row), SPEC.split_codes(base), strict=True)
        ):
            assert torch.equal(new, value.expand(6, -1) if index == code_index else old)
        assert torch.equal(row[:, :3], base[:, :3])


def test_code_names() -> None:
    """Codes are named by kind and position."""
    assert code_names(SPEC.codes) == ["categorical0", "uniform1", "bernoulli2", "normal3"]


# ---- errors ----------------------------------------------------------------------------------

UNKNOWN: Any = "gauss"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: CategoricalCode(1), ("num_categories", "1")),
        (lambda: BernoulliCode(0.0), ("probability", "0.0")),
        (lambda: BernoulliCode(1.0), ("probability", "1.0")),
        (lambda: UniformCode(low=1.0, high=1.0), ("low=1.0", "high=1.0")),
        (lambda: UniformCode(posterior_std=0.0), ("posterior_std", "0.0")),
        (lambda: UniformCode(posterior_std=math.nan), ("posterior_std", "nan")),
        (lambda: UniformCode(min_std=0.0), ("min_std", "0.0")),
        (lambda: UniformCode(min_std=3.0), ("min_std", "3.0", "2.0")),
        (lambda: NormalCode(std=-2.0), ("std", "-2.0")),
        (lambda: LatentSpec(-1, ()), ("noise_dim", "-1")),
        (lambda: LatentSpec(0, ()), ("noise_dim=0", "codes=[]")),
        (lambda: LatentSpec(1, (), UNKNOWN), ("noise_distribution", "gauss", "normal")),
    ],
)
def test_impossible_settings_are_refused(
    make: Callable[[], object], words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line names the argument and its value, where no type checker runs."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ValueError) as error:
        make()
    message = str(error.value)
    assert "\n" not in message
    assert all(word in message for word in words)
