"""What a variant of BasicProp can do: draw factors, render images, and read the factors back."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from datamodules.basicprop.geometry import IMAGE_SIZE, Layers, Noise, paint
from datamodules.basicprop.inverse import Tolerance, invert
from datamodules.basicprop.scales import Scales, to_rows, values_of
from datamodules.factors import Factor

CLEAN = Noise()
DEFAULT_TOLERANCE = Tolerance()
CHUNK_SIZE = 1000  # bounds the memory of the float masks when a whole data set is rendered


@dataclass(frozen=True)
class Variant:
    """A variant of BasicProp: 28x28 images and the factors that set all but their noise.

    Args:
        name: Its name on the command line.
        scales: The factors' values, in the order of the columns.
        draw: The geometry: from the factors' values (B, F) to the shapes.
        num_channels: 1 for gray images, 3 for RGB.
    """

    name: str
    scales: Scales
    draw: Callable[[Tensor], Layers]
    num_channels: int = 1

    def continuous(self) -> "Variant":
        """Return the variant with its factors drawn from their whole range, not from steps."""
        return replace(self, scales=tuple(scale.continuous() for scale in self.scales))

    @property
    def factors(self) -> tuple[Factor, ...]:
        """The factors, in the order of the columns."""
        return tuple(scale.factor for scale in self.scales)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        return self.num_channels, IMAGE_SIZE, IMAGE_SIZE

    @property
    def num_cells(self) -> int:
        """Number of combinations of the factors' values; continuous ones count ten bins."""
        return math.prod(scale.size for scale in self.scales)

    def uniform_factors(
        self, num_rows: int, rng: np.random.Generator
    ) -> Float[Tensor, "num_rows factors"]:
        """Draw every factor independently and uniformly."""
        return to_rows([scale.draw(num_rows, rng) for scale in self.scales])

    def balanced_factors(
        self, num_rows: int, rng: np.random.Generator
    ) -> Float[Tensor, "num_rows factors"]:
        """Visit the cells in turn, so that their counts differ by one at most."""
        shape = tuple(scale.size for scale in self.scales)
        bins = np.unravel_index(np.arange(num_rows) % math.prod(shape), shape)
        columns = zip(self.scales, bins, strict=True)
        return to_rows([scale.draw_within(of_factor, rng) for scale, of_factor in columns])

    def cell_index(self, factors: Float[Tensor, "batch factors"]) -> Int[Tensor, " batch"]:
        """Number each row's cell from 0; for rectangles, 10 * left index + right index."""
        index = torch.zeros(len(factors), dtype=torch.int64, device=factors.device)
        for scale, column in zip(self.scales, factors.unbind(dim=1), strict=True):
            index = index * scale.size + scale.bins(column)
        return index

    def render(
        self,
        factors: Float[Tensor, "batch factors"],
        rng: np.random.Generator,
        noise: Noise = CLEAN,
    ) -> UInt8[Tensor, "batch channels 28 28"]:
        """Render one image a row; the noise is drawn from `rng`.

        Raises:
            ValueError: If a factor lies outside its range or between its values.
        """
        self._check_range(factors)
        images = torch.empty(len(factors), *self.image_shape, dtype=torch.uint8)
        for start in range(0, len(factors), CHUNK_SIZE):
            rows = factors[start : start + CHUNK_SIZE]
            layers = self.draw(values_of(rows, self.scales))
            images[start : start + CHUNK_SIZE] = paint(layers, rng, noise)
        return images

    def invert(
        self, images: Tensor, tolerance: Tolerance = DEFAULT_TOLERANCE
    ) -> tuple[Float[Tensor, "batch factors"], Bool[Tensor, " batch"]]:
        """Read the factors back from images, and tell which images are valid at all.

        The factors of an invalid image are those of the nearest valid one.

        Args:
            images: (B, C, 28, 28), bytes or floats in [0, 1]; real or generated.
            tolerance: How far from the nearest member a valid image may be.

        Raises:
            ValueError: If the images have another shape.
        """
        if images.shape[1:] != self.image_shape:
            raise ValueError(
                f"images has the shape {tuple(images.shape)}; {self.name} has images of"
                f" (batch, {', '.join(map(str, self.image_shape))}), so give those"
            )
        return invert(images, self.draw, self.scales, tolerance)

    def valid_share(self, images: Tensor) -> float:
        """Return the share of images that are valid members, in [0, 1]."""
        return self.invert(images)[1].float().mean().item()

    def cells_covered(
        self, factors: Float[Tensor, "batch factors"], valid: Bool[Tensor, " batch"]
    ) -> int:
        """Count the distinct cells among the valid images, out of `num_cells`."""
        return len(self.cell_index(factors[valid]).unique())

    def _check_range(self, factors: Tensor) -> None:
        if factors.shape[1:] != (len(self.factors),):
            names = ", ".join(factor.name for factor in self.factors)
            raise ValueError(
                f"factors of {self.name} has the shape {tuple(factors.shape)};"
                f" give (batch, {len(self.factors)}), a column for each of {names}"
            )
        for column, factor in zip(factors.unbind(dim=1), self.factors, strict=True):
            good = (column >= factor.low) & (column <= factor.high)
            if factor.num_values is not None:
                good &= column == column.round()
            if not good.all():
                kind = "a number" if factor.num_values is None else "a whole number"
                raise ValueError(
                    f"{factor.name}={column[~good][0].item():g} of {self.name} must be {kind}"
                    f" from {factor.low:g} to {factor.high:g}"
                )
