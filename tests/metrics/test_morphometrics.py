"""Morphometrics against the authors' published values, and partial correlations against theory."""

import numpy as np
import pytest
import torch
from torch import Tensor

from datamodules import MNISTDataModule
from infogan.latents import BernoulliCode, CategoricalCode, LatentCode, UniformCode
from infogan.metrics.morphometrics import (
    MEASURES,
    CodeMorphometrics,
    captions,
    morphometrics,
    partial_correlations,
)
from infogan.metrics.variables import Variable

# Of MNIST's test images 0 to 4, as the authors of Morpho-MNIST publish them.
PUBLISHED = [
    (71.1875, 36.25609665440987, 2.1105713845432934, 0.07096856779614502, 15.124338, 19.620730),
    (113.0625, 43.54898987322332, 2.650075252916716, -0.17388570430491587, 17.593875, 19.846226),
    (39.25, 22.545941546018394, 1.8666407206805136, 0.29039224236798405, 3.679712, 19.704669),
    (146.8125, 45.24873734152915, 3.480515906745963, 0.07237366221274569, 14.712746, 19.033060),
]


@pytest.fixture(scope="module")
def digits() -> Tensor:
    """Return MNIST's first test images, (100, 28, 28), in [0, 1]."""
    data = MNISTDataModule()
    data.prepare_data()
    data.setup("test")
    assert data.test_source is not None
    images, _ = data.test_source.fetch(torch.arange(100), np.random.default_rng(0))
    return images[:, 0].float() / 255


def bars(slants: Tensor, widths: Tensor) -> Tensor:
    """Return images of one bar each, (bars, 28, 28), of the given slant (radians) and width."""
    y, x = torch.arange(28) - 13.5, torch.arange(28) - 13.5
    across = (x + torch.tan(slants)[:, None, None] * y[:, None]) * torch.cos(slants)[:, None, None]
    ink = (widths[:, None, None] / 2 - across.abs() + 0.5).clamp(0, 1)
    return ink * (y.abs() < 9)[:, None]


def test_they_equal_the_published_values(digits: Tensor) -> None:
    measured = morphometrics(digits[: len(PUBLISHED)]).double().numpy()
    for name, column, published in zip(MEASURES, measured.T, np.transpose(PUBLISHED), strict=True):
        # Of equal pixels the medial axis takes one by chance, which moves its length.
        tolerance = {"length": 2.0, "thickness": 0.15}.get(name, 1e-5)
        np.testing.assert_allclose(column, published, atol=tolerance, rtol=0, err_msg=name)


def test_a_bar_is_measured_as_it_was_drawn() -> None:
    slants, widths = torch.tensor([-0.4, 0.0, 0.4]), torch.tensor([2.0, 3.0, 4.0])
    measured = dict(zip(MEASURES, morphometrics(bars(slants, widths)).T, strict=True))
    torch.testing.assert_close(measured["slant"], slants, atol=0.02, rtol=0)
    torch.testing.assert_close(measured["thickness"], widths, atol=0.6, rtol=0)
    torch.testing.assert_close(measured["height"], torch.full((3,), 18.0), atol=0.7, rtol=0)
    torch.testing.assert_close(measured["area"], 18 * widths / slants.cos(), atol=3.0, rtol=0)


def test_an_image_is_measured_alike_alone_and_among_others(digits: Tensor) -> None:
    together = morphometrics(digits)
    assert torch.equal(morphometrics(digits[:0]), torch.empty(0, 6))
    for i in (0, 57, 99):
        alone = morphometrics(digits[i : i + 1])[0]
        exact = [MEASURES.index(name) for name in ("area", "slant", "width", "height")]
        assert torch.equal(alone[exact], together[i, exact])
        assert abs(alone[2] - together[i, 2]) < 0.15


def test_blank_images_have_no_measures(digits: Tensor) -> None:
    measured = morphometrics(torch.stack([torch.zeros(28, 28), digits[0], torch.ones(28, 28)]))
    assert measured.isfinite().all(dim=1).tolist() == [False, True, False]


def codes_and_measures(num: int = 500) -> tuple[list[Variable], Tensor]:
    """Return three codes and two measures that depend on several of them."""
    stream = torch.Generator().manual_seed(0)
    digit = torch.randint(3, (num,), generator=stream).float()
    first, second = torch.randn(2, num, generator=stream)
    second = second + 0.5 * digit
    codes = [Variable("c", digit, 3), Variable("u", first, None), Variable("v", second, None)]
    noise = torch.randn(2, num, generator=stream)
    measures = torch.stack([first + 2 * digit + noise[0], second - first + 0.3 * noise[1]], dim=1)
    return codes, measures


def test_partial_correlations_are_those_of_the_inverse_covariance() -> None:
    codes, measures = codes_and_measures()
    found = partial_correlations(codes, measures)
    assert list(found) == ["u", "v"]
    # Without a one-hot column, of which the others tell, the covariance can be inverted.
    columns = torch.cat([codes[0].columns()[:, 1:], codes[1].columns(), codes[2].columns()], dim=1)
    for k in range(2):
        table = torch.cat([measures[:, k : k + 1], columns], dim=1).double().numpy()
        precision = np.linalg.inv(np.cov(table.T))
        for j, name in ((3, "u"), (4, "v")):
            expected = -precision[0, j] / np.sqrt(precision[0, 0] * precision[j, j])
            assert float(found[name][k]) == pytest.approx(expected, abs=1e-6)


def test_what_does_not_vary_correlates_with_nothing() -> None:
    codes, measures = codes_and_measures()
    constant = Variable("w", torch.full((500,), 0.7), None)
    measures = torch.cat([measures, torch.ones(500, 1)], dim=1)
    found = partial_correlations([*codes, constant], measures)
    assert torch.equal(found["w"], torch.zeros(3))
    assert found["u"][2] == 0 and abs(found["u"][1]) > 0.5


def test_images_without_measures_are_left_out() -> None:
    codes, measures = codes_and_measures()
    spoiled = measures.clone()
    spoiled[::2] = torch.nan
    halves = [Variable(c.name, c.values[1::2], c.num_values) for c in codes]
    found, expected = (
        partial_correlations(codes, spoiled),
        partial_correlations(halves, measures[1::2]),
    )
    torch.testing.assert_close(found, expected)
    assert not partial_correlations(codes, measures * torch.nan)["u"].any()


def test_codes_that_set_slant_and_thickness_are_told_apart() -> None:
    codes: list[LatentCode] = [CategoricalCode(2), UniformCode(), UniformCode(), BernoulliCode()]
    stream = torch.Generator().manual_seed(0)
    values = [code.sample(120) for code in codes]
    slant, width = (torch.rand(2, 120, 1, generator=stream) * 2 - 1).unbind()
    values[1:3] = slant, width
    images = bars(0.4 * slant[:, 0], 3 + width[:, 0])[:, None]
    metric = CodeMorphometrics(codes)
    for part in range(0, 120, 50):
        metric.update(images[part : part + 50], [value[part : part + 50] for value in values])
    found = metric.compute()
    assert len(found) == 2 * len(MEASURES)
    first, second = (name for name in captions(codes, found))
    assert float(found[f"slant_{first}"]) > 0.95 and float(found[f"thickness_{second}"]) > 0.9
    assert abs(float(found[f"slant_{second}"])) < 0.3
    assert abs(float(found[f"thickness_{first}"])) < 0.3
    said = captions(codes, found)
    assert said[first] == f"slant, r = {float(found[f'slant_{first}']):.2f}"
