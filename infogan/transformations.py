"""Transformations of images by a known amount, which a code can follow."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


class ImageTransformation(ABC):
    """A transformation of images by an amount, 0 for none, that passes gradients."""

    def __init_subclass__(cls, **kwargs: object) -> None:
        # Checkpoints made from Python hold the object itself and load with weights_only=True.
        super().__init_subclass__(**kwargs)
        torch.serialization.add_safe_globals([cls])

    @abstractmethod
    def __call__(
        self,
        images: Float[Tensor, "batch channels height width"],
        amounts: Float[Tensor, " batch"],
    ) -> Float[Tensor, "batch channels height width"]:
        """Transform each image by its own amount."""


@dataclass(frozen=True)
class StrokeWidth(ImageTransformation):
    """Widen bright strokes on a dark ground, or narrow them for a negative amount.

    The image is enlarged 4 times, where a maximum (or minimum) over neighbours moves every edge by
    a quarter of a pixel of the image, once or twice; what lies between is interpolated. So edges
    stay as sharp as they were, and what a code can follow is the width alone.

    Args:
        pixels: Change of a stroke's width in pixels for an amount of 1; no stroke changes by more
            than a pixel.
    """

    pixels: float = 1.2

    def __call__(self, images: Tensor, amounts: Tensor) -> Tensor:
        # Half a pixel of width is one move of both edges.
        moves = (2 * self.pixels * amounts).view(-1, 1, 1, 1).to(images.dtype)
        sign = torch.where(moves < 0, -1.0, 1.0).to(images.dtype)
        # Narrowing the strokes is widening the ground: (B, channels, 4 side, 4 side)
        large = sign * F.interpolate(images, scale_factor=4, mode="bilinear", align_corners=False)
        once = pool(large)
        twice = pool(once)
        # Differences, so that no amount changes nothing.
        first, second = F.avg_pool2d(once - large, 4), F.avg_pool2d(twice - once, 4)
        size = moves.abs()
        changed = size.clamp(max=1) * first + (size - 1).clamp(0, 1) * second
        return (images + sign * changed).clamp(0, 1)


@dataclass(frozen=True)
class Shear(ImageTransformation):
    """Lean the image to the right about its middle row; black comes in at the edges.

    Args:
        slope: Shift of a row against the one below, in pixels, for an amount of 1.
        widening: Pixels by which strokes are widened for an amount of 1. It makes up for the shear,
            which narrows strokes that lean its way already, as those of handwriting do.
    """

    slope: float = 0.3
    widening: float = 0.0

    def __call__(self, images: Tensor, amounts: Tensor) -> Tensor:
        one, zero = torch.ones_like(amounts), torch.zeros_like(amounts)
        # y points down: what is seen at (x, y) comes from (x + slope y, y).
        rows = ((one, self.slope * amounts, zero), (zero, one, zero))
        matrices = torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)
        # In bfloat16 a position would be off by up to 0.06 pixels of 28.
        with torch.autocast(images.device.type, enabled=False):
            grid = F.affine_grid(matrices, list(images.shape), align_corners=False)
        sheared = F.grid_sample(images, grid.to(images.dtype), align_corners=False)
        return StrokeWidth(self.widening)(sheared, amounts) if self.widening else sheared


def pool(images: Tensor) -> Tensor:
    """Return the maximum over 3 x 3 pixels about each pixel."""
    return F.max_pool2d(images, 3, stride=1, padding=1)
