"""Verbs that are plain functions: their arguments become the options, their docstring the help."""

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from docstring_parser import parse
from jsonargparse import ActionConfigFile

from infogan.commands.parser import OptionParser, check_nulls, explained, with_home
from infogan.errors import ConfigurationError
from infogan.version import program


def run_function(
    function: Callable[..., Any],
    argv: list[str],
    defaults: dict[str, Any] | None = None,
    listed: str | None = None,
) -> None:
    """Parse a verb's options by the function's signature and call it.

    Args:
        function: Typed, with a Google-style docstring.
        argv: The verb and its options.
        defaults: Defaults for the command line in place of the function's.
        listed: The argument, a list of texts, that takes all that belongs to no option.

    Raises:
        ConfigurationError: If the options, or the values that the function checks, are wrong.
    """
    summary = (function.__doc__ or "").partition("\n\n    Args:")[0]
    parser = OptionParser(
        prog=f"{program()} {argv[0]}", description=" ".join(summary.split()), exit_on_error=False
    )
    parser.add_argument("-c", "--config", action=ActionConfigFile, help="YAML with these options.")
    if listed is not None:
        described = {p.arg_name: p.description for p in parse(function.__doc__ or "").params}
        parser.add_argument(
            listed, nargs="+", metavar=listed.upper().removesuffix("S"), help=described[listed]
        )
    skip: set[str | int] = {listed} if listed is not None else set()
    parser.add_function_arguments(function, fail_untyped=True, skip=skip)
    takes_checkpoint = "ckpt_path" in inspect.signature(function).parameters
    if takes_checkpoint:
        run_help = "Name of the run that `--ckpt_path last` or `best` is of."
        parser.add_argument("--name", type=str, default="run", help=run_help)
        parser.add_argument("--save_dir", type=str, default="runs", help="Folder of all runs.")
    parser.set_defaults(defaults or {})
    with explained(parser):
        config = with_home(parser.parse_args(argv[1:]))
        check_nulls(function, vars(config), "")
        arguments = parser.instantiate(config)
    del arguments["config"]
    if takes_checkpoint:
        place = Path(arguments.pop("save_dir")).expanduser() / arguments.pop("name")
        if str(arguments.ckpt_path) in ("last", "best"):
            from infogan.commands.named_checkpoints import named_checkpoint

            arguments.ckpt_path = named_checkpoint(str(arguments.ckpt_path), place)[0]
    try:
        function(**arguments.as_dict())
    except ValueError as error:
        # A function that is called from Python, too, names the argument whose value is wrong.
        if not any(re.search(rf"\b{name}\b", str(error)) for name in arguments.as_dict()):
            raise
        raise ConfigurationError(str(error)) from error
