"""Convolutions as matrix products, against torch's own."""

from collections.abc import Callable
from typing import Any

import jaxtyping
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from infogan.kernels.convolutions import (
    ImageConv2d,
    ImageConvolution,
    ImageConvolutionTranspose,
    ImageConvTranspose2d,
    PatchConv2d,
    PatchConvolution,
    PatchConvolutionTranspose,
    PatchConvTranspose2d,
)
from infogan.kernels.linear import CastOnceLinear

LAYERS = [
    (ours, theirs, (5, 3, *size))
    for ours, theirs in (
        (ImageConv2d, nn.Conv2d),
        (ImageConvTranspose2d, nn.ConvTranspose2d),
        (PatchConv2d, nn.Conv2d),
        (PatchConvTranspose2d, nn.ConvTranspose2d),
    )
    for size in ((12, 8), (9, 7), (2, 2))
]
# The function, torch's own, and the shapes of the images, the weight and, if it has one, the bias.
FUNCTIONS = [
    (ImageConvolution, torch.conv2d, [(2, 3, 8, 4), (5, 3, 4, 4), (5,)]),
    (ImageConvolution, torch.conv2d, [(2, 1, 5, 7), (3, 1, 4, 4), (3,)]),
    (ImageConvolutionTranspose, torch.conv_transpose2d, [(2, 3, 4, 2), (3, 5, 4, 4), (5,)]),
    (ImageConvolutionTranspose, torch.conv_transpose2d, [(2, 3, 3, 1), (3, 1, 4, 4), (1,)]),
    (PatchConvolution, torch.conv2d, [(2, 3, 8, 4), (5, 3, 4, 4)]),
    (PatchConvolutionTranspose, torch.conv_transpose2d, [(2, 3, 4, 2), (3, 5, 4, 4)]),
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
    """Return a layer's output, changed in place, and the gradients of images and parameters."""
    images = images.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast, cache_enabled=False):
        output = F.leaky_relu(layer(images), 0.1, inplace=True)
    output.float().square().sum().backward()
    results = [output.detach()]
    for tensor in (images, *layer.parameters()):
        assert tensor.grad is not None
        results.append(tensor.grad)
    return results


@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("autocast", [True, False])
@pytest.mark.parametrize(("ours", "theirs", "shape"), LAYERS)
def test_layers_are_torchs_convolutions(
    ours: Any, theirs: Any, shape: Any, autocast: bool, memory_format: Any
) -> None:
    torch.manual_seed(0)
    products = ours(3, 5)
    plain = theirs(3, 5, 4, 2, 1, bias=products.bias is not None)
    products.load_state_dict(plain.state_dict())
    images = torch.randn(shape).to(memory_format=memory_format)
    for layer in (plain, products):
        layer.to(memory_format=memory_format)
    with WeightGradients() as counter:
        found = learn(products, images, autocast)
    in_single = ours in (ImageConv2d, ImageConvTranspose2d)
    assert counter.count == (0 if autocast or in_single else 1)
    for mine, exact in zip(found, learn(plain, images, autocast), strict=True):
        assert mine.dtype == exact.dtype
        # Both round sums of up to a few hundred products, to eight bits or to 24.
        tolerance = 0.02 if autocast else 1e-6 if in_single else 0.0
        torch.testing.assert_close(mine, exact, rtol=0.0, atol=tolerance * exact.abs().max().item())


@pytest.mark.parametrize("ours", [ImageConv2d, ImageConvTranspose2d])
def test_images_of_another_type_are_refused(ours: Any) -> None:
    with pytest.raises(RuntimeError, match="same dtype"):
        ours(3, 5)(torch.randn(2, 3, 4, 4, dtype=torch.float64))


@pytest.mark.parametrize(
    "layer",
    [*(ours(3, 5) for ours in dict.fromkeys(row[0] for row in LAYERS)), CastOnceLinear(4, 5)],
    ids=lambda layer: type(layer).__name__,
)
@pytest.mark.parametrize("autocast", [True, False])
def test_a_compiled_graph_has_torchs_own_layer(
    layer: nn.Module, autocast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The tests' check of shapes is nothing that can be compiled.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    graphs: list[torch.fx.GraphModule] = []

    def keep(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Any]:
        graphs.append(graph)
        return graph.forward

    x = torch.randn(2, 4) if isinstance(layer, nn.Linear) else torch.randn(2, 3, 4, 4)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast, cache_enabled=False):
        torch.compile(layer, backend=keep, fullgraph=True)(x)
    (graph,) = graphs
    (operation,) = operations_of(graph.graph)
    assert "conv" in operation or "linear" in operation


@pytest.mark.parametrize("layer", [ImageConv2d(3, 5), ImageConvTranspose2d(3, 5)])
def test_an_exported_graph_has_torchs_convolution(layer: nn.Module) -> None:
    (operation,) = operations_of(torch.export.export(layer, (torch.randn(2, 3, 4, 4),)).graph)
    assert "conv" in operation


def operations_of(graph: torch.fx.Graph) -> list[str]:
    """Return what a graph calls."""
    return [str(node.target) for node in graph.nodes if node.op == "call_function"]


@pytest.mark.parametrize(("ours", "theirs", "shapes"), FUNCTIONS)
def test_products_are_exact(ours: Any, theirs: Any, shapes: Any) -> None:
    torch.manual_seed(0)
    inputs = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    images, weight, bias = (*inputs, None)[:3]
    mine, exact = ours.apply(*inputs), theirs(images, weight, bias, 2, 1)
    torch.testing.assert_close(mine, exact, rtol=1e-12, atol=1e-12)
    gradient = torch.randn_like(exact)
    for wanted in (*([one] for one in inputs), inputs):
        of_mine, of_exact = (
            torch.autograd.grad(output, wanted, gradient, retain_graph=True)
            for output in (mine, exact)
        )
        for a, b in zip(of_mine, of_exact, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    assert torch.autograd.gradcheck(ours.apply, inputs)
    assert torch.autograd.gradgradcheck(ours.apply, inputs)


@pytest.mark.parametrize(("ours", "theirs", "shapes"), FUNCTIONS)
def test_what_is_frozen_gets_no_gradient(ours: Any, theirs: Any, shapes: Any) -> None:
    for learning in range(len(shapes)):
        inputs = [torch.randn(shape) for shape in shapes]
        inputs[learning].requires_grad_()
        ours.apply(*inputs).sum().backward()
        assert [tensor.grad is not None for tensor in inputs] == [
            index == learning for index in range(len(shapes))
        ]
