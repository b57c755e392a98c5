"""Errors whose message alone tells a user what to change."""

import difflib
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from jsonargparse import ArgumentError

CLASS_KEYS = ("class_path", "init_args")
# So much is shown of a wrong value.
MAX_VALUE = 200


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

    jsonargparse reports an option of several types by every type that it is not, level by level;
    the innermost value is the wrong one.
    """
    text, _, rest = (str(error) or type(error).__name__).partition("Given value type:")
    # Headings, the type that stands for null, and what a config given by its path would be.
    for noise in (
        r"Does not validate against any of the Union subtypes\n\s*Subtypes:.*\n\s*Errors:",
        r"- Expected a <class 'NoneType'>",
        r"- Expected a path but .* either not accessible or invalid",
        r"Type typing\.Callable\[.*\] expects a function or a callable class:",
        r"(?s)Not a valid subclass of .*",
    ):
        text = re.sub(noise, "", text)
    text = re.sub(r"\s*\n\s*(- )?", " ", text).strip()
    text = re.sub(r"Unexpected config: ?(.*)", r"must hold `key: value` lines. Got value: \1", text)
    text = re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", text)
    text = re.sub(r"typing\.Literal\[(.*?)\]", r"one of \1", text)
    # What jsonargparse says of a value that is no class with its arguments.
    text = re.sub(
        r"Expected an instantiatable class, but (?:\w+\.)*(\w+) is abstract",
        r"Expected a \1, by class_path and init_args",
        text,
    )
    unnamed = re.search(r"Expected a dot import path string: (.*)", text)
    head, *expected = re.split(r" ?Expected an? ", text)
    if unnamed is not None:
        text = f"{head} no class is named {unnamed[1]}".strip()
    elif expected:
        text = f"{head} Expected {' or '.join(kind.strip() for kind in expected)}".strip()
    if rest and "Got value" not in text and "Expected" in text:
        given = rest.partition("Given value:")[2].partition("\n")[0].strip()
        text += f". Got value: {given or 'nothing'}"
    message, got, value = text.partition("Got value: ")
    if len(value) > MAX_VALUE:
        value = f"{value[:MAX_VALUE]}..."
    return f"{message}{got}{value}{misspelt_key(rest)}"


def misspelt_key(value: str) -> str:
    """Return `; ... did you mean ...` for a key near those by which a config names a class."""
    for key in re.findall(r"'(\w+)': ", value):
        near = difflib.get_close_matches(key, CLASS_KEYS, 1, cutoff=0.75)
        if near and key not in CLASS_KEYS:
            return f"; {key}: did you mean {near[0]}?"
    return ""


@contextmanager
def names_sizes(**sizes: Any) -> Iterator[None]:
    """Name the sizes of what is built in a block and does not fit into memory.

    Raises:
        ValueError: In place of what torch says of its allocation.
    """
    try:
        yield
    except (RuntimeError, TypeError, MemoryError) as error:
        if not re.search("allocate memory|out of memory|[Oo]verflow", str(error)):
            raise
        given = ", ".join(f"{name}={size}" for name, size in sizes.items())
        raise ValueError(f"{given}: networks of these sizes do not fit into memory") from error


def check_at_least(**values: tuple[float, float]) -> None:
    """Raise ValueError for the first (value, minimum) that is too small."""
    for name, (value, minimum) in values.items():
        if not value >= minimum:
            raise ValueError(f"{name} must be at least {minimum}, got {value}")


def check_choice(**values: tuple[object, Iterable[object]]) -> None:
    """Raise ValueError for the first (value, choices) that is none of the choices."""
    for name, (value, choices) in values.items():
        known = list(choices)
        if value not in known:
            listed = " or ".join("null" if choice is None else repr(choice) for choice in known)
            raise ValueError(f"{name} must be {listed}, got {value!r}")


def check_range(**values: tuple[float, float, float]) -> None:
    """Raise ValueError for the first (value, low, high) outside [low, high)."""
    for name, (value, low, high) in values.items():
        if not low <= value < high:
            raise ValueError(f"{name} must lie in [{low}, {high}), got {value}")
