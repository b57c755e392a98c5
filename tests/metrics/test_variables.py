"""Information of codes and factors against scikit-learn, SciPy and closed forms."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import entropy as scipy_entropy
from sklearn.metrics import mutual_info_score
from torch import Tensor

from infogan.latents import BernoulliCode, CategoricalCode, NormalCode, UniformCode
from infogan.metrics.variables import (
    Variable,
    as_variables,
    describe_codes,
    entropy,
    information_matrix,
    joint_information,
    mutual_information,
    read_codes,
)


def discrete(values: Tensor, num_values: int, name: str = "v") -> Variable:
    return Variable(name, values.float(), num_values)


@pytest.mark.parametrize(("first", "second"), [(4, 7), (10, 3), (2, 2)])
def test_information_is_scikit_learns(first: int, second: int) -> None:
    a = torch.randint(first, (500,))
    b = torch.where(torch.rand(500) < 0.5, a % second, torch.randint(second, (500,)))
    found = mutual_information(discrete(a, first), discrete(b, second))
    assert found == pytest.approx(mutual_info_score(a, b))
    assert mutual_information(discrete(b, second), discrete(a, first)) == pytest.approx(found)


def test_entropy_is_scipys() -> None:
    values = torch.randint(5, (300,)) ** 2 % 5
    shares = np.bincount(values.numpy()) / 300
    assert entropy(discrete(values, 5)) == pytest.approx(scipy_entropy(shares))


def test_continuous_variables_are_cut_into_equal_bins() -> None:
    """A code that is the factor holds its ten bins; of a code, twenty are told apart."""
    values = (torch.arange(1000) + 0.5) / 1000 * 7 - 3
    code, factor = Variable("c", values, None), Variable("f", values, None)
    assert entropy(factor) == pytest.approx(math.log(10), abs=0.01)
    assert mutual_information(code, factor) == pytest.approx(math.log(10), abs=0.01)
    assert code.binned(20).values.unique().tolist() == list(range(20))
    assert code.binned(20).values[[0, -1]].tolist() == [0, 19]


def test_a_constant_tells_nothing() -> None:
    constant = Variable("c", torch.full((100,), 0.3), None)
    assert mutual_information(constant, discrete(torch.arange(100) % 4, 4)) == 0
    assert constant.binned(20).num_values == 20


def test_columns_do_not_depend_on_numbers() -> None:
    """One-hot of a discrete variable, the values of a continuous one."""
    assert discrete(torch.tensor([2, 0]), 3).columns().tolist() == [[0, 0, 1], [1, 0, 0]]
    assert Variable("u", torch.tensor([0.5, -1.0]), None).columns().tolist() == [[0.5], [-1.0]]


def test_matrix_has_codes_in_rows() -> None:
    factors = [discrete(torch.arange(60) % 3, 3), discrete(torch.arange(60) // 3 % 4, 4)]
    codes = [factors[1], factors[0], discrete(torch.zeros(60), 2)]
    expected = [[0, math.log(4)], [math.log(3), 0], [0, 0]]
    assert torch.allclose(information_matrix(codes, factors), torch.tensor(expected), atol=1e-6)


def test_joint_information_does_not_care_how_cells_are_numbered() -> None:
    """Codes that number the cells in any order hold all there is, as aligned ones do."""
    cells = torch.arange(1200) % 12
    factors = [discrete(cells // 4, 3), discrete(cells % 4, 4)]
    shuffled = torch.randperm(12)[cells]
    jointly = [discrete(shuffled // 4, 3), discrete(shuffled % 4, 4)]
    for codes in (factors, jointly):
        assert joint_information(codes, factors) == pytest.approx(math.log(12))
    assert joint_information(jointly[:1], factors) == pytest.approx(math.log(3))
    continuous = Variable("u", torch.rand(1200), None)
    assert joint_information([*jointly, continuous], factors) == pytest.approx(math.log(12))


def test_codes_become_variables() -> None:
    """A category is its number, a bit and a continuous value themselves."""
    codes = [UniformCode(), CategoricalCode(3), BernoulliCode(), NormalCode()]
    described = describe_codes(codes)
    assert described == [
        ("uniform0", None),
        ("categorical1", 3),
        ("bernoulli2", 2),
        ("normal3", None),
    ]
    values = [code.sample(7) for code in codes]
    variables = as_variables(described, read_codes(codes, values))
    assert [v.name for v in variables] == [name for name, _ in described]
    assert torch.equal(variables[0].values, values[0][:, 0])
    assert torch.equal(variables[1].columns(), values[1])
    assert torch.equal(variables[2].values, values[2][:, 0])
