"""Files that somebody might give in place of a picture, by a name that says what is wrong."""

import gzip
import io
import struct
import zipfile
import zlib

import numpy as np
from PIL import Image

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>'


def picture(kind: str = "PNG", size: tuple[int, int] = (64, 64), mode: str = "L") -> bytes:
    """Return a harmless picture: noise, so that no format makes it small."""
    stream = np.random.default_rng(0)
    pixels = stream.integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, kind)
    return buffer.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    """Return a PNG chunk with its checksum."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, *more: bytes, depth: int = 8, colour: int = 0) -> bytes:
    """Return a PNG of any claimed size with the given further chunks."""
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return PNG_SIGNATURE + chunk(b"IHDR", head) + b"".join(more) + chunk(b"IEND", b"")


def blank(width: int, height: int) -> bytes:
    """Return the data chunk of a black gray PNG: some kilobytes for many megabytes."""
    return chunk(b"IDAT", zlib.compress(bytes((width + 1) * height), 9))


def zipped(data: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../../picture.png", data)
    return buffer.getvalue()


def resized_jpeg() -> bytes:
    """Return a JPEG that claims 65,500 x 65,500 pixels."""
    data = bytearray(picture("JPEG"))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", 65500, 65500)
    return bytes(data)


def resized_bmp() -> bytes:
    """Return a BMP that claims 100,000 x 100,000 pixels."""
    data = bytearray(picture("BMP"))
    data[18:26] = struct.pack("<ii", 100_000, 100_000)
    return bytes(data)


def resized_gif() -> bytes:
    """Return a GIF that claims 65,535 x 65,535 pixels."""
    data = bytearray(picture("GIF"))
    data[6:10] = struct.pack("<HH", 65535, 65535)
    return bytes(data)


def flipped(data: bytes) -> bytes:
    """Return a file with one byte changed in its middle."""
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 255]) + data[middle + 1 :]


def hostile_pictures() -> dict[str, bytes]:
    """Return the files by name; the ending decides what a browser takes them for."""
    whole = {kind: picture(kind) for kind in ("PNG", "JPEG", "GIF", "BMP", "WEBP")}
    bomb = zlib.compress(bytes(80 * 2**20), 9)
    return {
        "empty.png": b"",
        "text.png": b"not a picture",
        "page.png": b"<!doctype html><script>alert(1)</script>",
        "vector.svg": SVG,
        "vector.png": SVG,
        "document.png": b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n%%EOF",
        "postscript.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n",
        "program.png": b"\x7fELF\x02\x01\x01" + bytes(64),
        "archive.png": zipped(whole["PNG"]),
        "gzip.png": gzip.compress(bytes(2**20)),
        "random.jpg": np.random.default_rng(1).bytes(4096),
        "signature_only.png": PNG_SIGNATURE,
        "no_data.png": png(8, 8),
        "truncated.png": whole["PNG"][: len(whole["PNG"]) // 2],
        "truncated.jpg": whole["JPEG"][: len(whole["JPEG"]) // 2],
        "truncated.gif": whole["GIF"][: len(whole["GIF"]) // 2],
        "truncated.bmp": whole["BMP"][: len(whole["BMP"]) // 2],
        "truncated.webp": whole["WEBP"][: len(whole["WEBP"]) // 2],
        "changed_byte.png": flipped(whole["PNG"]),
        "zero_width.png": png(0, 8, blank(0, 8)),
        "odd_depth.png": png(8, 8, blank(8, 8), depth=7),
        "huge_header.png": png(2**31 - 1, 2**31 - 1, blank(8, 8)),
        "huge_header.jpg": resized_jpeg(),
        "huge_header.bmp": resized_bmp(),
        "huge_header.gif": resized_gif(),
        "wide.png": png(17_000_000, 1, blank(8, 1)),
        "bomb.png": png(9000, 9000, blank(9000, 9000)),
        "text_bomb.png": png(8, 8, chunk(b"zTXt", b"a\0\0" + bomb), blank(8, 8)),
        "tiff.png": picture("TIFF"),
        "icon.png": picture("ICO"),
        "portable.png": picture("PPM", mode="RGB"),
        "<img src=x onerror=alert(1)>.png": b"not a picture",
        "large.png": bytes(5 * 2**20),
        "program.exe": b"MZ" + bytes(64),
    }
