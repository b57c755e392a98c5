"""Draw flat shapes on a 28x28 canvas: opacity, colour, pixel noise; all vectorised.

Lengths are in pixels, x to the right and y down from the top-left corner of the image; the pixel
in row i and column j covers [j, j + 1] x [i, i + 1].
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

IMAGE_SIZE = 28
FOREGROUND_NOISE = (150, 239)
BACKGROUND_NOISE = (0, 59)
_TRIANGLE_SIDE = 1.25**0.5  # length of a side's normal (1, 1/2): turns it into a distance


@dataclass(frozen=True)
class Noise:
    """The pixel noise of the real images: independent at every pixel, clean at 255 and 0.

    Args:
        foreground: Draw every pixel of a shape uniformly from 150, ..., 239.
        background: Draw every other pixel uniformly from 0, ..., 59.
    """

    foreground: bool = False
    background: bool = False


@dataclass(frozen=True)
class Layers:
    """The shapes of a batch of images, which never overlap, and the colour of each."""

    opacity: Float[Tensor, "batch shapes height width"]
    color: Float[Tensor, "batch shapes channels"]

    def basis(self) -> Float[Tensor, "batch levels pixels"]:
        """Return the images of which every clean or noisy member is a sum, flattened.

        One for each shape at full brightness in its colour, and last the background.
        """
        shapes = self.opacity[:, :, None] * self.color[..., None, None]  # (B, S, C, H, W)
        background = 1 - self.opacity.sum(dim=1, keepdim=True)[:, :, None]
        background = background.expand(-1, -1, self.color.shape[-1], -1, -1)
        return torch.cat([shapes, background], dim=1).flatten(2)


def pixel_centers(
    device: torch.device,
) -> tuple[Float[Tensor, "1 1 width"], Float[Tensor, "1 height 1"]]:
    """Return the x of each column's and the y of each row's centre, ready to broadcast."""
    centers = torch.arange(IMAGE_SIZE, device=device) + 0.5
    return centers.reshape(1, 1, -1), centers.reshape(1, -1, 1)


def bar(
    left: Tensor | float,
    top: Tensor | float,
    width: float,
    height: Tensor | float,
    device: torch.device,
) -> Float[Tensor, "batch height width"]:
    """Return the opacity of upright bars; edges on whole pixels are hard."""
    x, y = pixel_centers(device)
    left, top, height = _per_image(left), _per_image(top), _per_image(height)
    across = torch.maximum(left - x, x - (left + width))
    down = torch.maximum(top - y, y - (top + height))
    return _opacity(torch.maximum(across, down))


def square(
    center_x: float, center_y: float, side: Tensor | float, device: torch.device
) -> Float[Tensor, "batch height width"]:
    """Return the opacity of upright squares."""
    x, y = pixel_centers(device)
    distance = torch.maximum((x - center_x).abs(), (y - center_y).abs())
    return _opacity(distance - _per_image(side) / 2)


def circle(
    center_x: float, center_y: float, diameter: Tensor | float, device: torch.device
) -> Float[Tensor, "batch height width"]:
    """Return the opacity of filled circles."""
    x, y = pixel_centers(device)
    distance = torch.sqrt((x - center_x) ** 2 + (y - center_y) ** 2)
    return _opacity(distance - _per_image(diameter) / 2)


def triangle(
    center_x: float, center_y: float, side: Tensor | float, device: torch.device
) -> Float[Tensor, "batch height width"]:
    """Return the opacity of triangles, apex up, as wide and high as a square of that side."""
    x, y = pixel_centers(device)
    half = _per_image(side) / 2
    below_apex = y - center_y + half
    sides = ((x - center_x).abs() - below_apex / 2) / _TRIANGLE_SIDE
    return _opacity(torch.maximum(sides, below_apex - 2 * half))


def hue_to_rgb(hue: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch 3"]:
    """Return the saturated colour at each hue in degrees: red 0, green 120, blue 240."""
    sector = hue[..., None] / 60 + torch.tensor([0.0, 4.0, 2.0], device=hue.device)
    return ((sector % 6 - 3).abs() - 1).clamp(0, 1)


def paint(
    layers: Layers, rng: np.random.Generator, noise: Noise
) -> UInt8[Tensor, "batch channels height width"]:
    """Paint the shapes over the background and round to bytes.

    The noise is one brightness a pixel, the same in all its channels, so it never changes a hue.
    """
    batch, _, height, width = layers.opacity.shape
    image = torch.einsum("bshw,bsc->bchw", layers.opacity, layers.color)
    if noise.foreground:
        image *= _draw_brightness((batch, 1, height, width), FOREGROUND_NOISE, rng)
    else:
        image *= 255
    if noise.background:
        brightness = _draw_brightness((batch, 1, height, width), BACKGROUND_NOISE, rng)
        image += (1 - layers.opacity.sum(dim=1, keepdim=True)).mul_(brightness)
    return image.round_().to(torch.uint8)


def _draw_brightness(
    shape: tuple[int, ...], bounds: tuple[int, int], rng: np.random.Generator
) -> Tensor:
    # 16 bits, because numpy draws bytes at a third of the speed.
    levels = rng.integers(*bounds, size=shape, dtype=np.uint16, endpoint=True)
    return torch.from_numpy(levels.astype(np.float32))


def _opacity(signed_distance: Tensor) -> Tensor:
    """Return the share of a pixel that a shape covers: 1 inside, 0 outside, a ramp 1 px wide."""
    return (0.5 - signed_distance).clamp(0, 1)


def _per_image(value: Tensor | float) -> Tensor | float:
    return value[:, None, None] if isinstance(value, Tensor) else value
