"""Errors whose message alone tells a user what to change."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from jsonargparse import ArgumentError


class ConfigurationError(ValueError):
    """Raised for input that a run cannot start or go on with; shown as one line."""


@contextmanager
def as_configuration_error() -> Iterator[None]:
    """Turn what parsing and building raise for wrong input into one line."""
    try:
        yield
    except ConfigurationError:
        raise
    except (ArgumentError, ValueError, TypeError, OSError, AttributeError) as error:
        raise ConfigurationError(one_line(error)) from error


def one_line(error: BaseException) -> str:
    """Return the part of an error's message that says what is wrong, as one line.

    jsonargparse reports an optional object by every type it is not; what it says after the first
    one's reason repeats the whole value.
    """
    text = re.sub(r"\s*\n\s*(- )?", " ", str(error) or type(error).__name__).strip()
    text = re.sub(r"Does not validate against any of the Union.*? Errors: ", "", text)
    return re.sub(r"\.? Expected a <class 'NoneType'>.*$", "", text)


def check_at_least(**values: tuple[float, float]) -> None:
    """Raise ValueError for the first (value, minimum) that is too small."""
    for name, (value, minimum) in values.items():
        if not value >= minimum:
            raise ValueError(f"{name} must be at least {minimum}, got {value}")


def check_range(**values: tuple[float, float, float]) -> None:
    """Raise ValueError for the first (value, low, high) outside [low, high)."""
    for name, (value, low, high) in values.items():
        if not low <= value < high:
            raise ValueError(f"{name} must lie in [{low}, {high}), got {value}")
