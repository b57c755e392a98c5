"""How a code of any kind is moved by hand: a choice among its values, or a place on a slider."""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from infogan.latents import LatentCode, LatentSpec, code_names

# Of a code that is neither discrete nor scalar, a slider walks through so many values.
NUM_STOPS = 101


@dataclass(frozen=True)
class Control:
    """One code and the range in which a person moves it.

    A position is a number: the index among `choices` of a discrete code, the value itself of a
    scalar code, rounded to `digits`, and the index of a stop on the traversal of any other code.

    Args:
        name: Name of the code, such as `categorical0`.
        code: The code.
    """

    name: str
    code: LatentCode

    @cached_property
    def stops(self) -> Tensor:
        """The values that positions number, (values, dim); both ends of a scalar code's range."""
        if not self.code.is_discrete and self.code.dim == 1:
            return self.code.traverse(2)
        return self.code.traverse(NUM_STOPS)

    @property
    def is_scalar(self) -> bool:
        """Whether a position is the code's value itself."""
        return not self.code.is_discrete and self.code.dim == 1

    @property
    def choices(self) -> list[str]:
        """The names of a discrete code's values; empty for a slider."""
        return [self.code.label(stop) for stop in self.stops] if self.code.is_discrete else []

    @property
    def low(self) -> float:
        """The smallest position."""
        return readable(self.stops.min()) if self.is_scalar else 0.0

    @property
    def high(self) -> float:
        """The largest position."""
        return readable(self.stops.max()) if self.is_scalar else float(len(self.stops) - 1)

    @property
    def digits(self) -> int:
        """Decimals of a position: enough for 200 steps or more on a slider of values."""
        return math.ceil(-math.log10((self.high - self.low) / 200)) if self.is_scalar else 0

    @property
    def middle(self) -> float:
        """Where a control stands at first: the first choice, or the middle of the slider."""
        return 0.0 if self.code.is_discrete else self.clip((self.low + self.high) / 2)

    def clip(self, position: float) -> float:
        """Return the nearest position that there is.

        Raises:
            ValueError: If the position is not a number.
        """
        if position != position:
            raise ValueError(f"position={position} of {self.name} is not a number")
        return min(max(round(float(position), self.digits), self.low), self.high)

    def value(self, position: float) -> Tensor:
        """Return the code's value at a position, (dim,)."""
        position = self.clip(position)
        return torch.tensor([position]) if self.is_scalar else self.stops[int(position)]

    def position(self, value: Tensor) -> float:
        """Return the position of the value nearest to one of shape (dim,)."""
        if self.is_scalar:
            return self.clip(value.item())
        return float((self.stops - value).square().sum(dim=1).argmin())

    def label(self, position: float) -> str:
        """Name the value at a position."""
        return self.code.label(self.value(position))


def readable(number: Tensor) -> float:
    """Return 0.3 for the 0.30000001 of float32."""
    return float(f"{number.item():.6g}")


def controls_of(latents: LatentSpec) -> list[Control]:
    """Return a control for each code."""
    names = code_names(latents.codes)
    return [Control(name, code) for name, code in zip(names, latents.codes, strict=True)]
