"""Pictures for whichever logger takes them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image
from pytorch_lightning.loggers import Logger


def log_picture(
    loggers: Sequence[Logger], key: str, picture: np.ndarray, step: int, caption: str = ""
) -> None:
    """Send one picture to every logger that takes pictures.

    Args:
        loggers: The trainer's loggers; those without pictures, such as CSV, are passed over.
        key: Name of the panel.
        picture: RGB bytes, (height, width, 3).
        step: Global step, in batches.
        caption: Text below the picture, where the logger shows one.
    """
    image = Image.fromarray(picture)
    for logger in loggers:
        if hasattr(logger, "log_image"):  # W&B, MLflow-like
            logger.log_image(key, [image], step=step, caption=[caption or key])
            continue
        experiment: Any = getattr(logger, "experiment", None)
        if hasattr(experiment, "add_image"):  # TensorBoard
            experiment.add_image(key, picture, step, dataformats="HWC")
