"""Any file that somebody brings becomes a picture for Q, or is refused in one line."""

import base64
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from infogan.commands.explore.preparation import Preparation, border_colour, prepare
from infogan.commands.explore.studio import Studio
from infogan.commands.explore.uploads import UploadError, decode, decode_data_url
from tests.support.hostile_pictures import hostile_pictures, picture

HOSTILE = hostile_pictures()
Build = Callable[..., Any]


# ---- uploads -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(UploadError) as refusal:
        decode(HOSTILE[name])
    message = str(refusal.value)
    assert ": " in message and "\n" not in message and len(message) < 100
    if "huge" in name or name in ("wide.png", "bomb.png"):
        assert message == "the picture has more than 16 million pixels: make it smaller"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "WEBP"])
def test_a_picture_of_every_format_is_decoded(kind: str) -> None:
    decoded = decode(picture(kind, (40, 30)))
    assert (decoded.mode, decoded.size) == ("RGBA", (40, 30))


@pytest.mark.parametrize(
    ("mode", "kind"), [("1", "PNG"), ("LA", "PNG"), ("P", "PNG"), ("I;16", "PNG"), ("CMYK", "JPEG")]
)
def test_every_mode_becomes_the_same_gray(mode: str, kind: str) -> None:
    gray = Image.new("L", (9, 9), 255)
    if mode == "I;16":
        gray = Image.fromarray(np.full((9, 9), 65535, np.uint16))
    buffer = io.BytesIO()
    (gray if mode == "I;16" else gray.convert(mode)).save(buffer, kind)
    assert np.asarray(decode(buffer.getvalue())).min() > 250


def test_an_animation_gives_its_first_frame_and_a_photograph_stands_upright() -> None:
    frames = [Image.new("L", (4, 4), value) for value in (10, 200)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    assert decode(buffer.getvalue()).getpixel((0, 0)) == (10, 10, 10, 255)
    turned = Image.new("L", (30, 20))
    exif = turned.getexif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    turned.save(buffer, "JPEG", exif=exif)
    assert decode(buffer.getvalue()).size == (20, 30)


def test_a_large_picture_is_kept_small() -> None:
    buffer = io.BytesIO()
    Image.new("L", (4000, 2000), 7).save(buffer, "PNG")
    assert decode(buffer.getvalue()).size == (1024, 512)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "this is no drawing"),
        ("data:text/html;base64,PGI+", "this is no drawing"),
        ("file:///etc/passwd", "this is no drawing"),
        ("data:image/png;base64,????", "the drawing arrived damaged"),
        ("data:image/png;base64,aGVsbG8=", "this is no picture"),
        ("data:image/png;base64," + "A" * 7_000_000, "has more than 4 MB"),
        ("data:image/png;base64,ü", "the drawing arrived damaged"),
    ],
)
def test_a_drawing_that_is_none_is_refused(url: str, message: str) -> None:
    with pytest.raises(UploadError, match=message):
        decode_data_url(url)


def test_a_drawing_arrives() -> None:
    url = "data:image/png;base64," + base64.b64encode(picture()).decode()
    assert decode_data_url(url).size == (64, 64)


# ---- preparation -------------------------------------------------------------------------------


def figure(paper: int, ink: int, size: tuple[int, int] = (90, 60)) -> Image.Image:
    """Return a sheet with a bar in its upper left."""
    sheet = Image.new("L", size, paper)
    sheet.paste(ink, (10, 10, 20, 40))
    return sheet.convert("RGBA")


def test_a_picture_is_squared_and_scaled() -> None:
    how = Preparation((1, 12, 12), paper=0.0, invert=False)
    image = prepare(figure(0, 255), how)
    assert image.shape == (1, 12, 12) and image.dtype == torch.float32
    assert image[0, :2].max() == 0 and image[0, 10:].max() == 0
    assert image[0, 4, 1] > 0.5 and image[0, 4, 8] == 0
    colour = prepare(Image.new("RGBA", (7, 7), (255, 0, 51, 255)), Preparation((3, 8, 8), 0.0))
    assert colour[:, 4, 4].tolist() == pytest.approx([1, 0, 0.2])


def test_dark_on_light_is_turned_round_for_a_model_that_draws_light_on_dark() -> None:
    drawn = figure(240, 10)
    turned = prepare(drawn, Preparation((1, 12, 12), paper=0.0))
    assert border_colour(turned).item() < 0.1 and turned.max() > 0.5
    kept = prepare(drawn, Preparation((1, 12, 12), paper=0.0, invert=False))
    assert border_colour(kept).item() > 0.9
    light = prepare(drawn, Preparation((1, 12, 12), paper=1.0))
    assert border_colour(light).item() > 0.9


@pytest.mark.parametrize("paper", [0.0, 1.0])
def test_a_figure_is_cut_out_and_centred_by_its_mass(paper: float) -> None:
    image = prepare(figure(230, 30), Preparation((1, 28, 28), paper, centre=True))[0]
    ink = (image - paper).abs()
    assert ink.max() == pytest.approx(1, abs=0.01)
    rows = (ink > 0.5).any(dim=1).nonzero()
    assert rows.max() - rows.min() + 1 == 20
    middle = [(ink.sum(dim=1 - axis) * torch.arange(28)).sum() / ink.sum() for axis in (0, 1)]
    assert middle == pytest.approx([13.5, 13.5], abs=0.6)


def test_a_blank_sheet_has_no_figure() -> None:
    sheet = Image.new("RGBA", (50, 50), "white")
    with pytest.raises(UploadError, match="nothing on the background: draw or choose a figure"):
        prepare(sheet, Preparation((1, 28, 28), 0.0, centre=True))
    assert prepare(sheet, Preparation((1, 28, 28), 0.0)).max() == 0


def test_transparency_shows_the_models_background() -> None:
    clear = Image.new("RGBA", (8, 8), (255, 255, 255, 0))
    assert prepare(clear, Preparation((1, 8, 8), 0.0)).max() == 0
    assert prepare(clear, Preparation((1, 8, 8), 1.0)).min() == 1


class Painter(torch.nn.Module):
    """A generator that draws a white bar on black, in the middle or where the noise says."""

    def __init__(self, centred: bool) -> None:
        super().__init__()
        self.centred = centred

    def forward(self, latent: Tensor) -> Tensor:
        images = torch.zeros(len(latent), 1, 8, 8)
        for image, z in zip(images, latent[:, 0], strict=True):
            column = 3 if self.centred else int(3 + 3 * z)
            image[0, :, column : column + 2] = 1
        return images


@pytest.mark.parametrize("centred", [True, False])
def test_what_the_models_images_are_like_is_seen_from_samples(build: Build, centred: bool) -> None:
    module = build()
    module.generator = Painter(centred)
    studio = Studio(module)
    assert studio.paper == 0
    assert studio.is_centred == centred
