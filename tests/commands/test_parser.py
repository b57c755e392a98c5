"""The types of options: whole numbers stay whole, and a number will do for a text."""

import typing
from pathlib import Path
from typing import Any, Optional, Union

import pytest
from jsonargparse import ActionConfigFile

from infogan.commands.parser import OptionParser


class Counter:
    """Takes a count or a share, as Lightning writes it.

    Args:
        limit: Batches, or a share of them.
    """

    # What Python makes of `Optional[Union[int, float]]` where the other order was asked for first:
    # see the test below.
    def __init__(
        self,
        limit: float | int | None = None,
        title: str = "none",
        note: str | None = None,
    ) -> None:
        self.limit = limit
        self.title = title
        self.note = note


def parse(*arguments: str) -> Any:
    parser = OptionParser(exit_on_error=False)
    parser.add_argument("--config", action=ActionConfigFile)
    parser.add_class_arguments(Counter, "trainer")
    parser.add_subclass_arguments(Counter, "inner")
    parser.add_argument("--share", type=float | int)
    parser.add_argument("--name", type=str)
    parser.add_argument("--group", type=str | None)
    return parser.parse_args(arguments)


def test_python_gives_back_the_union_that_was_asked_for_first() -> None:
    for forget in vars(typing)["_cleanups"]:
        forget()
    assert typing.get_args(Optional[Union[float, int]])[0] is float  # noqa: UP007, UP045
    assert typing.get_args(Optional[Union[int, float]])[0] is float  # noqa: UP007, UP045


@pytest.mark.parametrize(("given", "kept"), [("1", 1), ("1.0", 1.0), ("0.5", 0.5), ("3", 3)])
def test_a_count_is_no_share(given: str, kept: float, tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(
        f"trainer: {{limit: {given}}}\nshare: {given}\n"
        f"inner: {{class_path: {__name__}.Counter, init_args: {{limit: {given}}}}}\n"
    )
    line = [f"--trainer.limit={given}", f"--share={given}", f"--inner={__name__}.Counter"]
    for options in (parse(f"--config={path}"), parse(*line, f"--inner.limit={given}")):
        for value in (options.trainer.limit, options.share, options.inner.init_args.limit):
            assert value == kept and type(value) is type(kept)


@pytest.mark.parametrize("given", ["2024", "2024.5", "'007'", "2024-11-27", "plain"])
def test_a_number_is_a_name(given: str, tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(f"name: {given}\ngroup: {given}\ntrainer: {{title: {given}, note: {given}}}\n")
    from_file = parse(f"--config={path}")
    bare = given.strip("'")
    typed = parse(
        f"--name={bare}", f"--group={bare}", f"--trainer.title={bare}", f"--trainer.note={bare}"
    )
    for options in (from_file, typed):
        assert [options.name, options.group, options.trainer.title, options.trainer.note] == [
            bare
        ] * 4


def test_null_is_no_name(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("group: null\ntrainer: {note: null}\n")
    for options in (parse(f"--config={path}"), parse("--group=null", "--trainer.note=null")):
        assert options.group is None and options.trainer.note is None


def test_help_names_types_as_a_person_does() -> None:
    parser = OptionParser(exit_on_error=False)
    parser.add_argument("--name", type=str, default="run", help="A name.")
    parser.add_argument("--group", type=str | None, help="A group.")
    text = parser.format_help()
    assert "A name. (type: str, default: run)" in text
    assert "A group. (type: str | null, default: null)" in text
