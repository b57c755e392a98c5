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
class Shear(ImageTransformation):
    """Lean the image to the right about its middle row; black comes in at the edges.

    Args:
        slope: Shift of a row against the next below, in pixels, for an amount of 1.
    """

    slope: float = 0.3

    def __call__(self, images: Tensor, amounts: Tensor) -> Tensor:
        one, zero = torch.ones_like(amounts), torch.zeros_like(amounts)
        # y points down: what is seen at (x, y) comes from (x + slope y, y).
        rows = ((one, self.slope * amounts, zero), (zero, one, zero))
        matrices = torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)
        grid = F.affine_grid(matrices, list(images.shape), align_corners=False)
        return F.grid_sample(images, grid.to(images.dtype), align_corners=False)


@dataclass(frozen=True)
class StrokeWidth(ImageTransformation):
    """Widen bright strokes on a dark ground, or narrow them for a negative amount.

    The image is enlarged twice, where a maximum (or minimum) over 3 x 3 pixels moves every edge by
    half a pixel of the image; smaller changes are mixtures with the image itself.

    Args:
        pixels: Change of a stroke's width in pixels for an amount of 1; no stroke changes by more
            than a pixel.
    """

    pixels: float = 0.8

    def __call__(self, images: Tensor, amounts: Tensor) -> Tensor:
        share = (self.pixels * amounts).clamp(-1, 1).view(-1, 1, 1, 1).to(images.dtype)
        large = F.interpolate(images, scale_factor=2, mode="bilinear", align_corners=False)
        wide = F.max_pool2d(large, 3, stride=1, padding=1)
        narrow = -F.max_pool2d(-large, 3, stride=1, padding=1)
        changed = F.avg_pool2d(torch.where(share > 0, wide, narrow), 2)
        return images.lerp(changed, share.abs())
