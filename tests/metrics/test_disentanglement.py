"""Disentanglement scores on cases whose answers are known, and their parts against scikit-learn."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from scipy.stats import entropy as scipy_entropy
from sklearn.linear_model import LinearRegression
from sklearn.metrics import balanced_accuracy_score
from torch import Tensor

from infogan.latents import CategoricalCode, UniformCode
from infogan.metrics.codes import halves
from infogan.metrics.disentanglement import (
    balanced_accuracy,
    code_importances,
    completeness,
    disentanglement,
    explained_variance,
    factor_vae_score,
    mutual_information_gap,
    separated_attribute_predictability,
)
from infogan.metrics.factors import FactorScores
from infogan.metrics.variables import Variable, joint_information

NUM_IMAGES = 10_000
CELLS = torch.arange(NUM_IMAGES) % 100
LEFT, RIGHT = CELLS // 10, CELLS % 10


def discrete(values: Tensor, name: str = "v") -> Variable:
    return Variable(name, values.float(), 10)


def continuous(values: Tensor, name: str = "u") -> Variable:
    return Variable(name, values.float(), None)


FACTORS = [discrete(LEFT, "left"), discrete(RIGHT, "right")]


def permuted(values: Tensor) -> Tensor:
    return torch.randperm(int(values.max()) + 1)[values]


def aligned() -> list[Variable]:
    return [discrete(permuted(RIGHT)), discrete(permuted(LEFT))]


def jointly_permuted() -> list[Variable]:
    cells = permuted(CELLS)
    return [discrete(cells // 10), discrete(cells % 10)]


def rotated() -> list[Variable]:
    return [continuous(LEFT + RIGHT), continuous(LEFT - RIGHT)]


def scores(codes: Sequence[Variable]) -> dict[str, float]:
    weights, informativeness = code_importances(codes, FACTORS, num_trees=10)
    return {
        "mig": mutual_information_gap(codes, FACTORS),
        "sap": separated_attribute_predictability(codes, FACTORS),
        "factor_vae": factor_vae_score(codes, FACTORS, num_votes=1000),
        "disentanglement": disentanglement(weights),
        "completeness": completeness(weights),
        "informativeness": informativeness,
    }


def test_aligned_codes_score_the_maximum() -> None:
    """Each factor by a code of its own, under any numbering; SAP's maximum is 1 less chance."""
    best = dict.fromkeys(scores(aligned()), 1.0) | {"sap": 0.9}
    assert scores(aligned()) == pytest.approx(best, abs=1e-6)
    by_value = [continuous(LEFT * 0.3 - 1), continuous(-RIGHT)]
    assert scores(by_value) == pytest.approx(best, abs=1e-6)


def test_useless_codes_change_nothing() -> None:
    noise = [continuous(torch.rand(NUM_IMAGES)), continuous(torch.rand(NUM_IMAGES))]
    found = scores([*aligned(), *noise])
    assert found == pytest.approx(dict.fromkeys(found, 1.0) | {"sap": 0.9}, abs=0.02)


def test_jointly_permuted_codes_hold_all_information_and_no_factor() -> None:
    """Total mutual information at its maximum, and nothing is disentangled."""
    codes = jointly_permuted()
    assert joint_information(codes, FACTORS) == pytest.approx(math.log(100))
    found = scores(codes)
    for name in ("mig", "sap", "disentanglement", "completeness"):
        assert found[name] < 0.12, name
    assert found["factor_vae"] < 0.8
    assert found["informativeness"] > 0.95


def test_rotated_codes_are_told_from_aligned_ones() -> None:
    """The sum and the difference of two factors tell as much of one as of the other."""
    found = scores(rotated())
    for name in ("mig", "sap", "disentanglement", "completeness"):
        assert found[name] < 0.02, name
    assert found["factor_vae"] == pytest.approx(0.5, abs=0.05)


def test_constant_codes_score_nothing() -> None:
    constant = [discrete(torch.zeros(NUM_IMAGES)), continuous(torch.full((NUM_IMAGES,), 0.3))]
    found = scores(constant)
    assert found.pop("informativeness") == pytest.approx(0.1, abs=0.02)
    assert found == pytest.approx(dict.fromkeys(found, 0.0))


def test_mig_of_a_noisy_code_is_its_share_of_the_information() -> None:
    """A symmetric channel of ten values passes ln 10 - H(channel)."""
    wrong = torch.rand(NUM_IMAGES * 4) < 0.2
    left = LEFT.repeat(4)
    code = discrete(torch.where(wrong, (left + torch.randint(1, 10, wrong.shape)) % 10, left))
    channel = scipy_entropy([0.8, *[0.2 / 9] * 9])
    found = mutual_information_gap([code], [discrete(left)])
    assert found == pytest.approx(1 - channel / math.log(10), abs=0.01)


def test_a_lone_code_is_compared_to_a_constant_one() -> None:
    """One code for two factors: one is known, of the other there is no gap."""
    assert mutual_information_gap([discrete(LEFT)], FACTORS) == pytest.approx(0.5)
    assert separated_attribute_predictability([discrete(LEFT)], FACTORS[:1]) == pytest.approx(0.9)


def test_factors_that_do_not_vary_are_left_out_of_mig() -> None:
    constant = discrete(torch.zeros(NUM_IMAGES))
    assert mutual_information_gap(aligned(), [*FACTORS, constant]) == pytest.approx(1)
    assert mutual_information_gap(aligned(), [constant]) == 0


# ---- parts -------------------------------------------------------------------------------------


def test_balanced_accuracy_is_scikit_learns() -> None:
    """Bins named on one half, with classes of unequal frequency, scored on the other."""
    classes = (torch.rand(999) ** 3 * 10).long()
    code = discrete(torch.where(torch.rand(999) < 0.5, classes, torch.randint(10, (999,))))
    naming, scoring = halves(999)
    sizes = classes[naming].bincount(minlength=10)
    names = torch.zeros(10).long()
    for value in range(10):
        of_bin = classes[naming][code.values[naming] == value].bincount(minlength=10)
        names[value] = (of_bin / sizes).argmax()
    predicted = names[code.values[scoring].long()]
    expected = balanced_accuracy_score(classes[scoring], predicted)
    assert balanced_accuracy(code, discrete(classes)) == pytest.approx(expected)


def test_explained_variance_is_scikit_learns() -> None:
    categories, noise = torch.randint(10, (500,)), torch.randn(500)
    factor = continuous(torch.sin(categories.float()) + noise)
    for code in (discrete(categories), continuous(categories + noise)):
        columns = code.columns().numpy()
        expected = LinearRegression().fit(columns, factor.values).score(columns, factor.values)
        assert explained_variance(code, factor) == pytest.approx(expected, abs=1e-5)
    assert explained_variance(discrete(categories), continuous(torch.ones(500))) == 0


def test_sap_of_continuous_factors_is_the_gap_of_r_squared() -> None:
    first, second = torch.randn(5000), torch.randn(5000)
    codes = [continuous(first), continuous(0.6 * first + 0.8 * second)]
    found = separated_attribute_predictability(codes, [continuous(first)])
    assert found == pytest.approx(1 - 0.36, abs=0.03)


@pytest.mark.parametrize("shape", [(3, 2), (2, 5)])
def test_dci_is_one_minus_relative_entropy(shape: tuple[int, int]) -> None:
    weights = torch.rand(shape)
    array = weights.double().numpy()
    by_code = 1 - scipy_entropy(array.T, base=shape[1])
    by_factor = 1 - scipy_entropy(array, base=shape[0])
    expected = np.average(by_code, weights=array.sum(axis=1))
    assert disentanglement(weights) == pytest.approx(expected, abs=1e-6)
    expected = np.average(by_factor, weights=array.sum(axis=0))
    assert completeness(weights) == pytest.approx(expected, abs=1e-6)


def test_the_factor_vae_score_of_a_known_and_an_unknown_factor() -> None:
    """Fixing the left factor names its code; fixing the other, which no code holds, either."""
    codes = [discrete(permuted(LEFT)), discrete(torch.randint(10, (NUM_IMAGES,)))]
    assert factor_vae_score(codes, FACTORS) == pytest.approx(0.75, abs=0.03)


@pytest.mark.parametrize(
    "function",
    [
        factor_vae_score,
        lambda codes, factors: disentanglement(torch.ones(len(codes), len(factors))),
    ],
)
def test_one_factor_is_refused(function: object) -> None:
    with pytest.raises(ValueError, match="factors must be at least 2, got 1"):
        function(aligned(), FACTORS[:1])  # type: ignore[operator]


def test_completeness_of_one_code_is_refused() -> None:
    with pytest.raises(ValueError, match="codes must be at least 2, got 1"):
        completeness(torch.ones(1, 3))


# ---- the metric --------------------------------------------------------------------------------


def one_hot(values: Tensor) -> Tensor:
    return torch.nn.functional.one_hot(values, 10).float()


def test_the_metric_is_the_functions_on_all_batches() -> None:
    codes = [CategoricalCode(10), UniformCode()]
    read = permuted(LEFT), RIGHT * 0.2 - 0.9 + 0.05 * torch.rand(NUM_IMAGES)
    metric = FactorScores(codes, [("left", 10), ("right", 10)])
    for part in torch.arange(NUM_IMAGES).split(1500):
        factors = torch.stack([LEFT[part], RIGHT[part]], dim=1).float()
        metric.update([one_hot(read[0][part]), read[1][part, None]], factors)
    found = {name: value.item() for name, value in metric.compute().items()}
    variables = [discrete(read[0]), continuous(read[1])]
    weights, informativeness = code_importances(variables, FACTORS)
    assert found == pytest.approx(
        {
            "mig": mutual_information_gap(variables, FACTORS),
            "sap": separated_attribute_predictability(variables, FACTORS),
            "factor_vae": factor_vae_score(variables, FACTORS),
            "dci_disentanglement": disentanglement(weights),
            "dci_completeness": completeness(weights),
            "dci_informativeness": informativeness,
            "joint_information": joint_information(variables, FACTORS),
        }
    )
    assert metric.information is not None
    assert metric.information[0, 0] == pytest.approx(math.log(10))


@pytest.mark.parametrize(
    ("num_codes", "num_factors", "absent"),
    [
        (1, 1, {"factor_vae", "dci_disentanglement", "dci_completeness"}),
        (2, 1, {"factor_vae", "dci_disentanglement"}),
        (1, 2, {"dci_completeness"}),
    ],
)
def test_what_is_not_defined_is_left_out(
    num_codes: int, num_factors: int, absent: set[str]
) -> None:
    names = {"mig", "sap", "factor_vae", "joint_information"}
    names |= {"dci_disentanglement", "dci_completeness", "dci_informativeness"}
    metric = FactorScores([CategoricalCode(10)] * num_codes, [("f", 10)] * num_factors)
    metric.update([one_hot(LEFT)] * num_codes, torch.stack([LEFT, RIGHT], 1)[:, :num_factors])
    assert metric.compute().keys() == names - absent
    quick = FactorScores(
        [CategoricalCode(10)] * num_codes, [("f", 10)] * num_factors, only_mig=True
    )
    quick.update([one_hot(LEFT)] * num_codes, torch.stack([LEFT, RIGHT], 1)[:, :num_factors])
    assert quick.compute().keys() == {"mig"}


def test_the_metric_joins_ranks() -> None:
    """One rank's code knows the factor, the other's does not."""
    described: list[tuple[str, int | None]] = [("left", 10)]
    whole, rank = (FactorScores([CategoricalCode(10)], described, only_mig=True) for _ in range(2))
    knowing, blind = permuted(LEFT), torch.randint(10, (NUM_IMAGES,))
    factors = LEFT[:, None].float()
    rank.update([one_hot(knowing)], factors)
    for read in (knowing, blind):
        whole.update([one_hot(read)], factors)
    assert 0.1 < whole.compute()["mig"] < 0.9
    others = {True: blind[:, None].float(), False: factors}
    rank.distributed_available_fn = lambda: True
    rank.dist_sync_fn = lambda state, group: [
        state,
        others[torch.equal(state, knowing[:, None].float())],
    ]
    assert rank.compute() == whole.compute()
