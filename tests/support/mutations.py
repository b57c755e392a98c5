"""Configs as a hurried or mistaken hand would leave them: values, keys, structure, text."""

import copy
import random
from collections.abc import Iterator
from typing import Any

import yaml

VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 1, 7, 0.5, -0.5, 1e-30, 100_000, 2**70, float("nan"), float("inf")),
    *("", "text", "~", "1e-3", "none", "é\n", [], {}, [1, 2], [None], {"a": 1}, "torch.nn.Linear"),
)
CHARACTERS = ":{}[]\t\"'#&*!|>%@`-? \n\0\\,=~"
Path = tuple[Any, ...]


def mutated(text: str, stream: random.Random) -> str:
    """Return a config's text with one to three mutations."""
    for _ in range(stream.choice((1, 1, 1, 2, 3))):
        if stream.random() < 0.25:
            text = changed_text(text, stream)
            continue
        try:
            content = yaml.safe_load(text)
        except yaml.YAMLError:
            return text
        if not isinstance(content, dict) or not content:
            return text
        change = stream.choice((changed_value, changed_key, changed_structure))
        text = yaml.safe_dump(change(content, stream), sort_keys=False, allow_unicode=True)
    return text


def changed_value(content: Any, stream: random.Random) -> Any:
    """Replace one leaf."""
    return with_value(content, stream.choice([*leaves(content)] or [()]), stream.choice(VALUES))


def changed_key(content: dict, stream: random.Random) -> Any:
    """Misspell, remove or double one key."""
    path = stream.choice([path for path in nodes(content) if path and isinstance(path[-1], str)])
    content = copy.deepcopy(content)
    parent, key = at(content, path[:-1]), path[-1]
    place = stream.randrange(len(key))
    names = (key[:place] + key[place + 1 :], key.upper(), f"{key}s", f" {key}", key[::-1])
    value = parent[key] if stream.random() < 0.2 else parent.pop(key)
    if stream.random() < 0.7:
        parent[stream.choice(names)] = value
    return content


def changed_structure(content: dict, stream: random.Random) -> Any:
    """Put one part into a list, in the place of another, at the root, or out of its mapping."""
    path, other = (stream.choice([*nodes(content)][1:]) for _ in range(2))
    part = copy.deepcopy(at(content, path))
    action = stream.randrange(4)
    if action == 0:
        return with_value(content, path, [part])
    if action == 1:
        return with_value(content, other, part)
    if action == 2 and isinstance(part, dict):
        return {**content, **part}
    inner = next(iter(part.values())) if isinstance(part, dict) and part else {"value": part}
    return with_value(content, path, inner)


def changed_text(text: str, stream: random.Random) -> str:
    """Cut the text, or change a character or a line of it."""
    place = stream.randrange(len(text) + 1)
    lines = text.splitlines(keepends=True) or [""]
    row = stream.randrange(len(lines))
    above, line, below = "".join(lines[:row]), lines[row], "".join(lines[row + 1 :])
    return stream.choice(
        (
            text[:place],
            text[:place] + stream.choice(CHARACTERS) + text[place:],
            text[:place] + text[place + 1 :],
            above + below,
            above + " " + line + below,
            above + line.lstrip() + below,
            above + line + line + below,
        )
    )


def nodes(content: Any, path: Path = ()) -> Iterator[Path]:
    """Yield the path of every part, the whole first."""
    yield path
    parts: Any = content.items() if isinstance(content, dict) else ()
    parts = enumerate(content) if isinstance(content, list) else parts
    for key, part in parts:
        yield from nodes(part, (*path, key))


def leaves(content: Any) -> Iterator[Path]:
    """Yield the path of every part without parts."""
    for path in nodes(content):
        if path and not isinstance(at(content, path), dict | list):
            yield path


def at(content: Any, path: Path) -> Any:
    """Return a part."""
    for key in path:
        content = content[key]
    return content


def with_value(content: Any, path: Path, value: Any) -> Any:
    """Return a copy with another part at a path."""
    if not path:
        return value
    content = copy.deepcopy(content)
    at(content, path[:-1])[path[-1]] = copy.deepcopy(value)
    return content
