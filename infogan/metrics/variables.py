"""Codes and factors as variables of one form, and the information that they share."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from infogan.latents import LatentCode, code_names

CODE_BINS = 20  # as Locatello et al. 2019
FACTOR_BINS = 10  # as BasicProp's cells


@dataclass(frozen=True)
class Variable:
    """A code or a factor, observed on a number of images.

    Args:
        name: Its name.
        values: Its value on each image: the index 0..num_values-1 of a discrete one.
        num_values: How many values a discrete one takes; None for a continuous one.
    """

    name: str
    values: Float[Tensor, " images"]
    num_values: int | None

    def __getitem__(self, images: Tensor) -> "Variable":
        """Return the variable on some of the images, by number."""
        return Variable(self.name, self.values[images], self.num_values)

    def binned(self, num_bins: int) -> "Variable":
        """Return a continuous variable cut into equal bins from its least to its greatest value."""
        if self.num_values is not None:
            return self
        low, high = self.values.min(), self.values.max()
        if low == high:
            return Variable(self.name, torch.zeros_like(self.values), num_bins)
        share = (self.values - low) / (high - low)
        return Variable(self.name, (share * num_bins).floor().clamp(max=num_bins - 1), num_bins)

    def columns(self) -> Float[Tensor, "images columns"]:
        """Return the one-hot columns of a discrete variable, the only column of a continuous one.

        So that what is computed from them cannot depend on how categories are numbered.
        """
        if self.num_values is None:
            return self.values[:, None]
        return F.one_hot(self.values.long(), self.num_values).to(torch.get_default_dtype())


def contingency(categories: Tensor, classes: Tensor, shape: tuple[int, int]) -> np.ndarray:
    """Count how often category i meets class j: an array of `shape`."""
    flat = categories.long() * shape[1] + classes.long()
    return torch.bincount(flat, minlength=shape[0] * shape[1]).reshape(shape).cpu().numpy()


def information_of_counts(counts: np.ndarray) -> float:
    """Return the mutual information of rows and columns of a table of counts, in nats."""
    joint = counts / counts.sum()
    independent = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    seen = joint > 0
    return max(0.0, float((joint[seen] * np.log(joint[seen] / independent[seen])).sum()))


def mutual_information(code: Variable, factor: Variable) -> float:
    """Return the mutual information of a code and a factor, in nats, from their frequencies.

    Continuous codes are cut into `CODE_BINS` bins, continuous factors into `FACTOR_BINS`. Of
    independent variables it is above 0 by about (bins - 1)(bins - 1) / (2 images).
    """
    code, factor = code.binned(CODE_BINS), factor.binned(FACTOR_BINS)
    assert code.num_values is not None and factor.num_values is not None
    shape = (code.num_values, factor.num_values)
    return information_of_counts(contingency(code.values, factor.values, shape))


def entropy(factor: Variable) -> float:
    """Return the entropy of a factor, in nats, of a continuous one after it is cut into bins."""
    factor = factor.binned(FACTOR_BINS)
    return mutual_information(factor, factor)


def information_matrix(
    codes: Sequence[Variable], factors: Sequence[Variable]
) -> Float[Tensor, "codes factors"]:
    """Return the mutual information of every code with every factor, in nats."""
    rows = [[mutual_information(code, factor) for factor in factors] for code in codes]
    return torch.tensor(rows).reshape(len(codes), len(factors))


def joint_information(codes: Sequence[Variable], factors: Sequence[Variable]) -> float:
    """Return the mutual information of all discrete codes with all discrete factors, in nats.

    It is as high when the codes number the combinations of factors jointly as when each code holds
    a factor. It needs several images a pair of combinations: of independent variables it is above
    0 by about (combinations of codes)(combinations of factors) / (2 images).
    """
    first, second = _combination(codes), _combination(factors)
    shape = (int(first.max()) + 1, int(second.max()) + 1)
    return information_of_counts(contingency(first, second, shape))


def _combination(variables: Sequence[Variable]) -> Int[Tensor, " images"]:
    """Number the combinations of values that occur."""
    discrete = [v.values.long() for v in variables if v.num_values is not None]
    return torch.stack(discrete, dim=1).unique(dim=0, return_inverse=True)[1]


def describe_codes(codes: Sequence[LatentCode]) -> list[tuple[str, int | None]]:
    """Return name and number of values of each variable that `read_codes` returns a column for."""
    described: list[tuple[str, int | None]] = []
    for name, code in zip(code_names(codes), codes, strict=True):
        if code.is_discrete:
            described.append((name, len(code.traverse(2))))
        elif code.dim == 1:
            described.append((name, None))
        else:
            described += [(f"{name}_{i}", None) for i in range(code.dim)]
    return described


def read_codes(
    codes: Sequence[LatentCode], values: Sequence[Tensor]
) -> Float[Tensor, "images variables"]:
    """Return code values in the generator's format, (images, code.dim) each, as variables.

    A discrete code becomes the index of its value, a continuous one a variable a dimension.
    """
    columns = [
        value.argmax(dim=1, keepdim=True).to(value) if code.is_discrete and code.dim > 1 else value
        for code, value in zip(codes, values, strict=True)
    ]
    return torch.cat(columns, dim=1)


def as_variables(
    described: Sequence[tuple[str, int | None]], table: Float[Tensor, "images variables"]
) -> list[Variable]:
    """Return a table's columns as variables of the described names and numbers of values."""
    return [
        Variable(name, column, num_values)
        for (name, num_values), column in zip(described, table.unbind(dim=1), strict=True)
    ]
