"""What `--ckpt_path last`, `best` and `auto` stand for, and the config beside a checkpoint."""

import difflib
import math
from pathlib import Path
from typing import Any

from pytorch_lightning.utilities import rank_zero_info

from infogan.errors import ConfigurationError
from infogan.runtime.checkpoints import CheckpointError, newest_usable, read_checkpoint

NAMES = ("last", "best", "auto")
# Where runs are saved unless an option says otherwise.
SAVE_DIR = "runs"


def named_checkpoint(which: str, folder: Path) -> tuple[Path, dict[str, Any]]:
    """Return the last or the best checkpoint that can be read, of the runs of one name.

    The last one is the newest file. The best one is that of the highest score in the run that has
    the newest: a run may keep several, and a copy of its folder makes all of them as new.

    Args:
        which: `best`, or `last` (or `auto`).
        folder: The runs of one name, `save_dir/name`.

    Raises:
        ConfigurationError: If there is none.
    """
    pattern = "best*.ckpt" if which == "best" else "last*.ckpt"
    found = list(folder.glob(f"*/checkpoints/{pattern}"))
    usable = newest_usable(found)
    if usable is not None:
        return best_of(usable) if which == "best" else usable
    if found:
        what = f"none of {len(found)} can be read in {folder}"
    else:
        others = [path.name for path in folder.parent.glob("*/") if path != folder]
        near = difflib.get_close_matches(folder.name, others, 3) or sorted(others)[:3]
        known = f" (there are runs of the name {', '.join(near)})" if near else ""
        what = f"no {pattern} below {folder}{known}"
    raise ConfigurationError(
        f"ckpt_path={which}: {what}; give the run's --name, the file's path, or start without "
        "--ckpt_path"
    )


def best_of(newest: tuple[Path, dict[str, Any]]) -> tuple[Path, dict[str, Any]]:
    """Return the best checkpoint of a run, given its newest; that one, if they say no score."""
    best = newest
    for path in newest[0].parent.glob("best*.ckpt"):
        if path == newest[0]:
            continue
        try:
            checkpoint = read_checkpoint(path)
        except CheckpointError as error:
            rank_zero_info(f"skipped: {error}")
            continue
        if score_of(checkpoint) > score_of(best[1]):
            best = path, checkpoint
    return best


def score_of(checkpoint: dict[str, Any]) -> float:
    """Return the score for which a checkpoint was kept, higher is better; -inf if it names none."""
    for name, state in checkpoint.get("callbacks", {}).items():
        # The key tells the callback's arguments.
        if name.startswith("ModelCheckpoint") and state.get("monitor") is not None:
            score = state.get("current_score")
            if score is None or math.isnan(score):
                return -math.inf
            return -float(score) if "'mode': 'min'" in name else float(score)
    return -math.inf


def with_config_of_run(argv: list[str]) -> list[str]:
    """Use a checkpoint with the config that lies in its run folder, unless one is given.

    Args:
        argv: The verb and its options.

    Raises:
        ConfigurationError: If the checkpoint is asked for by `last` or `best` and there is none.
    """
    given = dict(options(argv))
    if argv[0] == "fit" or "config" in given or "ckpt_path" not in given:
        return argv
    checkpoint = given["ckpt_path"]
    if checkpoint in NAMES:
        save_dir = given.get("save_dir", given.get("trainer.default_root_dir", SAVE_DIR))
        folder = Path(save_dir).expanduser() / given.get("name", "run")
        checkpoint = str(named_checkpoint(checkpoint, folder)[0])
    config = Path(checkpoint).expanduser().parent.parent / "config.yaml"
    return [argv[0], "--config", str(config), *argv[1:]] if config.is_file() else argv


def options(argv: list[str]) -> list[tuple[str, str]]:
    """Return the options of a command line and their values, given as one word or as two."""
    words = [*argv, ""]
    found = []
    for word, following in zip(words, words[1:], strict=False):
        name, equals, value = word.partition("=")
        if name == "-c" or name.startswith("--"):
            found.append((name.lstrip("-"), value if equals else following))
    return [("config" if name == "c" else name, value) for name, value in found]
