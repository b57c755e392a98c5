"""The command `judge`: train what samples are judged by, before a test needs it."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from infogan.errors import ConfigurationError
from infogan.judge.cache import default_folder, find_judge, judge_path
from infogan.judge.training import JudgeRecipe, judged_factor


def judge(
    data: pl.LightningDataModule,
    recipe: JudgeRecipe | None = None,
    folder: Path | None = None,
) -> None:
    """Train the classifier by whose features and classes `test` judges generated images.

    It takes about a minute on one core, and is kept; `test` does the same where it is missing.
    The same recipe gives the same weights, on one kind of processor, whatever the run.

    Args:
        data: Datamodule of the real images; the classes are the values of its first discrete
            factor.
        recipe: How the judge is trained.
        folder: Folder of judges; null for the user's cache.

    Raises:
        ConfigurationError: If the data has no discrete factor, or the folder cannot be written to.
    """
    recipe, folder = recipe or JudgeRecipe(), folder or default_folder()
    factor = judged_factor(data)
    if factor is None:
        raise ConfigurationError(
            f"data={type(data).__name__} has no discrete factor with labelled training images, so "
            "there are no classes to learn; give labelled data, such as MNISTDataModule"
        )
    data.prepare_data()
    trained = find_judge(data, factor, recipe, folder)
    named: Any = data
    path = judge_path(folder, named.fingerprint(), factor, recipe)
    if not path.is_file():
        raise ConfigurationError(f"folder={folder} cannot be written to; give another one")
    print(f"judge       {path}")
    print(f"weights     {trained.digest}")
    print(
        f"accuracy    {trained.held_out_accuracy:.4f} of {factor.name} on "
        f"{len(trained.held_out_features)} training images that it has not learned from"
    )
