"""Find picture files in a folder and decode them to bytes of one size."""

import os
import re
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageOps

from datamodules.deep_pictures import eight_bits
from datamodules.errors import DataError

Resize = Literal["crop", "pad", "stretch"]
Background = Literal["black", "white"]

EXTENSIONS = {
    *(".apng", ".avif", ".bmp", ".dib", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg"),
    *(".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"),
}

# Pillow goes by a file's content; its other decoders are many, and some call other programs.
FORMATS = ("AVIF", "BMP", "DIB", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")

# Pillow warns of a decompression bomb from here on: 89 million, which decoded take 358 MB.
MAX_PIXELS = Image.MAX_IMAGE_PIXELS or 2**30 // 12

_SPLITS = {
    *("train", "training", "val", "valid", "validation", "validate", "dev"),
    *("test", "testing", "eval", "evaluation", "holdout", "held_out"),
}
# Paths named in one line; the others are counted.
NUM_NAMED = 3
_METHOD = Image.Resampling.BICUBIC


@dataclass(frozen=True)
class Listing:
    """The pictures in a folder.

    Args:
        paths: The files, sorted.
        labels: Number of each file's class; all 0 without classes.
        class_names: The sub-folders, sorted, 2 before 10; empty unless there are two or more.
        unused: Why, by path, what else was found is not used.
    """

    paths: list[Path]
    labels: list[int]
    class_names: list[str]
    unused: dict[Path, str]


def list_pictures(folder: Path) -> Listing:
    """List the pictures of a flat folder, or of a folder with a sub-folder a class.

    Links are followed. Hidden files and folders, and files that are not pictures by their ending,
    are passed over and named in `unused`.

    Raises:
        DataError: If there is no such folder, no picture, or the layout is neither of the two.
    """
    if not folder.is_dir():
        raise DataError(f"data_dir={folder} is not a folder; give one that holds pictures")
    unused: dict[Path, str] = {}
    everything = _pictures_below(folder, unused, frozenset({folder.resolve()}))
    flat = [path for path in everything if path.parent == folder]
    classes: dict[str, list[Path]] = {}
    for path in everything:
        if path.parent != folder:
            classes.setdefault(path.relative_to(folder).parts[0], []).append(path)
    if flat and classes:
        raise DataError(
            f"data_dir={folder} holds pictures both beside its sub-folders ({flat[0].name}) and in"
            f" them ({next(iter(classes))}); keep either all in it or all in a sub-folder a class"
        )
    if len(classes) > 1 and {name.casefold() for name in classes} <= _SPLITS:
        raise DataError(
            f"data_dir={folder} has the sub-folders {', '.join(classes)}, which are splits and not"
            f" classes; give one of them, such as {folder / next(iter(classes))}"
        )
    if not flat and not classes:
        seen = f"; not used: {in_words(unused, folder)}" if unused else ""
        raise DataError(
            f"data_dir={folder} holds no pictures ({' '.join(sorted(EXTENSIONS))}), neither in it"
            f" nor in its sub-folders; give another folder{seen}"
        )
    classes = dict(sorted(classes.items(), key=lambda item: _natural(item[0])))
    paths = flat or [path for paths in classes.values() for path in paths]
    labels = [number for number, paths in enumerate(classes.values()) for _ in paths]
    # All pictures in one sub-folder, as some data sets come, tell no classes apart.
    return Listing(
        paths, labels or [0] * len(flat), list(classes) if len(classes) > 1 else [], unused
    )


def decode_pictures(
    paths: Sequence[Path],
    image_shape: tuple[int, int, int],
    resize: Resize,
    background: Background,
    depth: int | None = None,
) -> tuple[np.ndarray, list[int], dict[Path, str]]:
    """Decode files to one size, on all cores.

    Args:
        paths: The files.
        image_shape: Channels (1 or 3), height and width of the result.
        resize: What to do with a picture of another shape: see ImageFolderDataModule.
        background: Colour of what a picture leaves open.
        depth: Bits of the values in files of 16 bits; None asks each file.

    Returns:
        The pictures that could be read, uint8 (N, C, H, W); the positions of their files among
        `paths`; and the reason by file of the others.
    """
    images = np.empty((len(paths), *image_shape), np.uint8)
    read: list[int] = []
    unreadable: dict[Path, str] = {}
    decode = partial(_decode_or_reason, how=(image_shape, resize, background, depth))
    # In one thread, before many ask for it.
    Image.init()
    # Pillow lets go of Python's lock while it decodes and resizes.
    with warnings.catch_warnings(), ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        # Refused below.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        for number, result in enumerate(pool.map(decode, paths)):
            if isinstance(result, str):
                unreadable[paths[number]] = result
            else:
                images[len(read)] = result
                read.append(number)
    return images[: len(read)], read, unreadable


def decode_picture(
    path: Path,
    image_shape: tuple[int, int, int],
    resize: Resize,
    background: Background,
    depth: int | None = None,
) -> np.ndarray:
    """Return one picture, the first of an animation, as uint8 (C, H, W).

    Raises:
        Exception: Of whatever kind the decoder raises for a damaged file.
    """
    channels, *size = image_shape
    with Image.open(path, formats=FORMATS) as file:
        if file.width * file.height > MAX_PIXELS:
            raise DataError(
                f"{file.width} x {file.height} pixels are more than {MAX_PIXELS / 1e6:.0f} million;"
                " make it smaller"
            )
        # A JPEG can be decoded at a half, a quarter or an eighth of its size at once.
        file.draft(None, (2 * size[1], 2 * size[0]))
        upright = ImageOps.exif_transpose(eight_bits(file, depth))
    picture = _opaque(upright, background).convert("L" if channels == 1 else "RGB")
    fitted = _RESIZE[resize](picture, (size[1], size[0]), background)
    return np.asarray(fitted).reshape(*size, channels).transpose(2, 0, 1)


def _decode_or_reason(
    path: Path, how: tuple[tuple[int, int, int], Resize, Background, int | None]
) -> np.ndarray | str:
    try:
        return decode_picture(path, *how)
    except Image.UnidentifiedImageError:
        return "no picture" if path.stat().st_size else "empty"
    except Image.DecompressionBombError:
        return f"more than {2 * MAX_PIXELS / 1e6:.0f} million pixels; make it smaller"
    except Exception as error:
        # The decoders of a dozen formats name damage by errors of any kind.
        return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _opaque(picture: Image.Image, background: Background) -> Image.Image:
    """Return a picture of 8 bits a channel, on the background where it is transparent."""
    if picture.mode == "F":
        raise DataError("its pixels are floats, of which the white is unknown; convert it to bytes")
    if not picture.has_transparency_data:
        return picture
    layer = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, background), layer)


def _natural(name: str) -> list[tuple[str, int]]:
    """Return a key that sorts numbers within names as numbers."""
    parts = re.findall(r"(\D*)(\d*)", name)
    return [(text.casefold(), int(number or -1)) for text, number in parts]


def _crop(picture: Image.Image, size: tuple[int, int], background: Background) -> Image.Image:
    return ImageOps.fit(picture, size, _METHOD)


def _pad(picture: Image.Image, size: tuple[int, int], background: Background) -> Image.Image:
    return ImageOps.pad(picture, size, _METHOD, background)


def _stretch(picture: Image.Image, size: tuple[int, int], background: Background) -> Image.Image:
    return picture.resize(size, _METHOD)


_RESIZE: dict[Resize, Callable[[Image.Image, tuple[int, int], Background], Image.Image]] = {
    "crop": _crop,
    "pad": _pad,
    "stretch": _stretch,
}


def _pictures_below(folder: Path, unused: dict[Path, str], above: frozenset[Path]) -> list[Path]:
    """Return the pictures in a folder and its sub-folders, sorted.

    Args:
        folder: Where to look.
        unused: Gets the reason of everything else.
        above: What the folder and those around it truly are, so that no link leads in a circle.
    """
    pictures = []
    for path in sorted(folder.iterdir()):
        is_picture = path.suffix.lower() in EXTENSIONS
        if path.name.startswith("."):
            unused[path] = "hidden"
        elif path.is_dir() and path.resolve() in above:
            unused[path] = "linked to a folder around it"
        elif path.is_dir():
            below = _pictures_below(path, unused, above | {path.resolve()})
            if not below and not any(path in other.parents for other in unused):
                unused[path] = "empty folder"
            pictures += below
        elif not is_picture:
            unused[path] = f"ending in {path.suffix}" if path.suffix else "without an ending"
        # A link to nowhere counts, so that it is named among what cannot be read.
        elif path.is_file() or (path.is_symlink() and not path.exists()):
            pictures.append(path)
        else:
            unused[path] = "neither a file nor a folder"
    return pictures


def in_words(unused: dict[Path, str], folder: Path) -> str:
    """Return how many paths have each reason, most first, and the names of some."""
    by_reason: dict[str, list[str]] = {}
    for path, reason in sorted(unused.items()):
        by_reason.setdefault(reason, []).append(path.relative_to(folder).as_posix())
    return "; ".join(
        f"{len(names)} {reason} ({', '.join(names[:NUM_NAMED])}"
        f"{' and others' if len(names) > NUM_NAMED else ''})"
        for reason, names in sorted(by_reason.items(), key=lambda item: -len(item[1]))
    )
