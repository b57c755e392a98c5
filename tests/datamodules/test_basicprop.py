"""BasicProp: the geometry, the noise and the factors of every variant."""

import colorsys
import math
from typing import Any, get_args

import numpy as np
import pytest
import torch

from datamodules import Factor
from datamodules.basicprop import VARIANTS, Noise, get_variant
from datamodules.basicprop.variants import VariantName

CLEAN, NOISY = Noise(), Noise(foreground=True, background=True)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def draw(name: Any, *factors: float, noise: Noise = CLEAN, continuous: bool = False) -> np.ndarray:
    """Return one image (28, 28) or, in colour, (28, 28, 3)."""
    image = get_variant(name, continuous).render(torch.tensor([factors]).float(), rng(), noise)[0]
    return image.permute(1, 2, 0).numpy().squeeze()


# The authors' geometry


@pytest.mark.parametrize("position", range(10))
def test_line_is_a_full_height_bar_4_px_wide_from_3_plus_2k(position: int) -> None:
    expected = np.zeros((28, 28))
    expected[:, 3 + 2 * position : 7 + 2 * position] = 255
    np.testing.assert_array_equal(draw("line", position), expected)


@pytest.mark.parametrize("left", range(10))
@pytest.mark.parametrize("right", range(10))
def test_rectangles_hang_from_row_3_in_columns_3_and_15(left: int, right: int) -> None:
    expected = np.zeros((28, 28))
    expected[3 : 6 + 2 * left, 3:13] = 255
    single = expected.copy()
    expected[3 : 6 + 2 * right, 15:25] = 255
    np.testing.assert_array_equal(draw("rectangles", left, right), expected)
    np.testing.assert_array_equal(draw("single_rectangle", left), single)


@pytest.mark.parametrize("foreground", [False, True])
@pytest.mark.parametrize("background", [False, True])
def test_noise_is_uniform_over_the_authors_ranges(foreground: bool, background: bool) -> None:
    factors = torch.full((200, 1), 4.0)
    images = VARIANTS["line"].render(factors, rng(), Noise(foreground, background))
    inside = torch.zeros(28, dtype=torch.bool)
    inside[11:15] = True
    for pixels, noisy, low, high, clean in (
        (images[..., inside], foreground, 150, 239, 255),
        (images[..., ~inside], background, 0, 59, 0),
    ):
        counts = torch.bincount(pixels.flatten().long(), minlength=256)
        values = range(low, high + 1) if noisy else [clean]
        assert counts.nonzero().flatten().tolist() == list(values)
        # Each count is Poisson in effect; 5 standard deviations.
        mean = pixels.numel() / len(values)
        assert (counts[list(values)] - mean).abs().max() < 5 * math.sqrt(mean)


def test_noise_is_independent_between_pixels_and_images() -> None:
    images = VARIANTS["line"].render(torch.zeros(400, 1), rng(), NOISY)[:, 0].double()
    pixels = images[:, :5, 2:6].flatten(1)  # foreground and background
    correlations = torch.corrcoef(pixels.T) - torch.eye(pixels.shape[1])
    assert correlations.abs().max() < 0.25
    assert torch.corrcoef(images[:20, :, 3:7].flatten(1)).triu(1).abs().max() < 0.5


# BasicProp++


@pytest.mark.parametrize(("x", "y"), [(0, 0), (9, 9), (2, 7)])
def test_translation_moves_a_bar_of_4_by_8_px(x: int, y: int) -> None:
    expected = np.zeros((28, 28))
    expected[1 + 2 * y : 9 + 2 * y, 3 + 2 * x : 7 + 2 * x] = 255
    np.testing.assert_array_equal(draw("translation", x, y), expected)


@pytest.mark.parametrize("index", range(10))
def test_diameters_have_the_ratio_and_add_up_to_20_px(index: int) -> None:
    ratio = 2 ** (-2 + index * 4 / 9)
    gap = round(9 + 10 * ratio / (1 + ratio))  # the circles are 2 px apart
    halves = np.split(draw("diameters", index) / 255, [gap], axis=1)
    left, right = (math.sqrt(4 * half.sum() / math.pi) for half in halves)
    assert left + right == pytest.approx(20, abs=0.1)
    assert left / right == pytest.approx(ratio, rel=0.02)


@pytest.mark.parametrize("noise", [CLEAN, Noise(foreground=True)])
@pytest.mark.parametrize(("left", "right"), [(0, 9), (4, 4), (7, 2)])
def test_colorings_have_the_hues_and_noise_keeps_them(left: int, right: int, noise: Noise) -> None:
    image = draw("colorings", left, right, noise=noise) / 255
    for index, column in ((left, 8), (right, 20)):
        hue, saturation, value = colorsys.rgb_to_hsv(*image[14, column])
        assert hue * 360 == pytest.approx(index * 300 / 9, abs=0.5)
        assert saturation == 1
        assert 150 / 255 <= value <= 1
    assert (image[14, [2, 14, 26]] == 0).all()


@pytest.mark.parametrize("index", range(10))
@pytest.mark.parametrize(("shape", "area"), [(0, math.pi / 4), (1, 1 / 2), (2, 1)])
def test_shapes_have_their_area_and_size_and_are_centred(
    shape: int, area: float, index: int
) -> None:
    size = 8 + 2 * index
    image = draw("shapes", shape, index) / 255
    assert image.sum() == pytest.approx(area * size**2, rel=0.02)
    np.testing.assert_array_equal(image, image[:, ::-1])
    rows, columns = np.flatnonzero(image.any(axis=1)), np.flatnonzero(image.any(axis=0))
    assert (rows[0], rows[-1]) == (14 - size // 2, 13 + size // 2)
    assert len(columns) == size
    widths = image.sum(axis=1)[rows]
    assert (np.diff(widths) > 0).all() == (shape == 1)


def test_continuous_factors_fall_between_pixels() -> None:
    rows = draw("line", 5.25, continuous=True)
    expected = np.zeros(28)
    expected[5:10] = [191, 255, 255, 255, 64]
    np.testing.assert_array_equal(rows, np.tile(expected, (28, 1)))
    column = draw("rectangles", 4.5, 3.0, continuous=True)[:, 5]
    assert column[3:9].tolist() == [255, 255, 255, 255, 128, 0]


@pytest.mark.parametrize("name", VARIANTS)
def test_continuous_and_discrete_agree_on_the_values(name: Any) -> None:
    discrete, continuous = get_variant(name), get_variant(name, continuous=True)
    rows = discrete.balanced_factors(discrete.num_cells, rng())
    values = rows.clone()
    for column, factor in zip(values.T, continuous.factors, strict=True):
        if factor.num_values is None:
            column.mul_((factor.high - factor.low) / 9).add_(factor.low)
    difference = discrete.render(rows, rng()).int() - continuous.render(values, rng()).int()
    assert difference.abs().max() <= 1


# Factors


def test_factors_are_named_with_their_ranges() -> None:
    names = {name: [f.name for f in variant.factors] for name, variant in VARIANTS.items()}
    assert names == {
        "line": ["position"],
        "rectangles": ["left_height", "right_height"],
        "single_rectangle": ["left_height"],
        "translation": ["x", "y"],
        "diameters": ["log2_diameter_ratio"],
        "colorings": ["left_hue", "right_hue"],
        "shapes": ["shape", "size"],
    }
    assert tuple(VARIANTS) == get_args(VariantName)
    assert get_variant("line").factors == (Factor("position", 10, 0, 9),)
    assert get_variant("line", continuous=True).factors == (Factor("position", None, 3, 21),)
    assert get_variant("shapes", continuous=True).factors == (
        Factor("shape", 3, 0, 2),
        Factor("size", None, 8, 26),
    )


@pytest.mark.parametrize("continuous", [False, True])
@pytest.mark.parametrize("name", VARIANTS)
def test_factors_are_drawn_within_their_range_and_balanced(name: Any, continuous: bool) -> None:
    variant = get_variant(name, continuous)
    size = 3 * variant.num_cells + 1
    balanced = variant.balanced_factors(size, rng())
    counts = variant.cell_index(balanced).bincount(minlength=variant.num_cells)
    assert sorted(counts.tolist()) == [3] * (variant.num_cells - 1) + [4]
    uniform = variant.uniform_factors(2000, rng())
    for factors in (balanced, uniform):
        for column, factor in zip(factors.T, variant.factors, strict=True):
            assert column.min() >= factor.low
            assert column.max() <= factor.high
            num_distinct = len(column.unique())
            assert num_distinct == factor.num_values if factor.num_values else num_distinct > 20
    for column, factor in zip(uniform.T, variant.factors, strict=True):
        middle, spread = (factor.low + factor.high) / 2, factor.high - factor.low
        assert column.mean() == pytest.approx(middle, abs=0.05 * spread)


def test_cells_count_the_last_factor_fastest() -> None:
    factors = torch.tensor([[0.0, 0.0], [0.0, 9.0], [3.0, 7.0], [9.0, 9.0]])
    assert VARIANTS["rectangles"].cell_index(factors).tolist() == [0, 9, 37, 99]
    heights = torch.tensor([[3.0, 21.0], [4.9, 3.0]])
    assert VARIANTS["rectangles"].continuous().cell_index(heights).tolist() == [9, 10]


@pytest.mark.parametrize("name", VARIANTS)
def test_images_depend_on_the_random_stream_alone(name: str) -> None:
    variant = VARIANTS[name]
    factors = variant.uniform_factors(50, rng())
    images = variant.render(factors, rng(1), NOISY)
    assert images.shape == (50, *variant.image_shape)
    assert images.dtype == torch.uint8
    assert images.equal(variant.render(factors, rng(1), NOISY))
    assert not images.equal(variant.render(factors, rng(2), NOISY))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[10.0]], "position=10 of line must be a whole number from 0 to 9"),
        ([[2.5]], "position=2.5 of line"),
        ([[float("nan")]], "position=nan of line"),
        ([[1.0, 2.0]], "give \\(batch, 1\\), a column for each of position"),
    ],
)
def test_impossible_factors_are_refused(rows: list[list[float]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VARIANTS["line"].render(torch.tensor(rows), rng())


def test_unknown_variants_are_refused() -> None:
    with pytest.raises(ValueError, match="variant='circles' is unknown; choose one of line, rect"):
        get_variant("circles")  # type: ignore[arg-type]
