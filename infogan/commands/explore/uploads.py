"""Pictures that a person brings, checked before they are decoded: no file is trusted."""

import base64
import io
import warnings

from PIL import Image, ImageOps

from datamodules.deep_pictures import eight_bits

MAX_BYTES = 4 * 2**20
MAX_PIXELS = 16_000_000
# An image is kept no larger than this: no network here comes near it.
KEPT_SIDE = 1024
FORMATS = {"PNG": "PNG", "JPEG": "JPEG", "WEBP": "WebP", "GIF": "GIF", "BMP": "BMP"}
BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)


class UploadError(ValueError):
    """Says in one line why a picture is refused."""


def decode(content: bytes, max_bytes: int = MAX_BYTES, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decode a picture, its first frame if it has several, upright, as RGBA of at most 1024 pixels.

    Raises:
        UploadError: If it is too large, damaged, or no picture.
    """
    if not content:
        raise UploadError("the file is empty: choose a picture")
    if len(content) > max_bytes:
        raise UploadError(
            f"the file has {len(content) / 2**20:.1f} MB and the limit is {max_bytes / 2**20:.0f}: "
            "make it smaller"
        )
    too_many = f"the picture has more than {max_pixels / 1e6:g} million pixels: make it smaller"
    kinds = ", ".join(FORMATS.values())
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            opened = Image.open(io.BytesIO(content), formats=list(FORMATS))
            # Only the header has been read: a bomb is refused before it unfolds.
            if opened.width * opened.height > max_pixels:
                raise UploadError(too_many)
        except UploadError:
            raise
        except BOMBS as error:
            raise UploadError(too_many) from error
        except Exception as error:  # Pillow names damage by errors of any kind
            raise UploadError(f"this is no picture that can be read: give {kinds}") from error
        try:
            picture = ImageOps.exif_transpose(eight_bits(opened)).convert("RGBA")
        except Exception as error:
            kind = FORMATS[opened.format or "PNG"]
            raise UploadError(f"the {kind} file is damaged or cut short: save it anew") from error
    picture.thumbnail((KEPT_SIDE, KEPT_SIDE))
    return picture


def decode_data_url(
    url: str, max_bytes: int = MAX_BYTES, max_pixels: int = MAX_PIXELS
) -> Image.Image:
    """Decode a drawing that the page sends as text, `data:image/png;base64,...`.

    Raises:
        UploadError: If it is none, too large or damaged.
    """
    way_out = "clear the sheet and draw again"
    head, _, body = url.partition(",")
    if head != "data:image/png;base64":
        raise UploadError(f"this is no drawing: {way_out}")
    if len(body) > max_bytes * 4 // 3 + 4:
        raise UploadError(f"the drawing has more than {max_bytes / 2**20:g} MB: {way_out}")
    try:
        content = base64.b64decode(body, validate=True)
    except ValueError as error:
        raise UploadError(f"the drawing arrived damaged: {way_out}") from error
    return decode(content, max_bytes, max_pixels)
