"""The reference networks: generator, discriminator and recognition head Q(c|x).

The discriminator is a trunk and a real/fake head; Q is a head on the same trunk. Sizes follow the
original implementation and scale with the image's side, which must be divisible by 4.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from infogan.errors import check_choice

ImageShape = tuple[int, int, int]


def at_least_float32(x: Tensor) -> Tensor:
    """Return autocast's half-precision output as float32; float32 and float64 as they are."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def check_image_shape(image_shape: ImageShape) -> None:
    """Refuse image shapes that two stride-2 convolutions cannot halve exactly.

    Raises:
        ValueError: If the shape has no channel, is not square or its side is not a multiple of 4.
    """
    channels, height, width = image_shape
    if channels < 1:
        raise ValueError(f"image_channels must be at least 1, got {channels}")
    if height != width or height < 4 or height % 4:
        raise ValueError(
            f"image_size must be a positive multiple of 4, got {height}: "
            "resize or pad the images, for example to 28 or 32"
        )


def initialize(module: nn.Module) -> None:
    """Draw weights from N(0, 0.02), batch-norm scales from N(1, 0.02); zero the biases."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(layer.weight, 0.0, 0.02)
        elif isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1.0, 0.02)
        bias = getattr(layer, "bias", None)
        if isinstance(bias, Tensor):
            nn.init.zeros_(bias)


# For speed alone: with a pixel's channels side by side, convolutions and dense layers need no copy
# of each other's output.


def to_rows(
    images: Float[Tensor, "batch channels side side"],
) -> Float[Tensor, "batch features"]:
    """Return images as rows, pixel by pixel; a view where they lie so in memory."""
    return images.permute(0, 2, 3, 1).flatten(1)


def to_images(
    rows: Float[Tensor, "batch features"], channels: int, side: int
) -> Float[Tensor, "batch channels side side"]:
    """Return the images of `to_rows`; a view."""
    return rows.unflatten(1, (side, side, channels)).permute(0, 3, 1, 2)


class StraightThroughRound(torch.autograd.Function):
    """Round to 0 or 1 forward, pass the gradient unchanged backward."""

    @staticmethod
    def forward(ctx: object, pixels: Tensor) -> Tensor:
        """Round the pixels."""
        return pixels.round()

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        """Return the gradient as it is."""
        return gradient


class Generator(nn.Module):
    """G(z, c): two dense layers, then two stride-2 transposed convolutions to the image's side.

    Args:
        latent_dim: Width of (z, c).
        image_shape: Channels, height and width of the images.
        output: `sigmoid` for pixels in [0, 1], or `binary` for pixels of exactly 0 or 1 with a
            straight-through gradient (the unused idea of section 6).
    """

    def __init__(
        self,
        latent_dim: int,
        image_shape: ImageShape,
        output: Literal["sigmoid", "binary"] = "sigmoid",
    ) -> None:
        super().__init__()
        check_image_shape(image_shape)
        channels, side = image_shape[0], image_shape[1] // 4
        self.latent_dim, self.side = latent_dim, side
        self.output = output
        self.dense = nn.Sequential(
            nn.Linear(latent_dim, 1024, bias=False),
            nn.BatchNorm1d(1024),
            nn.ReLU(inplace=True),
            nn.Linear(1024, 128 * side * side, bias=False),
            nn.BatchNorm1d(128 * side * side),
            nn.ReLU(inplace=True),
        )
        self.upsample = nn.Sequential(
            nn.ConvTranspose2d(128, 64, 4, 2, 1, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(inplace=True),
            nn.ConvTranspose2d(64, channels, 4, 2, 1),
        )
        initialize(self)

    def forward(
        self, latent: Float[Tensor, "batch dim"]
    ) -> Float[Tensor, "batch channels side side"]:
        """Return images with pixels in [0, 1], in float32 under any autocast."""
        x = to_images(self.dense(latent), 128, self.side)
        pixels = at_least_float32(self.upsample(x)).sigmoid()
        return StraightThroughRound.apply(pixels) if self.output == "binary" else pixels


class Trunk(nn.Module):
    """The features that D's head and Q share: two stride-2 convolutions and a dense layer.

    Several batches go through the weights at once, which is faster, while each keeps batch
    statistics of its own, as if it had gone alone: real and generated images never mix.
    """

    feature_dim = 1024

    def __init__(
        self, image_shape: ImageShape, leaky_slope: float = 0.1, normalize: bool = True
    ) -> None:
        super().__init__()
        check_image_shape(image_shape)
        channels, side = image_shape[0], image_shape[1] // 4
        self.leaky_slope = leaky_slope
        self.conv1 = nn.Conv2d(channels, 64, 4, 2, 1)
        self.conv2 = nn.Conv2d(64, 128, 4, 2, 1, bias=not normalize)
        self.norm2 = nn.BatchNorm2d(128) if normalize else nn.Identity()
        self.dense = nn.Linear(128 * side * side, self.feature_dim, bias=not normalize)
        self.norm3 = nn.BatchNorm1d(self.feature_dim) if normalize else nn.Identity()
        initialize(self)

    def forward(self, *batches: Float[Tensor, "_ channels side side"]) -> tuple[Tensor, ...]:
        """Return the features of each batch, (batch, 1024) each."""
        # Not len(), which would fix the number of images in an exported graph.
        sizes = [batch.shape[0] for batch in batches]

        def activate(x: Tensor, norm: nn.Module) -> Tensor:
            x = torch.cat([norm(part) for part in x.split(sizes)]) if len(sizes) > 1 else norm(x)
            return F.leaky_relu(x, self.leaky_slope, inplace=True)

        x = torch.cat(batches) if len(batches) > 1 else batches[0]
        x = F.leaky_relu(self.conv1(x), self.leaky_slope, inplace=True)  # (B, 64, side/2, side/2)
        x = activate(self.conv2(x), self.norm2)  # (B, 128, side/4, side/4)
        x = activate(self.dense(to_rows(x)), self.norm3)  # (B, 1024)
        return x.split(sizes)


class Discriminator(nn.Module):
    """D: the trunk and a linear real/fake head that returns logits.

    Args:
        image_shape: Channels, height and width of the images.
        leaky_slope: Slope of the leaky ReLUs for negative inputs.
        spectral_normalization: Divide every weight by its largest singular value, in place of
            batch normalisation, which would undo the bound on the Lipschitz constant.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        leaky_slope: float = 0.1,
        spectral_normalization: bool = False,
    ) -> None:
        super().__init__()
        self.trunk = Trunk(image_shape, leaky_slope, normalize=not spectral_normalization)
        self.head = nn.Linear(self.trunk.feature_dim, 1)
        initialize(self.head)
        if spectral_normalization:
            for layer in (self.trunk.conv1, self.trunk.conv2, self.trunk.dense, self.head):
                spectral_norm(layer)

    def logits(self, features: Float[Tensor, "batch features"]) -> Float[Tensor, "batch 1"]:
        """Return the logit of D(x) from the trunk's features, in float32 under any autocast."""
        return at_least_float32(self.head(features))

    def forward(
        self, images: Float[Tensor, "batch channels side side"]
    ) -> Float[Tensor, "batch 1"]:
        """Return the logit of D(x)."""
        return self.logits(*self.trunk(images))


class RecognitionHead(nn.Module):
    """Q(c|x) on the trunk's features: one hidden layer, then the posterior's parameters.

    Args:
        feature_dim: Width of the trunk's features.
        num_parameters: Number of posterior parameters of all codes together.
        leaky_slope: Slope of the leaky ReLU for negative inputs.
    """

    def __init__(self, feature_dim: int, num_parameters: int, leaky_slope: float = 0.1) -> None:
        super().__init__()
        self.leaky_slope = leaky_slope
        self.dense = nn.Linear(feature_dim, 128, bias=False)
        self.norm = nn.BatchNorm1d(128)
        self.parameters_layer = nn.Linear(128, num_parameters)
        initialize(self)

    def forward(
        self, features: Float[Tensor, "batch features"]
    ) -> Float[Tensor, "batch num_parameters"]:
        """Return the posterior's parameters, in float32 under any autocast."""
        hidden = F.leaky_relu(self.norm(self.dense(features)), self.leaky_slope, inplace=True)
        return at_least_float32(self.parameters_layer(hidden))


class NetworkFactory(ABC):
    """Builds the three networks; subclass it to train networks of your own from the YAML."""

    def __init_subclass__(cls, **kwargs: object) -> None:
        # Checkpoints made from Python hold the factory itself and load with weights_only=True.
        super().__init_subclass__(**kwargs)
        torch.serialization.add_safe_globals([cls])

    @abstractmethod
    def generator(self, latent_dim: int, image_shape: ImageShape) -> nn.Module:
        """Build G: (batch, latent_dim) to images in [0, 1]."""

    @abstractmethod
    def discriminator(self, image_shape: ImageShape) -> "Discriminator":
        """Build D: a Discriminator, or what has its trunk and `logits`."""

    @abstractmethod
    def recognition_head(self, feature_dim: int, num_parameters: int) -> nn.Module:
        """Build Q's head on the trunk's features."""


@dataclass(frozen=True)
class ReferenceNetworks(NetworkFactory):
    """The paper's networks.

    Args:
        leaky_slope: Slope of D's and Q's leaky ReLUs: 0.1 in Chen et al., 0.01 in their code.
        generator_output: `sigmoid`, or `binary` for pixels forced to 0 or 1 (section 6).
        spectral_normalization: Normalise D's weights spectrally in place of batch normalisation.
    """

    leaky_slope: float = 0.1
    generator_output: Literal["sigmoid", "binary"] = "sigmoid"
    spectral_normalization: bool = False

    def __post_init__(self) -> None:
        check_choice(generator_output=(self.generator_output, ("sigmoid", "binary")))

    def generator(self, latent_dim: int, image_shape: ImageShape) -> Generator:
        return Generator(latent_dim, image_shape, self.generator_output)

    def discriminator(self, image_shape: ImageShape) -> Discriminator:
        return Discriminator(image_shape, self.leaky_slope, self.spectral_normalization)

    def recognition_head(self, feature_dim: int, num_parameters: int) -> RecognitionHead:
        return RecognitionHead(feature_dim, num_parameters, self.leaky_slope)
