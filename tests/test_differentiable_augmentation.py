"""Random affine transformations against closed forms."""

import math

import pytest
import torch

from infogan.differentiable_augmentation import RandomAffine

STILL = {"degrees": 0.0, "shear": 0.0, "scale": 0.0, "translate": 0.0}


def test_nothing_changes_without_ranges() -> None:
    images = torch.rand(5, 3, 8, 8)
    torch.testing.assert_close(RandomAffine(**STILL)(images), images)


def test_a_shift_of_whole_pixels_moves_the_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.rand(2, 1, 8, 8)
    monkeypatch.setattr(torch, "rand", lambda *size, device: torch.ones(*size))
    shifted = RandomAffine(**{**STILL, "translate": 2 / 8})(images)
    torch.testing.assert_close(shifted[:, :, :6, :6], images[:, :, 2:, 2:])
    assert shifted[:, :, 6:].abs().max() == 0 and shifted[:, :, :, 6:].abs().max() == 0


def test_a_quarter_turn_is_rot90(monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.rand(2, 1, 8, 8)
    monkeypatch.setattr(torch, "rand", lambda *size, device: torch.ones(*size))
    turned = RandomAffine(**{**STILL, "degrees": 90.0})(images)
    torch.testing.assert_close(turned, images.rot90(1, (2, 3)), atol=1e-5, rtol=0)


def test_matrices_stay_within_their_ranges() -> None:
    augmentation = RandomAffine(degrees=15, shear=0.2, scale=0.1, translate=0.05)
    linear, shift = augmentation.sample_matrices(4000).split([2, 1], dim=2)
    assert 0.095 < shift.abs().max() <= 0.1
    area = torch.linalg.det(linear)
    assert area.min() >= 0.9**2 - 1e-5 and area.max() <= 1.1**2 + 1e-5
    angle = torch.atan2(linear[:, 1, 0], linear[:, 0, 0])
    assert math.radians(14.5) < angle.abs().max() <= math.radians(15) + 1e-6
    assert angle.std() == pytest.approx(math.radians(15) / math.sqrt(3), rel=0.05)


def test_every_image_gets_a_draw_of_its_own_and_passes_gradients() -> None:
    images = torch.rand(1, 1, 8, 8).repeat(4, 1, 1, 1).requires_grad_()
    out = RandomAffine()(images)
    assert not torch.allclose(out[0], out[1])
    out.sum().backward()
    assert images.grad is not None and images.grad.abs().sum(dim=(1, 2, 3)).min() > 0


@pytest.mark.parametrize("wrong", [{"degrees": -1.0}, {"scale": 1.0}, {"translate": -0.1}])
def test_wrong_ranges(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        RandomAffine(**wrong)


def test_positions_are_not_rounded_by_autocast() -> None:
    """In bfloat16 they would be off by up to 0.06 pixels of 28, and gray values with them."""
    images = torch.rand(4, 1, 28, 28)
    torch.manual_seed(0)
    expected = RandomAffine()(images)
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16):
        found = RandomAffine()(images)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
