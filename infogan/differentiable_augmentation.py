"""Differentiable augmentation of what D and Q see (Zhao et al. 2020; Karras et al. 2020).

D sees real and generated images only through random transformations, and the generator learns
through them. Q has to read the codes through them too, so that the information in a code cannot
hide in what they change: with small affine transformations a category is a shape, not a slant.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


class DifferentiableAugmentation(ABC):
    """A random transformation of images that passes gradients; drawn anew for every image."""

    def __init_subclass__(cls, **kwargs: object) -> None:
        # Checkpoints made from Python hold the object itself and load with weights_only=True.
        super().__init_subclass__(**kwargs)
        torch.serialization.add_safe_globals([cls])

    @abstractmethod
    def __call__(
        self, images: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        """Transform each image of a batch by a draw of its own."""


@dataclass(frozen=True)
class RandomAffine(DifferentiableAugmentation):
    """Rotate, shear, scale and shift every image by uniform draws; black comes in at the edges.

    On GPUs the gradient is added up in no fixed order, so that two runs of one seed agree to
    rounding, and `--trainer.deterministic true` refuses it.

    Args:
        degrees: Largest rotation, in degrees.
        shear: Largest horizontal shear, in pixels a pixel.
        scale: Largest relative change of width and, independently, of height.
        translate: Largest shift along each axis, as a fraction of the side (2 pixels of 28).
    """

    degrees: float = 15.0
    shear: float = 0.2
    scale: float = 0.1
    translate: float = 0.0714

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value >= 0:
                raise ValueError(f"{name} must be 0 or more, got {value}")
        if not self.scale < 1:
            raise ValueError(f"scale must be below 1, got {self.scale}")

    def __call__(self, images: Tensor) -> Tensor:
        matrices = self.sample_matrices(len(images), images.device)
        # In bfloat16 a position would be off by up to 0.06 pixels of 28.
        with torch.autocast(images.device.type, enabled=False):
            grid = F.affine_grid(matrices, list(images.shape), align_corners=False)
        return F.grid_sample(images, grid.to(images.dtype), align_corners=False)

    def sample_matrices(
        self, num_images: int, device: torch.device | str = "cpu"
    ) -> Float[Tensor, "num_images 2 3"]:
        """Draw one matrix an image, rotation x shear x scale and a shift; the side has length 2."""

        def uniform(limit: float) -> Tensor:
            return (2 * torch.rand(num_images, device=device) - 1) * limit

        angle, shear = uniform(math.radians(self.degrees)), uniform(self.shear)
        width, height = 1 + uniform(self.scale), 1 + uniform(self.scale)
        cos, sin = angle.cos(), angle.sin()
        rows = (
            (cos * width, (cos * shear - sin) * height, uniform(2 * self.translate)),
            (sin * width, (sin * shear + cos) * height, uniform(2 * self.translate)),
        )
        return torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)
