"""Transformations by a known amount."""

import torch
from torch import Tensor

from infogan.transformations import Shear, StrokeWidth


def bar(width: int) -> Tensor:
    """Return one image of an upright bar, (1, 1, 28, 28)."""
    image = torch.zeros(1, 1, 28, 28)
    image[:, :, 6:22, 10 : 10 + width] = 1
    return image


def slope(images: Tensor) -> Tensor:
    """Return -u11 / u02 of each image: what Morpho-MNIST takes the slant from."""
    y, x = torch.meshgrid(torch.arange(28.0), torch.arange(28.0), indexing="ij")
    mass = images.sum(dim=(1, 2, 3))
    x, y = ((images[:, 0] * c).sum(dim=(1, 2), keepdim=True) for c in (x, y))
    columns, rows = torch.arange(28.0), torch.arange(28.0)[:, None]
    dx, dy = columns - x / mass.view(-1, 1, 1), rows - y / mass.view(-1, 1, 1)
    return -(images[:, 0] * dx * dy).sum(dim=(1, 2)) / (images[:, 0] * dy**2).sum(dim=(1, 2))


def test_no_amount_changes_nothing() -> None:
    images, none = torch.rand(3, 2, 28, 28), torch.zeros(3)
    torch.testing.assert_close(Shear()(images, none), images)
    torch.testing.assert_close(StrokeWidth()(images, none), images)


def test_shear_leans_to_the_right_by_its_slope() -> None:
    amounts = torch.tensor([-1.0, 0.5, 1.0])
    images = Shear(0.3)(bar(4).expand(3, -1, -1, -1), amounts)
    torch.testing.assert_close(slope(images), 0.3 * amounts, atol=0.005, rtol=0)


def test_positions_are_not_rounded_by_autocast() -> None:
    images, amounts = torch.rand(4, 1, 28, 28), torch.linspace(-1, 1, 4)
    with torch.autocast("cpu", torch.bfloat16):
        found = Shear()(images, amounts)
    torch.testing.assert_close(found, Shear()(images, amounts), rtol=0, atol=1e-6)


def test_shear_can_keep_the_width_of_leaning_strokes() -> None:
    images, amounts = bar(4).expand(2, -1, -1, -1), torch.tensor([-1.0, 1.0])
    plain, widened = Shear(0.3)(images, amounts), Shear(0.3, widening=0.5)(images, amounts)
    torch.testing.assert_close(widened, StrokeWidth(0.5)(plain, amounts))
    narrower, wider = widened.sum(dim=(1, 2, 3)) - plain.sum(dim=(1, 2, 3))
    assert narrower < 0 < wider


def test_strokes_widen_and_narrow_by_up_to_a_pixel() -> None:
    """By the ink of the middle row: edges of more than a pixel's value are cut."""
    amounts = torch.tensor([-1.0, -0.5, 0.5, 1.0, 3.0])
    images = StrokeWidth(1.0)(bar(4).expand(5, -1, -1, -1), amounts)
    widths = images[:, 0, 14].sum(dim=1)
    assert images.min() >= 0 and images.max() <= 1
    shares = (widths - 4) / amounts.clamp(-1, 1)
    assert shares.min() > 0.6 and shares.max() <= 1
    assert widths[3] == widths[4]
    torch.testing.assert_close(slope(images), torch.zeros(5), atol=1e-4, rtol=0)


def test_gradients_pass() -> None:
    images = torch.rand(2, 1, 28, 28, requires_grad=True)
    for transform in (Shear(), StrokeWidth()):
        (gradient,) = torch.autograd.grad(transform(images, torch.ones(2)).sum(), images)
        assert gradient.ne(0).any()
