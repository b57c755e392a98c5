"""Folders of pictures for tests: gray ones that tell their class and number, and damaged ones."""

import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIZE = 8


def save(path: Path, pixels: Any, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path, **options)
    return path


def gray(value: int, size: tuple[int, int] = (SIZE, SIZE)) -> np.ndarray:
    return np.full(size, value, np.uint8)


def write_classes(folder: Path, number: int = 10) -> Path:
    """Write `number` gray pictures a class; the pixels of each are 10 * class + number."""
    for label, name in enumerate(("cat", "dog", "owl")):
        for i in range(number):
            save(folder / name / f"{i:02d}.png", gray(10 * label + i))
    return folder


def chunk(kind: bytes, content: bytes) -> bytes:
    """Return a part of a PNG with its length and checksum."""
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def png_of_16_bits(pixels: np.ndarray) -> bytes:
    """Return (H, W, channels) of 1 to 4 channels as a PNG, which Pillow cannot write of colours."""
    height, width, channels = pixels.shape
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def bomb(path: Path, width: int, height: int) -> Path:
    """Write a PNG whose header announces a huge picture, of which it has some rows."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(10**6)))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + parts + chunk(b"IEND", b""))
    return path


def write_with_damage(folder: Path) -> Path:
    """Write 30 good pictures and six files that are none."""
    write_classes(folder)
    good = BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    Image.fromarray(noise).save(good, "JPEG")
    (folder / "cat" / "cut.jpg").write_bytes(good.getvalue()[:1500])
    (folder / "cat" / "empty.png").write_bytes(b"")
    (folder / "dog" / "text.png").write_bytes(b"<html>not found</html>")
    (folder / "dog" / "gone.png").symlink_to(folder / "nowhere.png")
    bomb(folder / "owl" / "bomb.png", 60_000, 60_000)
    bomb(folder / "owl" / "huge.png", 12_000, 10_000)
    return folder
