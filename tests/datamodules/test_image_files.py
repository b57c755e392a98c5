"""One picture file: sizes, transparency, depths and orientation."""

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from PIL import Image

from datamodules import DataError
from datamodules.image_files import Background, Resize, decode_picture
from infogan.commands.explore.uploads import decode
from tests.support.pictures import SIZE, gray, png_of_16_bits, save


def test_pictures_of_the_right_size_keep_every_pixel(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    path = save(tmp_path / "a.png", pixels)
    for resize in get_args(Resize):
        image = decode_picture(path, (3, SIZE, SIZE), resize, "black")
        assert np.array_equal(image, pixels.transpose(2, 0, 1))


def test_crop_pad_and_stretch(tmp_path: Path) -> None:
    # Three stripes, white in the middle, twice as wide as high.
    pixels = np.full((20, 40), 100, np.uint8)
    pixels[:, 10:30] = 255
    path = save(tmp_path / "a.png", pixels)

    def row(resize: Any, background: Any = "black") -> np.ndarray:
        return decode_picture(path, (1, SIZE, SIZE), resize, background)[0]

    assert (row("crop") > 240).all()
    stretched = row("stretch")
    assert (stretched[:, [0, -1]] < 110).all() and (stretched[:, 3:5] > 240).all()
    padded = row("pad")
    assert (padded[:2] == 0).all() and (padded[-2:] == 0).all() and (padded[2:6, 3:5] > 240).all()
    assert (row("pad", "white")[:2] == 255).all()


def test_transparent_pixels_show_the_background(tmp_path: Path) -> None:
    pixels = np.zeros((SIZE, SIZE, 4), np.uint8)
    pixels[: SIZE // 2] = (200, 100, 50, 255)
    path = save(tmp_path / "a.png", pixels)
    palette = Image.fromarray(gray(0)).convert("P")
    palette.save(tmp_path / "b.gif", transparency=0)
    papers: list[tuple[Background, int]] = [("black", 0), ("white", 255)]
    for background, value in papers:
        image = decode_picture(path, (3, SIZE, SIZE), "crop", background)
        assert image[:, 0, 0].tolist() == [200, 100, 50]
        assert image[:, -1, 0].tolist() == [value] * 3
        indexed = decode_picture(tmp_path / "b.gif", (1, SIZE, SIZE), "crop", background)
        assert (indexed == value).all()


def test_pictures_of_other_depths(tmp_path: Path) -> None:
    deep = np.full((SIZE, SIZE), 200 * 257, np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    Image.fromarray(np.ones((SIZE, SIZE), bool)).save(tmp_path / "bits.png")
    Image.new("CMYK", (SIZE, SIZE), (0, 255, 255, 0)).save(tmp_path / "print.jpg", quality=100)
    Image.fromarray(np.ones((SIZE, SIZE), np.float32)).save(tmp_path / "floats.tif")
    shape = (1, SIZE, SIZE)
    assert (decode_picture(tmp_path / "deep.png", shape, "crop", "black") == 200).all()
    assert (decode_picture(tmp_path / "bits.png", shape, "crop", "black") == 255).all()
    red = decode_picture(tmp_path / "print.jpg", (3, SIZE, SIZE), "crop", "black")
    assert (red[0] > 230).all() and (red[1:] < 20).all()
    with pytest.raises(DataError, match="floats"):
        decode_picture(tmp_path / "floats.tif", shape, "crop", "black")


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("depth", [10, 12, 14, 16])
def test_white_is_the_largest_value_of_a_files_depth(
    channels: int, depth: int, tmp_path: Path
) -> None:
    """A camera's 12 bits in 16 would be near black; its transparency may have all 16."""
    white = 2**depth - 1
    pixels = np.zeros((SIZE, SIZE, channels), np.uint16)
    pixels[: SIZE // 2, :, : channels - (channels in (2, 4))] = white
    if channels in (2, 4):
        pixels[..., -1] = 65535
    path = tmp_path / "a.png"
    path.write_bytes(png_of_16_bits(pixels))
    image = decode_picture(path, (3, SIZE, SIZE), "crop", "black")
    assert (image[:, 0] == 255).all() and (image[:, -1] == 0).all()
    # As one of a folder whose brightest picture has all 16 bits.
    dark = decode_picture(path, (3, SIZE, SIZE), "crop", "black", depth=16)
    assert (dark[:, 0] == round(255 * white / 65535)).all()
    page = decode(path.read_bytes())
    assert np.asarray(page)[0, 0].tolist() == [255, 255, 255, 255]


def test_a_photo_stands_upright_and_large_jpegs_are_reduced(tmp_path: Path) -> None:
    pixels = np.zeros((400, 400), np.uint8)
    pixels[:200] = 255  # white above
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by a quarter
    path = save(tmp_path / "a.jpg", pixels, exif=exif, quality=95)
    image = decode_picture(path, (1, SIZE, SIZE), "crop", "black")[0].astype(int)
    assert (image[:, 5:] > 240).all() and (image[:, :3] < 15).all()
