"""The remedies against closed forms."""

import pytest
import torch
from torch import nn

from infogan.regularizers import (
    add_instance_noise,
    linear_decay,
    mixed_difference_penalty,
    r1_penalty,
)


@pytest.mark.parametrize(
    ("step", "expected"), [(0, 0.8), (25, 0.6), (50, 0.4), (99, 0.008), (100, 0.0), (10**6, 0.0)]
)
def test_linear_decay(step: int, expected: float) -> None:
    """The value falls linearly to 0 and stays there."""
    assert linear_decay(0.8, step, 100) == pytest.approx(expected)


@pytest.mark.parametrize("step", [0, 1, 10**6])
def test_decay_over_no_steps_keeps_the_value(step: int) -> None:
    """num_steps 0 means constant."""
    assert linear_decay(0.3, step, 0) == 0.3


@pytest.mark.parametrize("std", [0.05, 0.5])
def test_instance_noise_has_its_std(std: float) -> None:
    """The noise is centred, Gaussian, of the given std, and independent of the pixels."""
    images = torch.rand(200, 1, 20, 20)
    noise = (add_instance_noise(images, std) - images).flatten()
    assert noise.mean().item() == pytest.approx(0, abs=0.02 * std)
    assert noise.std().item() == pytest.approx(std, rel=0.01)
    kurtosis = ((noise / std) ** 4).mean().item()
    assert kurtosis == pytest.approx(3, abs=0.1)
    assert torch.corrcoef(torch.stack([noise, images.flatten()]))[0, 1].abs() < 0.02


def test_instance_noise_lets_the_gradient_through() -> None:
    """The generator's gradient passes unchanged."""
    images = torch.rand(2, 1, 4, 4, requires_grad=True)
    add_instance_noise(images, 0.1).sum().backward()
    assert images.grad is not None
    assert torch.equal(images.grad, torch.ones_like(images))


def test_r1_of_a_linear_discriminator() -> None:
    """For D(x) = w x + b the penalty is ||w||^2 / 2 at any image, and its gradient w."""
    layer = nn.Linear(48, 1).double()
    images = torch.rand(5, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    penalty = r1_penalty(layer(images.flatten(1)), images)
    torch.testing.assert_close(penalty, 0.5 * layer.weight.square().sum())
    gradient = torch.autograd.grad(penalty, layer.weight)[0]
    torch.testing.assert_close(gradient, layer.weight.detach())


def test_r1_of_a_quadratic_discriminator() -> None:
    """For D(x) = s ||x||^2 the penalty is 2 s^2 E||x||^2: a mean over images, not a sum."""
    scale = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    images = torch.rand(6, 1, 4, 4, dtype=torch.float64, requires_grad=True)
    squares = images.square().flatten(1).sum(dim=1, keepdim=True)
    penalty = r1_penalty(scale * squares, images)
    torch.testing.assert_close(penalty, 2 * scale**2 * squares.mean())
    gradient = torch.autograd.grad(penalty, scale)[0]
    torch.testing.assert_close(gradient, 4 * scale.detach() * squares.mean().detach())


def test_mixed_difference_of_a_product_and_of_a_sum() -> None:
    """For f(a) g(b) it is the mean of ((f(a) - f(a')) (g(b) - g(b')))^2, for f(a) + g(b) 0."""
    f, f2, g, g2 = torch.randn(4, 6, 1, 5, 5, dtype=torch.float64)
    product = mixed_difference_penalty(f * g, f2 * g, f * g2, f2 * g2)
    torch.testing.assert_close(product, ((f - f2) * (g - g2)).square().mean())
    assert mixed_difference_penalty(f + g, f2 + g, f + g2, f2 + g2).item() < 1e-30


def test_mixed_difference_is_the_hessian_in_the_limit() -> None:
    """Over small steps e it is e^4 times the squared off-diagonal element, here by autograd."""

    def image(point: torch.Tensor) -> torch.Tensor:
        return (point[0] * point[1].exp() + (point[0] * point[1]).sin()).reshape(1)

    point = torch.tensor([0.7, -0.4], dtype=torch.float64)
    off_diagonal = torch.autograd.functional.hessian(lambda p: image(p).sum(), point)[0, 1]
    step = 1e-3
    first, second = step * torch.eye(2, dtype=torch.float64)
    corners = (image(point + change) for change in (0 * first, first, second, first + second))
    penalty = mixed_difference_penalty(*corners)
    assert (penalty / step**4).item() == pytest.approx(off_diagonal.item() ** 2, rel=1e-2)
