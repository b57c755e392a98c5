"""What a further term of the losses is: plain settings, and hooks into the two updates."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor

from infogan.latents import LatentSpec


class View(NamedTuple):
    """Images that D's trunk shall see beside the batch, for the information term alone.

    Attributes:
        images: The images, (views, channels, side, side); D's augmentation comes on top.
        amounts: What was done to each of them, in the term's own terms, (views, ...).
    """

    images: Tensor
    amounts: Tensor | None = None


class SeenView(NamedTuple):
    """A view after the trunk: its features, (views, features), and what was done to it."""

    features: Tensor
    amounts: Tensor | None = None


class Game(Protocol):
    """What a term may use of the GAN that it belongs to."""

    latents: LatentSpec
    generator: Any

    def read(self, features: Tensor) -> tuple[Tensor, ...]:
        """Return Q's posterior parameters by code, (batch, code.num_parameters) each."""

    def record(self, **scalars: Tensor) -> None:
        """Log a scalar of the step as `train/NAME`."""


class RealReadings:
    """D's update as the terms see it: what Q reads from the real images is read once for all.

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
        """Return Q's posterior parameters of the real images by code."""
        return self.game.read(self.features)


class CodeTerm:
    """A further term of the losses: it overrides the hooks that it needs.

    A term holds plain values alone, so that a checkpoint can hold it. It neither synchronises with
    the host nor copies to the device: a step must fit into a CUDA graph.
    """

    num_views: ClassVar[int] = 0

    def __init_subclass__(cls, **kwargs: object) -> None:
        # Checkpoints made from Python hold the terms themselves and load with weights_only=True.
        super().__init_subclass__(**kwargs)
        torch.serialization.add_safe_globals([cls])

    def check(self, latents: LatentSpec) -> None:
        """Raise ValueError, with the way out, where the term does not fit the codes."""

    def views(self, real: Tensor, fake: Tensor) -> tuple[View, ...]:
        """Return `num_views` further views of D's real and generated images."""
        return ()

    def discriminator_loss(self, real: RealReadings, views: Sequence[SeenView]) -> Tensor | float:
        """Return the weighted term of D's and Q's loss; views are those of `views`."""
        return 0.0

    def generator_loss(self, game: Game, latent: Tensor) -> Tensor | float:
        """Return the weighted term of G's loss, for the latents of its update."""
        return 0.0
