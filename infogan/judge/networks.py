"""The classifiers that can judge: a small network of its own, or D's trunk with Q's head."""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from infogan.modules.classifier import initialize_for_few_steps
from infogan.networks import ImageShape, RecognitionHead, Trunk, check_image_shape


class FeatureClassifier(nn.Module, ABC):
    """A classifier whose last hidden layer can be read."""

    @abstractmethod
    def features(
        self, images: Float[Tensor, "batch channels side side"]
    ) -> Float[Tensor, "batch 128"]:
        """Return the last hidden layer."""

    @abstractmethod
    def logits(self, features: Float[Tensor, "batch 128"]) -> Float[Tensor, "batch classes"]:
        """Return the logit of each class."""

    def forward(
        self, images: Float[Tensor, "batch channels side side"]
    ) -> Float[Tensor, "batch classes"]:
        """Return the logit of each class."""
        return self.logits(self.features(images))


class SmallClassifier(FeatureClassifier):
    """Two 3x3 convolutions with pooling, then 128 features: 3 times as fast as D's trunk.

    Args:
        image_shape: Channels, height and width of the images.
        num_classes: Number of classes.
    """

    def __init__(self, image_shape: ImageShape, num_classes: int) -> None:
        super().__init__()
        check_image_shape(image_shape)
        channels, side = image_shape[0], image_shape[1] // 4
        self.hidden = nn.Sequential(
            nn.Conv2d(channels, 32, 3, padding=1, bias=False),
            nn.MaxPool2d(2),
            nn.BatchNorm2d(32),
            nn.ReLU(inplace=True),
            nn.Conv2d(32, 64, 3, padding=1, bias=False),
            nn.MaxPool2d(2),
            nn.BatchNorm2d(64),
            nn.ReLU(inplace=True),
            nn.Flatten(),
            nn.Linear(64 * side * side, 128, bias=False),
            nn.BatchNorm1d(128),
            nn.ReLU(inplace=True),
        )
        self.head = nn.Linear(128, num_classes)

    def features(self, images: Tensor) -> Tensor:
        return self.hidden(images)

    def logits(self, features: Tensor) -> Tensor:
        return self.head(features)


class TrunkClassifier(FeatureClassifier):
    """The discriminator's trunk and Q's head: what supervision makes of Q's own architecture.

    Args:
        image_shape: Channels, height and width of the images.
        num_classes: Number of classes.
    """

    def __init__(self, image_shape: ImageShape, num_classes: int) -> None:
        super().__init__()
        self.trunk = Trunk(image_shape)
        self.head = RecognitionHead(self.trunk.feature_dim, num_classes)
        self.apply(initialize_for_few_steps)

    def features(self, images: Tensor) -> Tensor:
        (features,) = self.trunk(images)
        hidden = self.head.norm(self.head.dense(features))
        return F.leaky_relu(hidden, self.head.leaky_slope, inplace=True)

    def logits(self, features: Tensor) -> Tensor:
        return self.head.parameters_layer(features)


NETWORKS: dict[str, Callable[[ImageShape, int], FeatureClassifier]] = {
    "small": SmallClassifier,
    "trunk": TrunkClassifier,
}
