"""Do codes hold the true factors, one each? MIG, SAP, FactorVAE score and DCI, as published.

A categorical code is one variable, whose categories have no order: where a definition speaks of
the variance or of a linear function of a code, its one-hot columns stand for it together.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from infogan.metrics.codes import halves
from infogan.metrics.variables import (
    CODE_BINS,
    FACTOR_BINS,
    Variable,
    contingency,
    entropy,
    information_matrix,
)

Variables = Sequence[Variable]


def gap(scores: Float[Tensor, "codes factors"]) -> Float[Tensor, " factors"]:
    """Return by how much the best code of each factor exceeds the second best."""
    best, second = scores.topk(2, dim=0).values
    return best - second


# ---- mutual information gap --------------------------------------------------------------------


def mutual_information_gap(codes: Variables, factors: Variables) -> float:
    """Return MIG (Chen et al. 2018): the mean over factors of (I_best - I_second) / H(factor).

    In [0, 1]: 1 if every factor is known from one code, and none of the others tells of it. Where
    there is only one code, the second is one that knows nothing. Factors that do not vary are left
    out.
    """
    varying = [factor for factor in factors if entropy(factor) > 0]
    if not varying:
        return 0.0
    information = with_constant_code(information_matrix(codes, varying), [0.0] * len(varying))
    return float((gap(information) / torch.tensor([entropy(f) for f in varying])).mean())


def with_constant_code(
    scores: Float[Tensor, "codes factors"], constant_scores: Sequence[float]
) -> Float[Tensor, "more factors"]:
    """Add the row of a code that is constant, so that a lone code has a second to exceed."""
    return torch.cat([scores, scores.new_tensor([constant_scores])])


# ---- separated attribute predictability --------------------------------------------------------


def separated_attribute_predictability(codes: Variables, factors: Variables) -> float:
    """Return SAP (Kumar et al. 2018): the mean over factors of the gap between the two best codes.

    A discrete factor is predicted from one code by thresholds, here the borders of the code's bins
    or its categories, and scored by balanced accuracy on held-out images; a continuous one is
    scored by R^2 of linear regression.
    """
    scores = torch.tensor([[attribute_score(c, f) for f in factors] for c in codes])
    return float(gap(with_constant_code(scores, [_constant_score(f) for f in factors])).mean())


def attribute_score(code: Variable, factor: Variable) -> float:
    """Return how well one code predicts one factor, in [0, 1]."""
    if factor.num_values is None:
        return explained_variance(code, factor)
    return balanced_accuracy(code.binned(CODE_BINS), factor)


def balanced_accuracy(code: Variable, factor: Variable) -> float:
    """Return the mean over classes of the share that the code's bins, named by halves, get right.

    Each bin is named by the class that most prefers it on one half of the images, and scored on
    the other.
    """
    assert code.num_values is not None and factor.num_values is not None
    naming, scoring = (
        contingency(code.values[half], factor.values[half], (code.num_values, factor.num_values))
        for half in halves(len(code.values))
    )
    names = (naming / naming.sum(axis=0).clip(min=1)).argmax(axis=1)
    right = np.zeros(factor.num_values)
    seen = naming.any(axis=1)  # a bin that nothing names is no class, and wrong
    np.add.at(right, names[seen], scoring[np.arange(code.num_values), names][seen])
    sizes = scoring.sum(axis=0)
    return float((right[sizes > 0] / sizes[sizes > 0]).mean())


def explained_variance(code: Variable, factor: Variable) -> float:
    """Return R^2 of the linear regression of a factor on the code's columns."""
    columns, target = (v - v.mean(dim=0) for v in (code.columns().double(), factor.values.double()))
    if not target.any():
        return 0.0
    # One-hot columns are linearly dependent, which the driver "gelsd" can bear.
    fit = columns @ torch.linalg.lstsq(columns, target[:, None], driver="gelsd").solution
    return float(1 - (target - fit[:, 0]).square().sum() / target.square().sum())


def _constant_score(factor: Variable) -> float:
    return 0.0 if factor.num_values is None else 1 / len(factor.values.unique())


# ---- FactorVAE score ---------------------------------------------------------------------------


def factor_vae_score(
    codes: Variables,
    factors: Variables,
    num_votes: int = 10_000,
    images_per_vote: int = 64,
    seed: int = 0,
) -> float:
    """Return the FactorVAE score (Kim & Mnih 2018), an accuracy in [0, 1].

    A vote draws images that share the value of one factor, and names the code that varies least
    among them, in relation to its variance over all images. The score is the accuracy, on one half
    of the votes, of telling the factor from that code by majority of the other half. Codes that do
    not vary at all take no part; 0 if none does.

    Args:
        codes: The codes.
        factors: At least two factors; with one there is nothing to tell.
        num_votes: Number of votes, equally many a factor.
        images_per_vote: Images a vote draws, with replacement.
        seed: Seed of the draws.

    Raises:
        ValueError: If there are fewer than two factors.
    """
    _need_two("factors", factors)
    codes = [code for code in codes if total_variance(code.columns()) > 0]
    if not codes:
        return 0.0
    rng = torch.Generator().manual_seed(seed)
    votes_per_factor = max(2, num_votes // len(factors))
    chosen = torch.stack(
        [least_varying(codes, factor, votes_per_factor, images_per_vote, rng) for factor in factors]
    )  # (factors, votes)
    voting, scoring = chosen[:, 0::2], chosen[:, 1::2]
    counts = torch.stack([(voting == code).sum(dim=1) for code in range(len(codes))])
    named = counts.argmax(dim=1)[scoring]
    return float((named == torch.arange(len(factors))[:, None]).float().mean())


def least_varying(
    codes: Variables, factor: Variable, num_votes: int, images_per_vote: int, rng: torch.Generator
) -> Int[Tensor, " votes"]:
    """Return, for each vote, the code that varies least among images that share a factor's value.

    The values are drawn as often as they occur; a continuous factor's are its bins.
    """
    bins = factor.binned(FACTOR_BINS).values.long()
    order, sizes = bins.argsort(), bins.bincount()
    starts = sizes.cumsum(dim=0) - sizes
    value = bins[torch.randint(len(bins), (num_votes,), generator=rng)]
    within = torch.rand(num_votes, images_per_vote, generator=rng) * sizes[value, None]
    images = order[starts[value, None] + within.long()]  # (votes, images_per_vote)
    variances = [
        total_variance(columns[images]) / total_variance(columns)
        for columns in (code.columns() for code in codes)
    ]
    return torch.stack(variances).argmin(dim=0)


def total_variance(columns: Float[Tensor, "*votes images columns"]) -> Float[Tensor, "*votes"]:
    """Return the summed variance of a code's columns: of a category, the Gini impurity."""
    return columns.var(dim=-2, correction=0).sum(dim=-1)


# ---- disentanglement, completeness, informativeness --------------------------------------------


class Importances(NamedTuple):
    """How much each code serves to predict each factor, and how well that goes.

    Attributes:
        weights: Importance of each code for each factor; a factor's sum to 1, or 0 if none serves.
        informativeness: Mean accuracy, over factors, on held-out images.
    """

    weights: Float[Tensor, "codes factors"]
    informativeness: float


def code_importances(
    codes: Variables, factors: Variables, num_trees: int = 30, seed: int = 0
) -> Importances:
    """Predict each factor from all codes by a random forest (Eastwood & Williams 2018).

    Its impurity-based importances count one-hot columns together. It learns on one half of the
    images and is scored on the other. Leaves hold at least 20 images, so that splits on chance do
    not make useless codes look important. Continuous factors are cut into bins.
    """
    # Here, since training, which imports this file, does not need it.
    from sklearn.ensemble import RandomForestClassifier

    columns = [code.columns() for code in codes]
    inputs = torch.cat(columns, dim=1).numpy()
    of_code = np.repeat(np.arange(len(codes)), [c.shape[1] for c in columns])
    learning, scoring = (half.numpy() for half in halves(len(inputs)))
    weights, accuracies = np.zeros((len(codes), len(factors))), []
    for j, factor in enumerate(factors):
        classes = factor.binned(FACTOR_BINS).values.numpy()
        forest = RandomForestClassifier(
            num_trees, min_samples_leaf=20, max_features=None, random_state=seed
        ).fit(inputs[learning], classes[learning])
        np.add.at(weights[:, j], of_code, forest.feature_importances_)
        accuracies.append(forest.score(inputs[scoring], classes[scoring]))
    return Importances(torch.from_numpy(weights).float(), float(np.mean(accuracies)))


def disentanglement(weights: Float[Tensor, "codes factors"]) -> float:
    """Return DCI's D: the mean, by importance, of 1 - H(factors) / ln(number) of each code.

    1 if every code serves to predict one factor; 0 if all serve for all alike, or none for any.

    Raises:
        ValueError: If there are fewer than two factors.
    """
    _need_two("factors", weights[0])
    return _concentration(weights)


def completeness(weights: Float[Tensor, "codes factors"]) -> float:
    """Return DCI's C: the mean, by importance, of 1 - H(codes) / ln(number) of each factor.

    1 if every factor is predicted from one code.

    Raises:
        ValueError: If there are fewer than two codes.
    """
    _need_two("codes", weights)
    return _concentration(weights.T)


def _concentration(weights: Float[Tensor, "rows columns"]) -> float:
    """Return 1 minus the relative entropy of each row, averaged by the rows' sums."""
    sums = weights.sum(dim=1)
    if sums.sum() == 0:
        return 0.0
    shares = weights / sums.clamp(min=1e-12)[:, None]
    relative = torch.special.entr(shares).sum(dim=1) / np.log(weights.shape[1])
    return float(((1 - relative) * sums).sum() / sums.sum())


def _need_two(name: str, things: Variables | Tensor) -> None:
    if len(things) < 2:
        raise ValueError(f"{name} must be at least 2, got {len(things)}: there is nothing to tell")
