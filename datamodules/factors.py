"""Describe the true factors of variation that label the evaluation images."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Factor:
    """Describe one column of the factors (B, F) that come with evaluation images.

    Args:
        name: What varies, such as `digit`.
        num_values: Of a discrete factor: how many values it takes; the column holds the index
            0..num_values-1. None for a continuous factor.
        low: Smallest value in the column; 0 for a discrete factor.
        high: Largest value in the column; num_values-1 for a discrete factor.
        value_names: What the values of a discrete factor are called; empty to call them by index.

    Raises:
        ValueError: If the range is empty or does not fit num_values.
    """

    name: str
    num_values: int | None
    low: float
    high: float
    value_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a description that no column can fit."""
        if not self.name:
            raise ValueError("name='' of a Factor is empty; give it one, such as 'digit'")
        if self.num_values is None:
            if not self.low < self.high:
                raise ValueError(
                    f"low={self.low} of the continuous factor {self.name!r} must be below"
                    f" high={self.high}; swap or widen them"
                )
            return
        if self.num_values < 1:
            raise ValueError(
                f"num_values={self.num_values} of the factor {self.name!r} must be at least 1;"
                " use None for a continuous factor"
            )
        if (self.low, self.high) != (0, self.num_values - 1):
            raise ValueError(
                f"low={self.low}, high={self.high} of the discrete factor {self.name!r} must be"
                f" 0 and {self.num_values - 1}, the indices of its {self.num_values} values"
            )
        if self.value_names and len(self.value_names) != self.num_values:
            raise ValueError(
                f"value_names={self.value_names} of the factor {self.name!r} must be"
                f" {self.num_values} names, one a value, or none"
            )
