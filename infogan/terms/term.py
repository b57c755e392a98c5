"""The base class of further terms of the losses, and what its hooks get and return."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor

from infogan.latents import LatentSpec


class View(NamedTuple):
    """More images for D's trunk, which only the information term uses.

    Attributes:
        images: (views, channels, side, side) in [0, 1]; D's augmentation comes on top.
        amounts: What was done to each image, (views, ...), in units that the term chooses.
    """

    images: Tensor
    amounts: Tensor | None = None


class SeenView(NamedTuple):
    """A view after the trunk.

    Attributes:
        features: The trunk's features, (views, features).
        amounts: Those of the `View`.
    """

    features: Tensor
    amounts: Tensor | None = None


class Game(Protocol):
    """The part of the GAN that its terms may use."""

    latents: LatentSpec
    generator: Any

    def read(self, features: Tensor) -> tuple[Tensor, ...]:
        """Return Q's posterior parameters by code, (batch, code.num_parameters) each."""

    def record(self, **scalars: Tensor) -> None:
        """Log a scalar of the step as `train/NAME`."""


class RealReadings:
    """Q's readings of the real images in D's update, computed once for all terms.

    Args:
        game: The GAN.
        latent: The (z, c) of the generated images, (batch, dim).
        features: The trunk's features of the real images, (batch, features).
    """

    def __init__(self, game: Game, latent: Tensor, features: Tensor) -> None:
        self.game = game
        self.latent = latent
        self.features = features

    @cached_property
    def parameters(self) -> tuple[Tensor, ...]:
        """Return Q's posterior parameters by code, (batch, code.num_parameters) each."""
        return self.game.read(self.features)


class CodeTerm:
    """A further term of the losses; override the hooks that it needs.

    Make it a dataclass of plain values, so that a checkpoint can hold it. It must neither
    synchronise with the host nor copy to the device: a step must fit into a CUDA graph.

    Attributes:
        num_views: Number of views that `views` returns.
    """

    num_views: ClassVar[int] = 0

    def __init_subclass__(cls, **kwargs: object) -> None:
        # Checkpoints made from Python hold the terms themselves and load with weights_only=True.
        super().__init_subclass__(**kwargs)
        torch.serialization.add_safe_globals([cls])

    def check(self, latents: LatentSpec) -> None:
        """Check that the term fits the codes.

        Raises:
            ValueError: If it does not; the message says what to change.
        """

    def views(self, real: Tensor, fake: Tensor) -> tuple[View, ...]:
        """Return `num_views` views of D's images, (batch, channels, side, side) in [0, 1] each."""
        return ()

    def discriminator_loss(self, real: RealReadings, views: Sequence[SeenView]) -> Tensor | float:
        """Return the weighted term of D's and Q's loss, a scalar.

        Args:
            real: What Q reads from the real images.
            views: What the trunk made of the images of `views`, in their order.
        """
        return 0.0

    def generator_loss(self, game: Game, latent: Tensor) -> Tensor | float:
        """Return the weighted term of G's loss, a scalar.

        Args:
            game: The GAN.
            latent: The (z, c) of G's update, (batch, dim).
        """
        return 0.0
