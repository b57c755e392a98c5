"""Verbs that are plain functions: their arguments become the options, their docstring the help."""

from collections.abc import Callable
from typing import Any

from docstring_parser import parse
from jsonargparse import ActionConfigFile

from infogan.commands.parser import OptionParser, explained


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
        ConfigurationError: If the options are wrong.
    """
    summary = (function.__doc__ or "").partition("\n\n    Args:")[0]
    parser = OptionParser(
        prog=f"cli.py {argv[0]}", description=" ".join(summary.split()), exit_on_error=False
    )
    parser.add_argument("-c", "--config", action=ActionConfigFile, help="YAML with these options.")
    if listed is not None:
        described = {p.arg_name: p.description for p in parse(function.__doc__ or "").params}
        parser.add_argument(
            listed, nargs="+", metavar=listed.upper().removesuffix("S"), help=described[listed]
        )
    skip: set[str | int] = {listed} if listed is not None else set()
    parser.add_function_arguments(function, fail_untyped=True, skip=skip)
    parser.set_defaults(defaults or {})
    with explained(parser):
        config = parser.parse_args(argv[1:])
        arguments = parser.instantiate_classes(config)
    del arguments["config"]
    function(**arguments.as_dict())
