"""The inverse of BasicProp: exact on real images, soft on generated ones, strict on all others."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from datamodules.basicprop import VARIANTS, Noise, Variant, get_variant
from datamodules.basicprop.inverse import CHUNK_SIZE

NOISES = [Noise(f, b) for f in (False, True) for b in (False, True)]
GRAY = [name for name, variant in VARIANTS.items() if variant.num_channels == 1]


def members(variant: Variant, noise: Noise, size: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return float images in [0, 1] and their factors."""
    rng = np.random.default_rng(seed)
    factors = variant.balanced_factors(size, rng)
    return variant.render(factors, rng, noise).float() / 255, factors


def canvas(*boxes: tuple[int, int, int, int], value: float = 1.0) -> Tensor:
    """Return one image with bright boxes of columns [left, right) and rows [top, bottom)."""
    image = torch.zeros(1, 1, 28, 28)
    for left, right, top, bottom in boxes:
        image[..., top:bottom, left:right] = value
    return image


def blur(images: Tensor) -> Tensor:
    kernel = torch.tensor([1.0, 2.0, 1.0]) / 4
    channels = images.shape[1]
    weight = torch.outer(kernel, kernel).expand(channels, 1, 3, 3)
    return F.conv2d(F.pad(images, (1, 1, 1, 1), "replicate"), weight, groups=channels)


# Members


@pytest.mark.parametrize("noise", NOISES, ids=str)
@pytest.mark.parametrize("name", VARIANTS)
def test_discrete_factors_of_real_images_are_read_exactly(name: Any, noise: Noise) -> None:
    variant = get_variant(name)
    images, factors = members(variant, noise, 2000)
    found, valid = variant.invert(images)
    assert found.dtype == torch.float32
    correct = (found == factors).all(dim=1) & valid
    assert correct.float().mean() >= 0.999


@pytest.mark.parametrize("noise", NOISES, ids=str)
@pytest.mark.parametrize("name", VARIANTS)
def test_continuous_factors_of_real_images_are_read_closely(name: Any, noise: Noise) -> None:
    variant = get_variant(name, continuous=True)
    images, factors = members(variant, noise, 300)
    found, valid = variant.invert(images)
    ranges = torch.tensor([factor.high - factor.low for factor in variant.factors])
    error = (found - factors).abs() / ranges
    # A real image tells a position to 0.01 px without noise, to 0.4 px with it.
    limit = 0.025 if noise.foreground or noise.background else 0.002
    assert valid.all()
    assert (error <= limit).all()


@pytest.mark.parametrize("position", range(10))
def test_hand_drawn_lines_are_read(position: int) -> None:
    left = 3 + 2 * position
    found, valid = VARIANTS["line"].invert(canvas((left, left + 4, 0, 28), value=0.8))
    assert (found.item(), valid.item()) == (position, True)


@pytest.mark.parametrize(("left", "right"), [(3, 3), (3, 21), (21, 3), (9, 15)])
def test_hand_drawn_rectangles_are_read(left: int, right: int) -> None:
    image = canvas((3, 13, 3, 3 + left), (15, 25, 3, 3 + right))
    found, valid = VARIANTS["rectangles"].invert(image)
    assert found.tolist() == [[(left - 3) / 2, (right - 3) / 2]]
    assert valid.item()


@pytest.mark.parametrize("name", VARIANTS)
def test_bytes_read_as_floats(name: str) -> None:
    images, _ = members(VARIANTS[name], Noise(), 100)
    found, valid = VARIANTS[name].invert((images * 255).round().to(torch.uint8))
    assert valid.all()
    assert found.equal(VARIANTS[name].invert(images)[0])


@pytest.mark.parametrize("noise", NOISES, ids=str)
@pytest.mark.parametrize("name", VARIANTS)
def test_soft_edges_are_tolerated(name: str, noise: Noise) -> None:
    variant = VARIANTS[name]
    images, factors = members(variant, noise, 1000)
    found, valid = variant.invert(blur(images))
    # The smallest circle and square, of 8 px, are hard to tell apart once blurred.
    assert ((found == factors).all(dim=1) & valid).float().mean() >= (
        0.95 if name == "shapes" else 0.99
    )


@pytest.mark.parametrize("name", VARIANTS)
def test_uneven_surfaces_are_tolerated(name: str) -> None:
    images, factors = members(VARIANTS[name], Noise(), 500)
    brightness = torch.linspace(0.7, 1, 28).expand(28, 28)
    images = images * brightness + 0.05 * torch.rand(images.shape)
    found, valid = VARIANTS[name].invert(images.clamp(0, 1))
    assert ((found == factors).all(dim=1) & valid).float().mean() >= 0.95


# All else


def noise_images(name: str) -> dict[str, Tensor]:
    shape = (50, *VARIANTS[name].image_shape)
    blobs = blur(blur(blur(torch.rand(shape))))
    return {
        "blank": torch.zeros(shape),
        "white": torch.ones(shape),
        "gray": torch.full(shape, 0.5),
        "noise": torch.rand(shape),
        "salt and pepper": torch.randint(2, shape).float(),
        "faint noise": 0.2 * torch.rand(shape),
        "blobs": ((blobs - 0.5) * 8 + 0.5).clamp(0, 1),
        "not a number": torch.full(shape, float("nan")),
    }


@pytest.mark.parametrize("continuous", [False, True])
@pytest.mark.parametrize("name", VARIANTS)
def test_images_of_nothing_are_rejected(name: Any, continuous: bool) -> None:
    variant = get_variant(name, continuous)
    shares = {kind: variant.valid_share(images) for kind, images in noise_images(name).items()}
    assert shares == dict.fromkeys(shares, 0)


@pytest.mark.parametrize("continuous", [False, True])
@pytest.mark.parametrize("name", VARIANTS)
def test_digits_are_rejected(name: Any, continuous: bool) -> None:
    variant = get_variant(name, continuous)
    digits = []
    for size in (16, 20, 24, 28):
        for digit in "0123456789":
            image = Image.new("L", (28, 28))
            font = ImageFont.load_default(size)
            ImageDraw.Draw(image).text((14, 14), digit, 255, font, anchor="mm")
            digits.append(torch.from_numpy(np.array(image)))
    images = torch.stack(digits)[:, None].expand(-1, variant.num_channels, -1, -1)
    assert not variant.invert(images)[1].any()


@pytest.mark.parametrize("continuous", [False, True])
@pytest.mark.parametrize("noise", NOISES, ids=str)
@pytest.mark.parametrize("name", VARIANTS)
def test_other_brightness_is_rejected(name: Any, noise: Noise, continuous: bool) -> None:
    variant = get_variant(name, continuous)
    images, _ = members(variant, noise, 50)
    assert variant.valid_share(images / 2) == 0
    assert variant.valid_share(1 - images) == 0
    assert variant.valid_share(0.4 + 0.6 * images) == 0


@pytest.mark.parametrize("noise", NOISES, ids=str)
@pytest.mark.parametrize(
    "name", ["line", "rectangles", "single_rectangle", "translation", "shapes"]
)
def test_averages_of_two_members_are_rejected(name: str, noise: Noise) -> None:
    variant = VARIANTS[name]
    images, factors = members(variant, noise, variant.num_cells)
    first, second = torch.triu_indices(variant.num_cells, variant.num_cells, 1)
    chosen = torch.randperm(len(first))[:1000]
    averages = (images[first[chosen]] + images[second[chosen]]) / 2
    assert variant.valid_share(averages) == 0


@pytest.mark.parametrize("name", ["diameters", "colorings"])
def test_averages_of_distant_members_are_rejected(name: str) -> None:
    # Nearer ones look like the member between: soft edges, or a darker hue.
    variant = VARIANTS[name]
    images, factors = members(variant, Noise(foreground=True), variant.num_cells)
    first, second = torch.triu_indices(variant.num_cells, variant.num_cells, 1)
    distant = ((factors[first] - factors[second]).abs() == (3 if name == "diameters" else 5)).any(1)
    averages = (images[first[distant]] + images[second[distant]]) / 2
    assert len(averages) >= 7
    assert variant.valid_share(averages) == 0


NOT_LINES = {
    "two lines": canvas((3, 7, 0, 28), (15, 19, 0, 28)),
    "two adjacent lines": canvas((3, 11, 0, 28)),
    "upper half": canvas((9, 13, 0, 14)),
    "lower half": canvas((9, 13, 14, 28)),
    "three quarters": canvas((9, 13, 0, 21)),
    "wide": canvas((9, 15, 0, 28)),
    "narrow": canvas((9, 11, 0, 28)),
    "horizontal": canvas((0, 28, 9, 13)),
    "interrupted": canvas((9, 13, 0, 12), (9, 13, 15, 28)),
    "left of all": canvas((1, 5, 0, 28)),
    "right of all": canvas((23, 27, 0, 28)),
}


@pytest.mark.parametrize("continuous", [False, True])
@pytest.mark.parametrize("kind", NOT_LINES)
def test_what_is_no_line_is_rejected(kind: str, continuous: bool) -> None:
    images = torch.cat([NOT_LINES[kind], 0.76 * NOT_LINES[kind] + 0.1])
    assert not get_variant("line", continuous).invert(images)[1].any()


@pytest.mark.parametrize("width", [3, 5])
def test_a_line_a_pixel_wider_or_narrower_is_rejected(width: int) -> None:
    assert VARIANTS["line"].valid_share(canvas((9, 9 + width, 0, 28))) == 0


def test_a_line_off_the_grid_is_valid_only_if_continuous() -> None:
    images = torch.cat([canvas((left, left + 4, 0, 28)) for left in range(4, 21, 2)])
    assert not VARIANTS["line"].invert(images)[1].any()
    found, valid = VARIANTS["line"].continuous().invert(images)
    assert valid.all()
    torch.testing.assert_close(found[:, 0], torch.arange(4.0, 21, 2), atol=0.01, rtol=0)


NOT_RECTANGLES = {
    "tops too high": canvas((3, 13, 2, 14), (15, 25, 2, 14)),
    "left top too high": canvas((3, 13, 2, 14), (15, 25, 3, 14)),
    "left top too low": canvas((3, 13, 4, 14), (15, 25, 3, 14)),
    "right top too low": canvas((3, 13, 3, 14), (15, 25, 4, 14)),
    "both a row lower": canvas((3, 13, 4, 15), (15, 25, 4, 15)),
    "height off the grid": canvas((3, 13, 3, 13), (15, 25, 3, 14)),
    "left missing": canvas((15, 25, 3, 14)),
    "right missing": canvas((3, 13, 3, 14)),
    "joined": canvas((3, 25, 3, 14)),
    "a third": canvas((3, 13, 3, 14), (15, 25, 3, 14), (3, 13, 22, 25)),
    "too high": canvas((3, 13, 3, 26), (15, 25, 3, 14)),
    "too small": canvas((3, 13, 3, 4), (15, 25, 3, 14)),
    "left a pixel aside": canvas((2, 12, 3, 14), (15, 25, 3, 14)),
    "smallest a pixel aside": canvas((4, 14, 3, 6), (15, 25, 3, 14)),
}


@pytest.mark.parametrize("continuous", [False, True])
@pytest.mark.parametrize("kind", NOT_RECTANGLES)
def test_what_is_no_pair_of_rectangles_is_rejected(kind: str, continuous: bool) -> None:
    images = torch.cat([NOT_RECTANGLES[kind], 0.76 * NOT_RECTANGLES[kind] + 0.1])
    valid = get_variant("rectangles", continuous).invert(images)[1]
    assert valid.all() if continuous and kind == "height off the grid" else not valid.any()


def test_each_variant_rejects_the_others() -> None:
    for name in GRAY:
        for other in set(GRAY) - {name}:
            images, _ = members(VARIANTS[other], Noise(foreground=True), 100)
            assert VARIANTS[name].valid_share(images) == 0, (name, other)


# The interface


def test_an_image_is_judged_alone() -> None:
    variant = get_variant("rectangles")
    images, _ = members(variant, Noise(foreground=True), CHUNK_SIZE + 20)
    images[::3] = images[::3].flip(2)
    before = images.clone()
    found, valid = variant.invert(images)
    assert images.equal(before)
    for i in (0, 1, CHUNK_SIZE - 1, CHUNK_SIZE, CHUNK_SIZE + 19):
        alone = variant.invert(images[i : i + 1])
        assert alone[0].equal(found[i : i + 1])
        assert alone[1].equal(valid[i : i + 1])
    assert valid.tolist() == [i % 3 > 0 for i in range(len(images))]


def test_half_precision_around_it_changes_nothing() -> None:
    variant = get_variant("rectangles", continuous=True)
    images, _ = members(variant, Noise(foreground=True), 50)
    expected = variant.invert(images)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = variant.invert(images)
    assert found[0].equal(expected[0])
    assert found[1].equal(expected[1])


def test_no_images_have_no_factors() -> None:
    found, valid = VARIANTS["colorings"].invert(torch.zeros(0, 3, 28, 28))
    assert found.shape == (0, 2)
    assert valid.shape == (0,)
    assert valid.dtype == torch.bool


@pytest.mark.parametrize("shape", [(2, 3, 28, 28), (2, 28, 28), (2, 1, 32, 32)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="^images has the shape .*; line has images of"):
        VARIANTS["line"].invert(torch.zeros(shape))


def test_shares_and_cells_are_counted_over_valid_images() -> None:
    variant = VARIANTS["rectangles"]
    rows = torch.tensor([[0.0, 0.0], [0.0, 0.0], [0.0, 1.0], [9.0, 9.0]])
    images = variant.render(rows, np.random.default_rng(0))
    images[3] = 0
    assert variant.valid_share(images) == 0.75
    factors, valid = variant.invert(images)
    assert variant.cells_covered(factors, valid) == 2
    assert variant.cells_covered(factors, torch.zeros(4, dtype=torch.bool)) == 0
    images, _ = members(variant.continuous(), Noise(), 400)
    assert variant.continuous().cells_covered(*variant.continuous().invert(images)) >= 95
