"""A supervised classifier on the reference trunk, to measure others' images with (appendix D)."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch.nn.functional as F
from pytorch_lightning.cli import OptimizerCallable
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torchmetrics.classification import MulticlassAccuracy

from infogan.data import check_batch_norm, data_of
from infogan.differentiable_augmentation import DifferentiableAugmentation
from infogan.errors import ConfigurationError, check_at_least, names_sizes
from infogan.modules.optimizers import usable
from infogan.networks import RecognitionHead, Trunk


class ClassifierModule(pl.LightningModule):
    """Classify images by one of their factors: D's trunk, then Q's head with a logit a class.

    Batches are (images, factors); the datamodule must deliver factors in training too.

    Args:
        num_classes: Number of classes, at least 2.
        image_channels: 1 for gray images, 3 for RGB.
        image_size: Side of the square images in pixels, divisible by 4.
        factor: Column of the factors that holds the class, from 0; 0 is MNIST's digit.
        augmentation: Random transformation of the training images, such as RandomAffine, which
            turns, shears, scales and shifts them a little; null for none.
        leaky_slope: Slope of the leaky ReLUs for negative inputs.
        optimizer: The optimizer; None for Adam(1e-3).
    """

    def __init__(
        self,
        num_classes: int = 10,
        image_channels: int = 1,
        image_size: int = 28,
        factor: int = 0,
        augmentation: DifferentiableAugmentation | None = None,
        leaky_slope: float = 0.1,
        optimizer: OptimizerCallable | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(ignore=["optimizer"])
        check_at_least(num_classes=(num_classes, 2), factor=(factor, 0))
        self.image_shape = (image_channels, image_size, image_size)
        self.num_classes = num_classes
        self.factor = factor
        self.augmentation = augmentation
        self.optimizer_factory = usable(
            "optimizer", optimizer or partial(Adam, lr=1e-3, fused=True)
        )
        sizes = {"image_channels": image_channels, "image_size": image_size}
        with names_sizes(**sizes, num_classes=num_classes):
            self.trunk = Trunk(self.image_shape, leaky_slope)
            self.head = RecognitionHead(self.trunk.feature_dim, num_classes, leaky_slope)
        self.apply(initialize_for_few_steps)
        self.val_accuracy = MulticlassAccuracy(num_classes, average="micro")
        self.test_accuracy = MulticlassAccuracy(num_classes, average="micro")

    def forward(self, images: Tensor) -> Tensor:
        """Return the logit of each class, (batch, num_classes), for images in [0, 1]."""
        (features,) = self.trunk(images)
        return self.head(features)

    def training_step(self, batch: Sequence[Tensor], batch_idx: int) -> Tensor:
        """Return the cross entropy of one batch, in nats."""
        images, labels = self.with_labels(batch)
        if self.augmentation is not None:
            images = self.augmentation(images)
        loss = F.cross_entropy(self(images), labels)
        self.log("train/loss", loss)
        return loss

    def validation_step(self, batch: Sequence[Tensor], batch_idx: int) -> None:
        """Log the loss and accuracy on held-out images."""
        self.evaluate("val", self.val_accuracy, batch)

    def test_step(self, batch: Sequence[Tensor], batch_idx: int) -> None:
        """Log the loss and accuracy on the test images."""
        self.evaluate("test", self.test_accuracy, batch)

    def evaluate(self, stage: str, accuracy: MulticlassAccuracy, batch: Sequence[Tensor]) -> None:
        """Log the cross entropy in nats and the accuracy, a share in [0, 1]."""
        images, labels = self.with_labels(batch)
        logits = self(images)
        accuracy.update(logits, labels)
        loss = F.cross_entropy(logits, labels)
        self.log(f"{stage}/loss", loss, batch_size=len(images), sync_dist=True)
        self.log(f"{stage}/accuracy", accuracy, batch_size=len(images))

    def predict_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Return the most probable class of each image, (batch,)."""
        images = batch[0] if isinstance(batch, tuple | list) else batch
        return self(images).argmax(dim=1)

    def configure_optimizers(self) -> Optimizer:
        """Return the optimizer of all parameters."""
        return self.optimizer_factory(self.parameters())

    def setup(self, stage: str) -> None:
        """Check that the data fits the network."""
        data = data_of(self.trainer)
        if stage == "fit":
            check_batch_norm(data)
        shape = data.image_shape
        if shape is not None and shape != self.image_shape:
            raise ConfigurationError(
                f"image_channels={self.image_shape[0]} and image_size={self.image_shape[1]} do not "
                f"fit the data's images of shape {shape}: set the model's to the data's"
            )
        factors = data.factors
        if not hasattr(data.datamodule, "factors"):
            return
        values = [factor.num_values for factor in factors]
        if self.factor >= len(values) or values[self.factor] != self.num_classes:
            columns = ", ".join(f"{i}: {f.name} ({f.num_values})" for i, f in enumerate(factors))
            raise ConfigurationError(
                f"factor={self.factor} with num_classes={self.num_classes} does not fit the data's "
                f"factors (column: name (values)) {columns}: set both to one of them"
            )

    def with_labels(self, batch: Tensor | Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return a batch's images and classes, (batch,) int64, from (images, factors)."""
        if isinstance(batch, Tensor) or len(batch) != 2:
            raise ConfigurationError(
                "a batch holds images without factors, and a classifier needs their classes: set "
                "the data's `labelled` to true"
            )
        images, factors = batch
        return images, factors[:, self.factor].long()


def initialize_for_few_steps(layer: nn.Module) -> None:
    """Draw a layer's weights so that the images' variance goes through (He et al. 2015).

    Under the GAN's N(0, 0.02) the features' variance is some 1e-4, which the running statistics of
    the batch normalisation, that start at 1, need about 100 steps to reach.
    """
    if isinstance(layer, nn.Conv2d | nn.Linear):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
