"""The variants of BasicProp: which factors each has, and the shapes they set.

`line`, `rectangles` and `single_rectangle` have the measures of the paper's authors (section 3.2).
The others are those the paper proposes as BasicProp++ (appendix A, figure 5); they were never
published, so their measures are ours.
"""

from typing import Literal

import torch
from torch import Tensor

from datamodules.basicprop.geometry import (
    IMAGE_SIZE,
    Layers,
    bar,
    circle,
    hue_to_rgb,
    square,
    triangle,
)
from datamodules.basicprop.scales import Scale
from datamodules.basicprop.variant import Variant

VariantName = Literal[
    "line", "rectangles", "single_rectangle", "translation", "diameters", "colorings", "shapes"
]


def _gray(*opacities: Tensor) -> Layers:
    opacity = torch.stack(opacities, dim=1)
    return Layers(opacity, torch.ones(*opacity.shape[:2], 1, device=opacity.device))


def _line(values: Tensor) -> Layers:
    """Draw a bar 4 px wide over the full height; its left edge is at the position."""
    return _gray(bar(values[:, 0], 0, 4, IMAGE_SIZE, values.device))


def _left_rectangle(height: Tensor) -> Tensor:
    return bar(3, 3, 10, height, height.device)


def _single_rectangle(values: Tensor) -> Layers:
    """Draw the left one of the rectangles alone."""
    return _gray(_left_rectangle(values[:, 0]))


def _rectangles(values: Tensor) -> Layers:
    """Draw two bars 10 px wide, which hang from y = 3."""
    left, right = values.unbind(dim=1)
    return _gray(_left_rectangle(left), bar(15, 3, 10, right, values.device))


def _translation(values: Tensor) -> Layers:
    """Draw a bar of 4 x 8 px; its top-left corner is at (x, y)."""
    x, y = values.unbind(dim=1)
    return _gray(bar(x, y, 4, 8, values.device))


def _diameters(values: Tensor) -> Layers:
    """Draw two circles whose diameters add up to 20 px, in the ratio left : right."""
    ratio = 2 ** values[:, 0]
    left = 20 * ratio / (1 + ratio)
    return _gray(circle(8, 14, left, values.device), circle(20, 14, 20 - left, values.device))


def _colorings(values: Tensor) -> Layers:
    """Draw a circle and a square, each in its hue."""
    shapes = circle(8, 14, 10, values.device), square(20, 14, 10, values.device)
    opacity = torch.stack(shapes, dim=1).expand(len(values), -1, -1, -1)
    return Layers(opacity, hue_to_rgb(values))


def _shapes(values: Tensor) -> Layers:
    """Draw a circle, a triangle or a square in the middle, as wide and high as the size."""
    kind, size = values.unbind(dim=1)
    kinds = [draw(14, 14, size, values.device) for draw in (circle, triangle, square)]
    return _gray(torch.stack(kinds)[kind.long(), torch.arange(len(kind), device=kind.device)])


_LEFT_HEIGHT = Scale("left_height", 3, 21)
_RIGHT_HEIGHT = Scale("right_height", 3, 21)
_SHAPE = Scale("shape", 0, 2, num_values=3, has_continuous=False)

_ALL: tuple[Variant, ...] = (
    Variant("line", (Scale("position", 3, 21),), _line),
    Variant("rectangles", (_LEFT_HEIGHT, _RIGHT_HEIGHT), _rectangles),
    Variant("single_rectangle", (_LEFT_HEIGHT,), _single_rectangle),
    Variant("translation", (Scale("x", 3, 21), Scale("y", 1, 19)), _translation),
    Variant("diameters", (Scale("log2_diameter_ratio", -2, 2),), _diameters),
    Variant("colorings", (Scale("left_hue", 0, 300), Scale("right_hue", 0, 300)), _colorings, 3),
    Variant("shapes", (_SHAPE, Scale("size", 8, 26)), _shapes),
)

VARIANTS: dict[str, Variant] = {variant.name: variant for variant in _ALL}


def get_variant(name: VariantName, continuous: bool = False) -> Variant:
    """Return a variant by its name.

    Args:
        name: One of `VARIANTS`.
        continuous: Whether its factors take all values between their ends, too.

    Raises:
        ValueError: If there is no variant of that name.
    """
    if name not in VARIANTS:
        raise ValueError(f"variant={name!r} is unknown; choose one of {', '.join(VARIANTS)}")
    return VARIANTS[name].continuous() if continuous else VARIANTS[name]
