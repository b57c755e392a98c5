"""A metric of my own: do the images of a category show one digit?"""

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torchmetrics.functional.clustering import homogeneity_score


class Homogeneity(pl.Callback):
    """Log the homogeneity of the first code's categories as `val/homogeneity`, in [0, 1]."""

    def __init__(self) -> None:
        self.categories: list[Tensor] = []
        self.classes: list[Tensor] = []

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, *_: int
    ) -> None:
        """Read the categories of a batch of real images."""
        images, factors = batch
        self.categories.append(pl_module.recognize(images)[0].argmax(dim=1))
        self.classes.append(factors[:, 0].long())

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Log the score of all batches, and forget them."""
        score = homogeneity_score(torch.cat(self.categories), torch.cat(self.classes))
        pl_module.log("val/homogeneity", score)
        self.categories.clear()
        self.classes.clear()
