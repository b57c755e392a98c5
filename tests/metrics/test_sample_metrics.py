"""Sample scores against SciPy, scikit-learn and closed forms."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from scipy.stats import entropy as scipy_entropy
from sklearn.metrics.pairwise import polynomial_kernel
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from infogan.metrics.samples import (
    SampleScores,
    class_balance,
    frechet_distance,
    kernel_distance,
    manifold_scores,
)


def gaussian(num: int, means: Sequence[float], stds: Sequence[float]) -> Tensor:
    """Return images' features whose sample mean and covariance are exactly these."""
    noise = torch.randn(num, len(means), dtype=torch.float64)
    noise -= noise.mean(dim=0)
    whitened = noise @ torch.linalg.inv(torch.linalg.cholesky(noise.T @ noise / (num - 1))).T
    return (whitened * torch.tensor(stds) + torch.tensor(means)).float()


def test_frechet_distance_of_axis_parallel_gaussians() -> None:
    """|m - m'|^2 + sum (s - s')^2."""
    real = gaussian(300, [0.0, 1.0, -2.0], [1.0, 2.0, 0.5])
    fake = gaussian(200, [1.0, 1.0, 0.0], [2.0, 0.5, 0.5])
    assert frechet_distance(real, fake) == pytest.approx(1 + 4 + 1 + 2.25, abs=1e-3)
    assert frechet_distance(real, real) == pytest.approx(0, abs=1e-3)


def test_frechet_distance_is_scipys() -> None:
    real = torch.randn(200, 6) @ torch.randn(6, 6)
    fake = torch.randn(300, 6) @ torch.randn(6, 6) + 0.3
    first, second = np.cov(real.numpy().T), np.cov(fake.numpy().T)
    shift = (real.mean(dim=0) - fake.mean(dim=0)).square().sum().item()
    expected = shift + np.trace(first + second - 2 * np.real(sqrtm(first @ second)))
    assert frechet_distance(real, fake) == pytest.approx(expected, rel=1e-3)


def test_kernel_distance_is_the_unbiased_estimate_by_scikit_learn() -> None:
    """Of sets no larger than a subset, every subset is the whole set."""
    real, fake = torch.randn(80, 5), torch.randn(80, 5) * 1.5 + 0.2
    k_rr, k_ff, k_rf = (
        polynomial_kernel(a, b, degree=3, gamma=1 / 5, coef0=1)
        for a, b in ((real, real), (fake, fake), (real, fake))
    )
    within = sum((k.sum() - np.trace(k)) / (80 * 79) for k in (k_rr, k_ff))
    assert kernel_distance(real, fake) == pytest.approx(within - 2 * k_rf.mean(), rel=1e-3)


def test_kernel_distance_draws_by_its_seed_alone() -> None:
    real, fake = torch.randn(50, 5), torch.randn(30, 5)
    state = torch.get_rng_state()
    first, second, other = (kernel_distance(real, fake, seed) for seed in (0, 0, 1))
    assert first == second != other
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("k", [3, 5])
def test_manifold_scores_are_scikit_learns(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """By nearest-neighbour searches, in several chunks."""
    monkeypatch.setattr("infogan.metrics.samples.CHUNK_SIZE", 64)
    real, fake = torch.randn(150, 3), torch.randn(130, 3) * 0.7 + 0.5
    distances = torch.cdist(real.double(), fake.double()).numpy()

    def radius(points: Tensor) -> np.ndarray:
        found, _ = NearestNeighbors(n_neighbors=k + 1).fit(points).kneighbors(points)
        return found[:, -1]

    in_real = distances < radius(real)[:, None] * (1 + 1e-5)
    in_fake = distances < radius(fake) * (1 + 1e-5)
    assert manifold_scores(real, fake, k) == pytest.approx(
        {
            "precision": in_real.any(axis=0).mean(),
            "recall": in_fake.any(axis=1).mean(),
            "density": in_real.sum(axis=0).mean() / k,
            "coverage": in_real.any(axis=1).mean(),
        }
    )


def test_manifold_scores_of_the_extremes() -> None:
    """The real images themselves; one real image again and again; images far away."""
    real = torch.randn(100, 4)
    perfect = manifold_scores(real, real)
    assert (perfect["precision"], perfect["recall"], perfect["coverage"]) == (1, 1, 1)
    collapsed = manifold_scores(real, real[:1].repeat(100, 1) + 1e-4)
    assert collapsed["precision"] == 1
    assert collapsed["recall"] <= 0.01
    assert collapsed["coverage"] < 0.3
    assert manifold_scores(real, real + 1000) == dict.fromkeys(perfect, 0.0)


def test_class_balance_is_scipys() -> None:
    classes = torch.tensor([0] * 6 + [1] * 3 + [3] * 1)
    shares = [0.6, 0.3, 0.0, 0.1]
    balance = class_balance(classes, 4)
    assert balance["class_entropy"] == pytest.approx(scipy_entropy(shares))
    assert balance["class_kl_to_uniform"] == pytest.approx(scipy_entropy(shares, [0.25] * 4))
    assert class_balance(torch.zeros(9).long(), 4) == pytest.approx(
        {"class_entropy": 0, "class_kl_to_uniform": math.log(4)}
    )


@pytest.mark.parametrize(
    ("function", "num", "message"),
    [
        (frechet_distance, 1, "FID needs at least 2"),
        (kernel_distance, 1, "KID needs at least 2"),
        (manifold_scores, 5, "num_neighbors=5"),
    ],
)
def test_too_few_images_are_refused(function: object, num: int, message: str) -> None:
    with pytest.raises(ValueError, match=f"{message}.*, got 20 and {num}$"):
        function(torch.randn(20, 3), torch.randn(num, 3))  # type: ignore[operator]


def test_the_metric_joins_batches_and_ranks() -> None:
    real, fake = torch.randn(60, 4), torch.randn(40, 4)
    whole, rank = SampleScores(num_neighbors=3), SampleScores(num_neighbors=3)
    expected = {
        "fid": frechet_distance(torch.cat([real, real]), torch.cat([fake, fake])),
        "kid": kernel_distance(torch.cat([real, real]), torch.cat([fake, fake])),
        **manifold_scores(torch.cat([real, real]), torch.cat([fake, fake]), 3),
    }
    for _ in range(2):
        whole.update(real, real=True)
        whole.update(fake, real=False)
    rank.update(real, real=True)
    rank.update(fake, real=False)
    rank.distributed_available_fn = lambda: True
    rank.dist_sync_fn = lambda state, group: [state, state]
    for metric in (whole, rank):
        assert {n: v.item() for n, v in metric.compute().items()} == pytest.approx(expected)
