"""Pictures of more than 8 bits a channel, as microscopes and scanners write them."""

import warnings
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torchvision.io import ImageReadMode, decode_image

# Bits that cameras have; files of 16 bits a channel hold the values of any of them.
DEPTHS = (8, 10, 12, 14, 16)
# What a file of more than 8 bits may be called.
ENDINGS = {".pgm", ".png", ".pnm", ".tif", ".tiff"}
_ORIENTATION = 0x0112


def eight_bits(picture: Image.Image, depth: int | None = None) -> Image.Image:
    """Return an opened picture with 8 bits a channel: white is the largest value of its depth.

    Args:
        picture: As `Image.open` returns it; of other depths it is returned as it is.
        depth: Bits of the values; None for the fewest of 8, 10, 12, 14 and 16 that hold them.
    """
    values = _deep_values(picture)
    if values is None:
        return picture
    colours, alpha = _without_alpha(values)
    layers = [_scaled(colours, depth or _depth_of(colours))]
    if alpha is not None:
        layers.append(_scaled(alpha, _depth_of(alpha)))
    # (H, W, channels), or (H, W) of gray
    shallow = Image.fromarray(np.concatenate(layers, axis=-1).squeeze())
    shallow.getexif()[_ORIENTATION] = picture.getexif().get(_ORIENTATION, 1)
    return shallow


def deepest(paths: Iterable[Path], formats: tuple[str, ...], max_pixels: int) -> int | None:
    """Return the bits that hold all values of the deep pictures among files; None of none.

    One for a whole folder: of a dark picture among bright ones nobody could tell.

    Args:
        paths: The files.
        formats: Pillow's names of the formats that are read.
        max_pixels: Larger pictures are passed over.
    """

    def largest(path: Path) -> int:
        try:
            with Image.open(path, formats=formats) as file:
                if file.width * file.height > max_pixels:
                    return 0
                values = _deep_values(file)
        except (OSError, ValueError, SyntaxError, RuntimeError, UnidentifiedImageError):
            return 0  # named, with its reason, when it is decoded
        except Image.DecompressionBombError:
            return 0
        return 0 if values is None else int(_without_alpha(values)[0].max())

    # What is too large is refused when it is decoded.
    with warnings.catch_warnings(), ThreadPoolExecutor(8) as pool:
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        found = [path for path in paths if path.suffix.lower() in ENDINGS]
        value = max(pool.map(largest, found), default=0)
    return _depth_of(np.array(value)) if value else None


def _deep_values(picture: Image.Image) -> np.ndarray | None:
    """Return the values of a picture of 16 bits, (H, W, channels); None of another."""
    if picture.mode.startswith("I"):
        return np.asarray(picture).astype(np.int64).clip(0, 65535)[..., None]
    tiles = getattr(picture, "tile", None)
    if picture.format != "PNG" or not tiles or "16" not in str(tiles[0][3]):
        return None
    # Pillow keeps the upper 8 of 16 bits of colours.
    file = picture.fp  # type: ignore[attr-defined]
    file.seek(0)
    content = torch.frombuffer(bytearray(file.read()), dtype=torch.uint8)
    decoded = decode_image(content, ImageReadMode.UNCHANGED)  # (channels, H, W)
    return decoded.permute(1, 2, 0).numpy().astype(np.int64)


def _without_alpha(values: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the colours of (H, W, channels), and the opacity if there is one."""
    has_alpha = values.shape[-1] in (2, 4)
    return (values[..., :-1], values[..., -1:]) if has_alpha else (values, None)


def _depth_of(values: np.ndarray) -> int:
    return next(depth for depth in DEPTHS if values.max() < 2**depth)


def _scaled(values: np.ndarray, depth: int) -> np.ndarray:
    """Return values of a depth as bytes, rounded."""
    white = 2**depth - 1
    return ((values * 255 + white // 2) // white).clip(0, 255).astype(np.uint8)
