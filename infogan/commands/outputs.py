"""Files that a command writes: whole or not at all, and never in the place of others."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infogan.errors import ConfigurationError


def check_new(path: Path) -> None:
    """Refuse to write where something is; an empty folder is nothing.

    Raises:
        ConfigurationError: If there is a file, or a folder with files.
    """
    is_empty_folder = path.is_dir() and not any(path.iterdir())
    if (path.exists() or path.is_symlink()) and not is_empty_folder:
        raise ConfigurationError(
            f"output={path} exists already and is not written over; give another with --output"
        )


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield an unfinished folder, which becomes `path` when the block ends without an error.

    Raises:
        ConfigurationError: If there is a file, or a folder with files.
    """
    check_new(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Beside it, because a rename stays within a file system.
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as around:
        unfinished = Path(around) / path.name
        unfinished.mkdir()
        yield unfinished
        check_new(path)
        unfinished.replace(path)
