"""Choose the true factors of BasicProp images and number the cells they fall into.

A row of factors has one column a factor: the index 0, ..., num_values - 1 of a discrete one, the
value itself of a continuous one. A cell is one combination of the values; a continuous factor is
cut into `CONTINUOUS_BINS` equal bins for it.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from datamodules.factors import Factor

CONTINUOUS_BINS = 10


@dataclass(frozen=True)
class Scale:
    """The values a factor takes: equidistant ones from low to high, or all between.

    Args:
        name: The factor's name.
        low: Smallest value, in pixels, degrees, ...
        high: Largest value.
        num_values: How many values; None for all between.
        has_continuous: Whether values between would mean anything.
    """

    name: str
    low: float
    high: float
    num_values: int | None = 10
    has_continuous: bool = True

    @property
    def factor(self) -> Factor:
        """Describe the column that holds this factor."""
        if self.num_values is None:
            return Factor(self.name, None, self.low, self.high)
        return Factor(self.name, self.num_values, 0, self.num_values - 1)

    @property
    def size(self) -> int:
        """Number of values or bins."""
        return CONTINUOUS_BINS if self.num_values is None else self.num_values

    def continuous(self) -> "Scale":
        """Return the scale with all values between, if they mean anything."""
        return replace(self, num_values=None) if self.has_continuous else self

    def values(self, column: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """Turn a column into the values it stands for."""
        if self.num_values is None:
            return column
        return self.low + column * ((self.high - self.low) / (self.num_values - 1))

    def bins(self, column: Float[Tensor, " batch"]) -> Int[Tensor, " batch"]:
        """Turn a column into indices of values or bins."""
        if self.num_values is None:
            column = (column - self.low) / (self.high - self.low) * self.size
        return column.floor().long().clamp(0, self.size - 1)

    def draw(self, num_rows: int, rng: np.random.Generator) -> np.ndarray:
        """Draw a column uniformly."""
        if self.num_values is None:
            return rng.uniform(self.low, self.high, num_rows)
        return rng.integers(self.num_values, size=num_rows)

    def draw_within(self, bins: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw a column uniformly within given bins; of discrete values, those."""
        if self.num_values is None:
            share = (bins + rng.random(len(bins))) / self.size
            return self.low + share * (self.high - self.low)
        return bins

    def grid(self, num_points: int) -> np.ndarray:
        """Return the discrete column's indices, or so many equidistant continuous values."""
        if self.num_values is None:
            return np.linspace(self.low, self.high, num_points)
        return np.arange(self.num_values)


Scales = tuple[Scale, ...]


def values_of(
    rows: Float[Tensor, "batch factors"], scales: Scales
) -> Float[Tensor, "batch factors"]:
    """Turn rows of factors into the values they stand for."""
    columns = zip(scales, rows.unbind(dim=1), strict=True)
    return torch.stack([scale.values(column) for scale, column in columns], dim=1)


def num_cells(scales: Scales) -> int:
    """Return the number of combinations of the factors' values or bins."""
    return math.prod(scale.size for scale in scales)


def cell_index(rows: Float[Tensor, "batch factors"], scales: Scales) -> Int[Tensor, " batch"]:
    """Number the cell of each row from 0, the last factor counting fastest."""
    index = torch.zeros(len(rows), dtype=torch.int64, device=rows.device)
    for scale, column in zip(scales, rows.unbind(dim=1), strict=True):
        index = index * scale.size + scale.bins(column)
    return index


def uniform_rows(
    num_rows: int, scales: Scales, rng: np.random.Generator
) -> Float[Tensor, "num_rows factors"]:
    """Draw every factor independently and uniformly."""
    return _to_rows([scale.draw(num_rows, rng) for scale in scales])


def balanced_rows(
    num_rows: int, scales: Scales, rng: np.random.Generator
) -> Float[Tensor, "num_rows factors"]:
    """Visit the cells in turn, so that their counts differ by one at most."""
    shape = tuple(scale.size for scale in scales)
    bins = np.unravel_index(np.arange(num_rows) % math.prod(shape), shape)
    return _to_rows([scale.draw_within(b, rng) for scale, b in zip(scales, bins, strict=True)])


def grid_rows(scales: Scales, num_points: int) -> Float[Tensor, "grid factors"]:
    """Return every combination of values, continuous factors at so many points each."""
    axes = np.meshgrid(*[scale.grid(num_points) for scale in scales], indexing="ij")
    return _to_rows([axis.ravel() for axis in axes])


def _to_rows(columns: list[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(columns, axis=1).astype(np.float32))
