"""Checkpoints that a kill cannot damage, and that are checked when they are read."""

import pickle
import shutil
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from fsspec.utils import get_protocol
from pytorch_lightning.plugins.io import TorchCheckpointIO
from pytorch_lightning.utilities import rank_zero_info

from infogan.errors import ConfigurationError
from infogan.files import replacing


class CheckpointError(ConfigurationError):
    """A file that cannot be gone on from: damaged, or no checkpoint."""


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write checkpoints so that a file is either the whole old or the whole new one.

    The new one is written beside the old one, brought to the disk and renamed: a kill or a full
    disk at any moment leaves the old one. Lightning writes into the temporary folder, from where
    a move to another file system is a copy. Reading checks every byte and runs no code.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write a checkpoint in the place of an older one.

        Raises:
            OSError: If it cannot be written; the older one is then as it was.
        """
        if not is_local(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        try:
            with replacing(Path(path)) as part, part.open("wb") as file:
                torch.save(checkpoint, file)
        except (OSError, RuntimeError) as error:
            # torch hides what the file system said behind an error of its own.
            cause = error if isinstance(error, OSError) else error.__context__
            if not isinstance(cause, OSError):
                raise
            raise OSError(
                cause.errno,
                f"checkpoint {path} cannot be written ({cause.strerror}), an older one is as it "
                "was; make room and resume with --ckpt_path last",
            ) from error

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Callable | None = lambda storage, loc: storage,
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        """Read a checkpoint, never running code from it, whatever `weights_only` says.

        Raises:
            CheckpointError: If the file is damaged or of another kind.
        """
        if not is_local(path):
            return super().load_checkpoint(path, map_location, weights_only=True)
        return read(Path(path), map_location)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint of a run, to the CPU.

    Raises:
        CheckpointError: If it is not one that a run can go on from.
    """
    checkpoint = read(path, "cpu")
    for key in ("state_dict", "pytorch-lightning_version"):
        if key not in checkpoint:
            raise CheckpointError(
                f"{path} cannot be read as a checkpoint: it is a file of torch.save without {key}; "
                "give one that a run has written"
            )
    return checkpoint


def newest_usable(paths: Iterable[Path]) -> tuple[Path, dict[str, Any]] | None:
    """Return the newest checkpoint that can be read, saying which newer ones cannot; None if none.

    Args:
        paths: The candidates.
    """
    for path in sorted(paths, key=lambda path: path.stat().st_mtime_ns, reverse=True):
        try:
            return path, read_checkpoint(path)
        except CheckpointError as error:
            rank_zero_info(f"skipped: {error}")
    return None


def read(path: Path, map_location: Any) -> dict[str, Any]:
    """Read what torch has saved, after a check of all its bytes."""
    if not path.is_file():
        raise CheckpointError(f"{path} is not a file; give the path of a checkpoint")
    with path.open("rb") as file:
        is_zip = file.read(2) == b"PK"
    if not is_zip:
        kind = "empty" if path.stat().st_size == 0 else "another kind of file"
        raise CheckpointError(f"{path} cannot be read as a checkpoint: it is {kind}")
    try:
        # torch.load does not compare the checksums.
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise CheckpointError(
                f"{path} cannot be read as a checkpoint: it is damaged at {damaged}"
            )
        content = torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} cannot be read as a checkpoint: it holds objects that only running code "
            f"could load ({str(error).partition('GLOBAL ')[2].split(' ')[0] or 'unknown'})"
        ) from error
    # The last is zipfile's, for a damaged number of the compression.
    except (zipfile.BadZipFile, RuntimeError, EOFError, NotImplementedError) as error:
        raise CheckpointError(
            f"{path} cannot be read as a checkpoint: it is truncated or damaged "
            f"({path.stat().st_size} bytes)"
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(
            f"{path} cannot be read as a checkpoint: it holds a {type(content).__name__}"
        )
    return content


def keep_as_previous(path: Path) -> None:
    """Let the checkpoint at `path` also be `NAME-previous`, which replaces the one before it."""
    previous = path.with_stem(f"{path.stem}-previous")
    with replacing(previous) as part:
        part.unlink(missing_ok=True)
        try:
            part.hardlink_to(path)
        except OSError:
            shutil.copy2(path, part)  # a file system without hard links


def is_local(path: str | Path) -> bool:
    """Return whether a path is one of the local file system, and not the URL of a store."""
    return get_protocol(str(path)) == "file"
