"""Where BasicProp images come from: fixed sets by their seed, or fresh ones a batch."""

from typing import Literal

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor

from datamodules.basicprop.geometry import Noise
from datamodules.basicprop.variant import Variant
from datamodules.loader import Batch

Split = Literal["train", "test", "val"]

# Two numbers: the data loader's streams have one or three.
_STREAMS: dict[Split, tuple[int, int]] = {"train": (0, 0), "test": (0, 1), "val": (0, 2)}


def fixed_set(
    variant: Variant, split: Split, size: int, seed: int, noise: Noise
) -> tuple[UInt8[Tensor, "size channels 28 28"], Float[Tensor, "size factors"]]:
    """Render the images of a split and return them with their factors.

    Every cell has equally many images, up to one; so has every prefix of the set. The splits of
    one seed are independent draws.
    """
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=_STREAMS[split]))
    factors = variant.balanced_factors(size, rng)
    return variant.render(factors, rng, noise), factors


class RenderSource:
    """Render fresh images for every batch, their factors drawn uniformly.

    Args:
        variant: What to render.
        noise: The noise of the pixels.
        size: How many images count as an epoch.
        labelled: Whether to deliver the factors, too.
    """

    def __init__(self, variant: Variant, noise: Noise, size: int, labelled: bool = False) -> None:
        self.variant = variant
        self.noise = noise
        self.size = size
        self.labelled = labelled

    def __len__(self) -> int:
        """Return the number of images that count as an epoch."""
        return self.size

    def fetch(self, indices: Tensor, rng: np.random.Generator) -> Batch:
        """Return as many fresh images as there are indices, drawn from `rng` alone."""
        factors = self.variant.uniform_factors(len(indices), rng)
        images = self.variant.render(factors, rng, self.noise)
        return (images, factors) if self.labelled else images
