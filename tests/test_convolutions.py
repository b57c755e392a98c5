"""Convolutions as products of patches, against torch's own."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from infogan.convolutions import (
    PatchConv2d,
    PatchConvolution,
    PatchConvolutionTranspose,
    PatchConvTranspose2d,
)

LAYERS = [
    (PatchConv2d, nn.Conv2d, (5, 3, 12, 8)),
    (PatchConv2d, nn.Conv2d, (5, 3, 9, 7)),
    (PatchConvTranspose2d, nn.ConvTranspose2d, (5, 3, 6, 4)),
]
FUNCTIONS = [
    (PatchConvolution, torch.conv2d, (2, 3, 8, 4), (5, 3, 4, 4)),
    (PatchConvolutionTranspose, torch.conv_transpose2d, (2, 3, 4, 2), (3, 5, 4, 4)),
]


class WeightGradients(TorchDispatchMode):
    """Counts the weight gradients that torch's convolutions compute."""

    count = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is torch.ops.aten.convolution_backward.default:
            self.count += args[-1][1]
        return func(*args, **(kwargs or {}))


def learn(layer: nn.Module, images: Tensor, autocast: bool) -> list[Tensor]:
    """Return a layer's output and the gradients of its weight and images."""
    images = images.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast, cache_enabled=False):
        output = layer(images)
    output.float().square().sum().backward()
    assert images.grad is not None
    assert isinstance(layer.weight, Tensor)
    assert layer.weight.grad is not None
    return [output.detach(), layer.weight.grad, images.grad]


@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("autocast", [True, False])
@pytest.mark.parametrize(("ours", "theirs", "shape"), LAYERS)
def test_layers_are_torchs_convolutions(
    ours: Any, theirs: Any, shape: Any, autocast: bool, memory_format: Any
) -> None:
    torch.manual_seed(0)
    plain = theirs(3, 5, 4, 2, 1, bias=False)
    patches = ours(3, 5)
    patches.load_state_dict(plain.state_dict())
    images = torch.randn(shape).to(memory_format=memory_format)
    for layer in (plain, patches):
        layer.to(memory_format=memory_format)
    with WeightGradients() as counter:
        found = learn(patches, images, autocast)
    assert counter.count == (0 if autocast else 1)
    for mine, exact in zip(found, learn(plain, images, autocast), strict=True):
        assert mine.dtype == exact.dtype
        # Both round sums of up to a hundred products to eight bits.
        tolerance = 0.02 * exact.abs().max().item() if autocast else 0.0
        torch.testing.assert_close(mine, exact, rtol=0.0, atol=tolerance)


@pytest.mark.parametrize(("ours", "theirs", "shape", "kernels"), FUNCTIONS)
def test_products_of_patches_are_exact(ours: Any, theirs: Any, shape: Any, kernels: Any) -> None:
    torch.manual_seed(0)
    images = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(kernels, dtype=torch.float64, requires_grad=True)
    mine, exact = ours.apply(images, weight), theirs(images, weight, None, 2, 1)
    torch.testing.assert_close(mine, exact, rtol=1e-12, atol=1e-12)
    gradient = torch.randn_like(exact)
    for wanted in ((images,), (weight,), (images, weight)):
        of_mine, of_exact = (
            torch.autograd.grad(output, wanted, gradient, retain_graph=True)
            for output in (mine, exact)
        )
        for a, b in zip(of_mine, of_exact, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    assert torch.autograd.gradcheck(ours.apply, (images, weight))
    assert torch.autograd.gradgradcheck(ours.apply, (images, weight))


@pytest.mark.parametrize(("ours", "theirs", "shape", "kernels"), FUNCTIONS)
@pytest.mark.parametrize("frozen", [0, 1])
def test_what_is_frozen_gets_no_gradient(
    ours: Any, theirs: Any, shape: Any, kernels: Any, frozen: int
) -> None:
    inputs = [torch.randn(shape), torch.randn(kernels)]
    inputs[1 - frozen].requires_grad_()
    ours.apply(*inputs).sum().backward()
    assert inputs[frozen].grad is None
    assert inputs[1 - frozen].grad is not None
