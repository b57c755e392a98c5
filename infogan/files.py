"""Files on the local disk: where the project's own lie, and writes that a kill cannot damage."""

import csv
import difflib
import io
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from infogan.errors import ConfigurationError

# The folder that the package lies in: a checkout, or the one of installed packages.
ROOT = Path(__file__).resolve().parent.parent

# What to try first of the shipped files, where no name is near.
FIRST = {"configs": "infogan_mnist", "studies": "paper_table"}

Row = dict[str, str]


def shipped(folder: str) -> Path:
    """Return the folder of the shipped `configs` or `studies`.

    They lie inside the installed package, and beside the package in a checkout.
    """
    installed = ROOT / "infogan" / folder
    return installed if installed.is_dir() else ROOT / folder


def find_shipped(name: str, folder: str, what: str) -> Path:
    """Return a YAML file's path: as given, else of that name among the shipped ones.

    Args:
        name: A path, or a name with or without `.yaml`.
        folder: `configs` or `studies`.
        what: What it is, for the error.

    Raises:
        ConfigurationError: If there is neither.
    """
    own = shipped(folder)
    for place in (Path(name), own / name, own / f"{name}.yaml"):
        if place.is_file():
            return place
    known = [path.stem for path in own.glob("*.yaml")]
    close = difflib.get_close_matches(Path(name).stem, known) or [FIRST[folder]]
    raise ConfigurationError(
        f"{what} {name} is neither a file nor in {folder}/, which has "
        f"{', '.join(f'{stem}.yaml' for stem in close)} and {len(known) - len(close)} more"
    )


@contextmanager
def replacing(path: Path, shared: bool = False, sync: bool = True) -> Iterator[Path]:
    """Yield the path of a file to write, which takes the place of `path` when the block ends.

    A kill, an error or a full disk at any moment leaves `path` as it was. What a kill leaves beside
    it, `.NAME.part`, the next write uses up.

    Args:
        path: The file to make or replace; its folder is made.
        shared: Whether several processes may write it at once; the last one stays.
        sync: Whether to bring the file to the disk, so that it survives a loss of power, too.

    Raises:
        OSError: If it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Beside it, because a rename is atomic only within a file system.
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part" if shared else part_name(path))
    try:
        yield part
        if sync:
            _sync(part)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    if sync:
        _sync(path.parent)


def write_file(
    path: Path, content: str | bytes, *, shared: bool = False, sync: bool = True
) -> None:
    """Write a text in UTF-8, or bytes, so that readers see the whole of it or what was before.

    Args:
        path: The file to make or replace; its folder is made.
        content: All that it holds.
        shared: Whether several processes may write it at once.
        sync: Whether to bring it to the disk.

    Raises:
        OSError: If it cannot be written; the older file is then as it was.
    """
    with replacing(path, shared, sync) as part:
        part.write_bytes(content.encode() if isinstance(content, str) else content)


def part_name(path: Path) -> str:
    """Return the name under which a file is written until it is whole."""
    return f".{path.name}.part"


def _sync(path: Path) -> None:
    """Bring a file's bytes, or a folder's names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_rows(path: Path) -> list[Row]:
    """Return the whole rows of a CSV file without their empty cells; none if there is no file."""
    if not path.is_file():
        return []
    text = path.read_text()
    # A process that is at work may have written a part of its last line.
    lines = text[: text.rfind("\n") + 1].splitlines()
    return [{name: cell for name, cell in row.items() if cell} for row in csv.DictReader(lines)]


def as_csv(rows: Iterable[Mapping[str, Any]], names: Sequence[str]) -> str:
    """Return rows as the text of a CSV file."""
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
