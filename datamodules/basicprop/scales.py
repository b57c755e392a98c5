"""The true factors of BasicProp images: their values, and rows of them.

A row of factors has one column a factor: the index 0, ..., num_values - 1 of a discrete one, the
value itself of a continuous one. A cell is one combination of the values; a continuous factor is
cut into `CONTINUOUS_BINS` equal bins for it.
"""

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


def grid_rows(scales: Scales, num_points: int) -> Float[Tensor, "grid factors"]:
    """Return every combination of values, continuous factors at so many points each."""
    axes = np.meshgrid(*[scale.grid(num_points) for scale in scales], indexing="ij")
    return to_rows([axis.ravel() for axis in axes])


def to_rows(columns: list[np.ndarray]) -> Float[Tensor, "rows factors"]:
    """Return columns of factors as rows."""
    return torch.from_numpy(np.stack(columns, axis=1).astype(np.float32))
