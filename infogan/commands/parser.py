"""What every verb's options have in common: types that forgive, errors that say what is near."""

import difflib
import functools
import importlib
import inspect
import operator
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

from jsonargparse import ArgumentParser, Namespace

from infogan.errors import ConfigurationError, as_configuration_error

# So few options are listed when none is near.
MAX_LISTED = 15


class OptionParser(ArgumentParser):
    """A parser that keeps whole numbers whole and takes a number for a text, such as a name.

    jsonargparse gives the options of classes, and groups of options, the same treatment.
    """

    def add_argument(self, *args: Any, **kwargs: Any) -> Any:
        """Add an option, its type forgiving."""
        # The options of classes come with an action that already knows its type.
        hint = getattr(kwargs.get("action"), "_typehint", kwargs.get("type"))
        if "nargs" not in kwargs and forgiving_type(hint) is not hint:
            kwargs["type"] = forgiving_type(hint)
            kwargs.pop("action", None)
        return super().add_argument(*args, **kwargs)


def with_home(value: Any) -> Any:
    """Return parsed options with `~` expanded in every text and path that starts with it."""
    if isinstance(value, Namespace | dict):
        for key in list(value.keys()):
            value[key] = with_home(value[key])
    elif isinstance(value, list):
        return [with_home(item) for item in value]
    elif isinstance(value, str | Path) and str(value).startswith("~/"):
        return type(value)(Path(value).expanduser())
    return value


def forgiving_type(hint: Any) -> Any:
    """Return what an option of this type is parsed by.

    A share or a count, `float | int`, tries the count first: 1 batch is not 100 % of them.
    Which comes first in `typing.Optional[Union[int, float]]` depends on what was imported before.
    """
    if hint is str:
        return Text()
    members = get_args(hint) if get_origin(hint) in (Union, UnionType) else ()
    if set(members) == {str, type(None)}:
        return Text(nullable=True)
    if {int, float} <= set(members):
        return functools.reduce(operator.or_, sorted(members, key=lambda kind: kind is not int))
    return hint


@dataclass(frozen=True, repr=False)
class Text:
    """The type of a text: as given; of a number, how it is written.

    Args:
        nullable: Whether null, for None, is taken as well.
    """

    nullable: bool = False

    def __call__(self, value: Any) -> str | None:
        """Return the text.

        Raises:
            ValueError: If YAML has read something else.
        """
        if self.nullable and value in (None, "null"):
            return None
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ValueError(f"Expected a text. Got value: {value}; put it in quotes")
        return str(value)

    def __repr__(self) -> str:
        """Return what `--help` shows."""
        return "str | null" if self.nullable else "str"


@contextmanager
def explained(parser: ArgumentParser) -> Iterator[None]:
    """Turn what is wrong with the options into one line, with what may have been meant.

    Raises:
        ConfigurationError: If parsing or building fails on the input.
    """
    try:
        with as_configuration_error():
            yield
    except ConfigurationError as error:
        raise ConfigurationError(explain(str(error), parser)) from error


def explain(message: str, parser: ArgumentParser) -> str:
    """Add to a message which option or class is near a wrong one, and shorten class paths.

    Args:
        message: One line, of jsonargparse.
        parser: The parser of the verb's options.
    """
    missing = re.search(r"arguments are required: (?:(\w+)\.)?(\w+)", message)
    if missing is not None and missing[1]:
        run = "" if missing[1] == "fit" else ", or a run's checkpoint with --ckpt_path"
        return f"{missing[2]} is missing; give a config, as --config infogan_mnist.yaml{run}"
    if missing is not None:
        return f"{missing[2]} is missing; `{parser.prog} --help` says how to give it"
    # Of classes within classes, the last is the one whose option is wrong.
    named = re.findall(r"class_path[= ]'([\w.]+)'", message)
    option = re.search(r"[Oo]ption '([\w.]+)'|arguments: --?([\w.]+)", message)
    path = re.search(r"class is named ([\w.]+)|class_path '([\w.]+)': (?:module|No m)", message)
    hint = ""
    if option is not None:
        own = [*options_of(named[-1]), "class_path", "init_args"] if named else []
        own = own or list(parser.get_defaults().keys())
        hint = near_option(option[1] or option[2], own)
    elif path is not None:
        hint = near_class(path[1] or path[2])
    message = re.sub(r"Problem with given class_path '(?:\w+\.)*(\w+)':", r"\1:", message)
    message = re.sub(r'Parser key "([\w.]+)":', r"\1:", message)
    return re.sub(r"\. Got value: Namespace\(.*", "", message) + hint


def near_option(name: str, known: list[str]) -> str:
    """Return `; did you mean ...` with the nearest option, or the few there are."""
    last_parts = [option.rpartition(".")[2] for option in known]
    near = difflib.get_close_matches(name, known, 1) or difflib.get_close_matches(
        name, last_parts, 1
    )
    if near:
        return f"; did you mean {near[0]}?"
    return f"; there are {', '.join(known)}" if len(known) <= MAX_LISTED else ""


def near_class(path: str) -> str:
    """Return `; did you mean ...` with the nearest class that a `class_path` can name."""
    import pytorch_lightning as pl
    from pytorch_lightning.loggers import Logger
    from torch.optim import Optimizer

    from infogan.differentiable_augmentation import DifferentiableAugmentation
    from infogan.latents import LatentCode
    from infogan.networks import NetworkFactory

    bases = (
        *(pl.LightningModule, pl.LightningDataModule, pl.Callback, Logger, Optimizer),
        *(DifferentiableAugmentation, LatentCode, NetworkFactory),
    )
    known = {kind.__name__ for base in bases for kind in subclasses(base)}
    near = difflib.get_close_matches(path.rpartition(".")[2], known, 1)
    return f"; did you mean {near[0]}?" if near else ""


def options_of(path: str) -> list[str]:
    """Return the arguments of the class that a full path names, those of its bases included."""
    module, _, name = path.rpartition(".")
    found = parameters_of(getattr(importlib.import_module(module), name))
    return [name for name in found if name not in ("self", "args", "kwargs", "defaults", "params")]


def subclasses(kind: type) -> Iterator[type]:
    """Yield all classes that are known to derive from one."""
    below: type
    for below in kind.__subclasses__():
        yield below
        yield from subclasses(below)


def check_groups(config: Namespace, parser: ArgumentParser) -> None:
    """Refuse what jsonargparse lets through: `trainer: 3`, and null for what cannot be null.

    Args:
        config: All options of a verb.
        parser: Their parser.

    Raises:
        ConfigurationError: For the first such value.
    """
    groups = {key.partition(".")[0] for key in [*parser.get_defaults().keys()] if "." in key}
    for name, value in vars(config).items():
        if name in groups and not isinstance(value, Namespace):
            raise ConfigurationError(f"{name} must hold `option: value` lines, got {value!r}")
        # A group that is built by hand, the trainer's, has no class.
        kind = getattr((parser.groups or {}).get(name), "group_class", None)
        if name in groups and kind is not None:
            check_nulls(kind, vars(value), f"{name}.")
        else:
            check_classes(value, name)


def check_classes(value: Any, where: str) -> None:
    """Look for null in the arguments of a class, or of a list of them, that a config names.

    Raises:
        ConfigurationError: For the first null that cannot be.
    """
    for part in value if isinstance(value, list) else [value]:
        if isinstance(part, Namespace) and "class_path" in part and "init_args" in part:
            module, _, name = part.class_path.rpartition(".")
            kind = getattr(importlib.import_module(module), name)
            check_nulls(kind, vars(part.init_args), f"{where}: {name}: ")


def check_nulls(kind: Any, given: dict[str, Any], where: str) -> None:
    """Refuse null for arguments of a class or function whose type has no None.

    Raises:
        ConfigurationError: For the first such argument.
    """
    parameters = parameters_of(kind)
    for name, value in given.items():
        hint = parameters[name].annotation if name in parameters else Any
        is_told = hint is not Any and hint is not inspect.Parameter.empty and hint != "Any"
        takes_none = type(None) in get_args(hint) or isinstance(hint, str)
        if value is None and is_told and not takes_none and parameters[name].default is not None:
            expected = getattr(hint, "__name__", str(hint))
            raise ConfigurationError(f"{where}{name}: Expected {expected}. Got value: null")
        check_classes(value, f"{where}{name}")


def parameters_of(kind: Any) -> dict[str, inspect.Parameter]:
    """Return the parameters of a function, or of a class and its bases, by name."""
    if not inspect.isclass(kind):
        return dict(inspect.signature(kind).parameters)
    found: dict[str, inspect.Parameter] = {}
    for base in reversed(inspect.getmro(kind)):
        if "__init__" in vars(base) and base is not object:
            found |= inspect.signature(vars(base)["__init__"]).parameters
    return found
