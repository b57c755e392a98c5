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
