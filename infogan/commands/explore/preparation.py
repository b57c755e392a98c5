"""Make any picture into what the networks take: their size, channels, and side of gray."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from infogan.commands.explore.uploads import UploadError

# MNIST's digits fill a box of 20 of the 28 pixels, with their centre of mass in the middle.
FIGURE_SHARE = 20 / 28
# A pixel belongs to the figure if its brightness differs so much from the background's.
FIGURE_CONTRAST = 0.25


@dataclass(frozen=True)
class Preparation:
    """How a picture becomes an input of the networks.

    Args:
        shape: Channels, height and width of the module's images.
        paper: Brightness of the background in the module's images, in [0, 1].
        invert: Whether to turn a gray picture round whose background is the opposite.
        centre: Whether to cut the figure out and centre it, as MNIST was made.
    """

    shape: tuple[int, int, int]
    paper: float
    invert: bool = True
    centre: bool = False


def prepare(picture: Image.Image, how: Preparation) -> Tensor:
    """Return an RGBA picture as (channels, height, width) in [0, 1].

    Raises:
        UploadError: If the picture is blank and its figure was to be cut out.
    """
    channels, side, _ = how.shape
    paper = (round(255 * how.paper),) * 3
    flat = Image.alpha_composite(Image.new("RGBA", picture.size, (*paper, 255)), picture)
    pixels = torch.from_numpy(np.array(flat.convert("L" if channels == 1 else "RGB"))) / 255
    image = pixels.reshape(*pixels.shape[:2], channels).permute(2, 0, 1)
    background = border_colour(image)
    if channels == 1 and how.invert and abs(background.item() - how.paper) > 0.5:
        image, background = 1 - image, 1 - background
    if how.centre:
        if channels == 1:
            image = paper_and_ink(image, background, how.paper)
            background = border_colour(image)
        return centred(image, background, side)
    return resized(squared(image, background), side, side)


def border_colour(image: Tensor) -> Tensor:
    """Return the median of the outermost pixels of (channels, h, w), by channel."""
    edges = [image[:, 0], image[:, -1], image[:, :, 0], image[:, :, -1]]
    return torch.cat(edges, dim=1).median(dim=1).values.reshape(-1, 1, 1)


def resized(image: Tensor, height: int, width: int) -> Tensor:
    """Resize (channels, h, w) without aliasing."""
    size = (height, width)
    return F.interpolate(image[None], size, mode="bilinear", antialias=True)[0].clamp(0, 1)


def squared(image: Tensor, background: Tensor) -> Tensor:
    """Extend the shorter side with background."""
    _, height, width = image.shape
    side = max(height, width)
    square = background.expand(-1, side, side).clone()
    top, left = (side - height) // 2, (side - width) // 2
    square[:, top : top + height, left : left + width] = image
    return square


def paper_and_ink(image: Tensor, background: Tensor, paper: float) -> Tensor:
    """Give a gray picture the model's background, and its figure the full contrast."""
    difference = image - background
    return (paper + difference / difference.abs().max().clamp_min(FIGURE_CONTRAST)).clamp(0, 1)


def centred(image: Tensor, background: Tensor, side: int) -> Tensor:
    """Cut out what differs from the background; put its centre of mass in the middle.

    Raises:
        UploadError: If nothing differs.
    """
    ink = (image - background).abs().amax(dim=0)
    rows, columns = (
        (ink > FIGURE_CONTRAST).any(dim=axis).nonzero().flatten().tolist() for axis in (1, 0)
    )
    if not rows:
        raise UploadError("there is nothing on the background: draw or choose a figure")
    window = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    scale = FIGURE_SHARE * side / max(rows[-1] + 1 - rows[0], columns[-1] + 1 - columns[0])
    height, width = (max(1, round(scale * (s.stop - s.start))) for s in window)
    figure = resized(image[:, *window], height, width)
    mass = resized(ink[None, *window], height, width)[0]
    offsets = []
    for axis, length in ((1, height), (0, width)):
        share = mass.sum(dim=axis) / mass.sum()
        middle = float((share * (torch.arange(length) + 0.5)).sum())
        offsets.append(min(max(round(side / 2 - middle), 0), side - length))
    sheet = background.expand(-1, side, side).clone()
    top, left = offsets
    sheet[:, top : top + height, left : left + width] = figure
    return sheet
