"""Keep judges in the user's cache, so that each is trained once."""

import errno
import hashlib
import math
import os
import pickle
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from infogan.files import replacing
from infogan.judge.networks import NETWORKS
from infogan.judge.training import (
    Judge,
    JudgedFactor,
    JudgeRecipe,
    labelled_training_images,
    train_judge,
)
from infogan.locks import Lock, LockedError

# What writing fails with on a read-only or full disk, and locking where there are no locks.
UNWRITABLE = {errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT}
NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}


def find_judge(
    data: Any, factor: JudgedFactor, recipe: JudgeRecipe, folder: Path | None = None
) -> Judge:
    """Return the cached judge of a datamodule's images, trained first if it is not there.

    One process trains it while others wait; a lock goes with its process, however that ends.

    Args:
        data: The datamodule.
        factor: The factor to judge by, of `judged_factor`.
        recipe: How it is trained.
        folder: Folder of judges; None for the user's cache.
    """
    path = judge_path(folder or default_folder(), data.fingerprint(), factor, recipe)
    judge = load_judge(path, data.image_shape, factor.num_classes, recipe)
    if judge is not None:
        return judge
    with ExitStack() as held:
        wait_for_turn(held, path)
        # Another process may have trained it meanwhile.
        judge = load_judge(path, data.image_shape, factor.num_classes, recipe)
        if judge is None:
            print(f"judge       trained once, {recipe.num_steps} steps: {path}", flush=True)
            judge = train_judge(labelled_training_images(data, factor), recipe)
            try:
                save_judge(judge, path)
            except OSError as error:
                if error.errno not in UNWRITABLE:
                    raise
                print(f"judge       not kept ({error.strerror}), the next test trains it again")
    return judge


def wait_for_turn(held: ExitStack, path: Path) -> None:
    """Let one process at a time train a judge, where its folder can be written to.

    Args:
        held: What the lock is let go with.
        path: The judge's file.
    """
    lock, what = path.with_suffix(".lock"), f"judge {path}"
    try:
        try:
            held.enter_context(Lock(lock, what))
        except LockedError as error:
            print(f"judge       trained by {error.holder}, waiting for it", flush=True)
            held.enter_context(Lock(lock, what, patience=math.inf))
    except OSError as error:
        # Without a lock each trains its own, and the last one stays.
        if error.errno not in UNWRITABLE | NO_LOCKS:
            raise


def default_folder() -> Path:
    """Return the folder of judges in the user's cache."""
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "infogan" / "judges"


def judge_path(folder: Path, fingerprint: str, factor: JudgedFactor, recipe: JudgeRecipe) -> Path:
    """Return a judge's file, named by its data, network and seed, and a hash of its recipe."""
    settings = repr((factor.column, sorted(asdict(recipe).items())))
    digest = hashlib.sha256(settings.encode()).hexdigest()[:8]
    return folder / f"{fingerprint}-{recipe.network}-seed{recipe.seed}-{digest}.pt"


def save_judge(judge: Judge, path: Path) -> None:
    """Write a judge at once or not at all: several runs may do so at a time."""
    content = {
        "state_dict": judge.network.state_dict(),
        "held_out_features": judge.held_out_features,
        "held_out_accuracy": judge.held_out_accuracy,
    }
    with replacing(path, shared=True) as part:
        torch.save(content, part)


def load_judge(
    path: Path, image_shape: tuple[int, int, int], num_classes: int, recipe: JudgeRecipe
) -> Judge | None:
    """Return the judge in a file; None if there is none, or it is damaged: train it anew."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        network = NETWORKS[recipe.network](image_shape, num_classes)
        network.load_state_dict(content["state_dict"])
    except (OSError, EOFError, KeyError, RuntimeError, pickle.UnpicklingError):
        return None
    return Judge(network.eval(), content["held_out_features"], content["held_out_accuracy"])
