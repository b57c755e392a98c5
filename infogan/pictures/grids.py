"""Lay out image tensors as labelled pictures (bytes, as PIL and loggers take them)."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from infogan.files import replacing

INK, PAPER = 32, 255
FONT_SIZE = 15


def to_bytes(images: Float[Tensor, "... channels height width"]) -> np.ndarray:
    """Return images in [0, 1] as RGB bytes, (..., height, width, 3)."""
    pixels = images.detach().float().clamp(0, 1).mul(255).round().to(torch.uint8).cpu()
    return pixels.expand(*pixels.shape[:-3], 3, *pixels.shape[-2:]).movedim(-3, -1).numpy()


def tile(
    grid: UInt8[np.ndarray, "rows columns height width 3"], scale: int = 2, gap: int = 2
) -> UInt8[np.ndarray, "h w 3"]:
    """Join a grid of images into one picture.

    Args:
        grid: The images by row and column.
        scale: Screen pixels per image pixel.
        gap: Screen pixels of paper between two images.
    """
    grid = grid.repeat(scale, axis=2).repeat(scale, axis=3)
    padded = np.pad(grid, ((0, 0), (0, 0), (0, gap), (0, gap), (0, 0)), constant_values=PAPER)
    rows, columns, height, width, channels = padded.shape
    picture = padded.swapaxes(1, 2).reshape(rows * height, columns * width, channels)
    return picture[: rows * height - gap, : columns * width - gap]


def annotate(
    picture: UInt8[np.ndarray, "h w 3"], title: str, row_labels: Sequence[str]
) -> UInt8[np.ndarray, "h2 w2 3"]:
    """Write a title above a tiled picture and one label left of each of its rows."""
    font = ImageFont.load_default(FONT_SIZE)
    pad = 8
    left = pad + max(int(font.getlength(label)) for label in row_labels) + pad
    top = FONT_SIZE + 2 * pad
    height, width = picture.shape[:2]
    right_edge = max(left + width, left + int(font.getlength(title))) + pad
    canvas = Image.new("RGB", (right_edge, top + height + pad), (PAPER,) * 3)
    canvas.paste(Image.fromarray(picture), (left, top))
    draw = ImageDraw.Draw(canvas)
    draw.text((left, pad - 2), title, fill=(INK,) * 3, font=font)
    for row, label in enumerate(row_labels):
        centre = top + height * (row + 0.5) / len(row_labels)
        draw.text((left - pad, centre), label, fill=(INK,) * 3, font=font, anchor="rm")
    return np.asarray(canvas)


def side_by_side(pictures: Sequence[np.ndarray]) -> UInt8[np.ndarray, "h w 3"]:
    """Put pictures next to one another, aligned at the top, on paper."""
    height = max(picture.shape[0] for picture in pictures)
    padded = [
        np.pad(p, ((0, height - p.shape[0]), (0, 0), (0, 0)), constant_values=PAPER)
        for p in pictures
    ]
    return np.concatenate(padded, axis=1)


def save_png(path: Path, picture: np.ndarray) -> None:
    """Write one picture, making its folder."""
    with replacing(path) as part:
        Image.fromarray(picture).save(part, "PNG")


def small_png(path: Path) -> bytes:
    """Return a picture file as a PNG, in gray if it has no colour, as small as PNG makes it.

    Raises:
        OSError: If the file is no picture.
    """
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    pixels = np.asarray(image)
    is_gray = bool((pixels == pixels[..., :1]).all())
    stream = io.BytesIO()
    (image.convert("L") if is_gray else image).save(stream, "PNG", optimize=True)
    return stream.getvalue()


def save_animation(path: Path, frames: Sequence[Path], seconds: float) -> None:
    """Join PNG files into one animated GIF that lasts about `seconds` and rests at its end."""
    images = [Image.open(frame).convert("L") for frame in frames]
    width, height = (max(image.size[axis] for image in images) for axis in (0, 1))
    canvases = []
    for image in images:
        canvas = Image.new("L", (width, height), PAPER)
        canvas.paste(image)
        canvases.append(canvas)
    duration = [max(40, int(1000 * seconds / len(canvases)))] * (len(canvases) - 1) + [2000]
    canvases[0].save(
        path, save_all=True, append_images=canvases[1:], duration=duration, loop=0, optimize=True
    )
