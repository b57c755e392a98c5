"""Convolutions as matrix products, against torch's own."""

from collections.abc import Callable
from typing import Any

import jaxtyping
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from infogan.kernels.convolutions import ImageConv2d, ImageConvTranspose2d, col2im, im2col

LAYERS = [
    (ours, theirs, (5, 3, *size))
    for ours, theirs in ((ImageConv2d, nn.Conv2d), (ImageConvTranspose2d, nn.ConvTranspose2d))
    for size in ((12, 8), (9, 7), (2, 2))
]


def pair(ours: Any, theirs: Any, bias: bool = True) -> tuple[nn.Module, nn.Module]:
    """Return torch's layer and ours with the same weights."""
    torch.manual_seed(0)
    plain = theirs(3, 5, 4, 2, 1, bias=bias)
    products = ours(3, 5, 4, 2, 1, bias=bias)
    products.load_state_dict(plain.state_dict())
    return plain, products


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
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("ours", "theirs", "shape"), LAYERS)
def test_layers_are_torchs_convolutions(
    ours: Any, theirs: Any, shape: Any, bias: bool, autocast: bool, memory_format: Any
) -> None:
    plain, products = pair(ours, theirs, bias)
    images = torch.randn(shape).to(memory_format=memory_format)
    for layer in (plain, products):
        layer.to(memory_format=memory_format)
    results = (learn(layer, images, autocast) for layer in (products, plain))
    for mine, exact in zip(*results, strict=True):
        assert mine.dtype == exact.dtype
        # Both round sums of up to a few hundred products, to eight bits or to 24.
        tolerance = 0.02 if autocast else 3e-6
        torch.testing.assert_close(mine, exact, rtol=0.0, atol=tolerance * exact.abs().max().item())


@pytest.mark.parametrize(("ours", "theirs", "shape"), LAYERS)
def test_products_are_exact(ours: Any, theirs: Any, shape: Any) -> None:
    plain, products = (layer.double() for layer in pair(ours, theirs))
    images = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(products(images), plain(images), rtol=1e-12, atol=1e-12)

    def call(images: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return torch.func.functional_call(products, {"weight": weight, "bias": bias}, (images,))

    small = [images[:1, :, :2, :2].detach().requires_grad_(), *products.parameters()]
    assert torch.autograd.gradcheck(call, small)
    # R1 differentiates the gradient of the images by the weights.
    assert torch.autograd.gradgradcheck(call, small)


def test_im2col_and_col2im_are_torchs_unfold_and_fold() -> None:
    images = torch.randn(2, 3, 8, 4, dtype=torch.float64)
    unfolded = F.unfold(images, 4, padding=1, stride=2)  # (B, 48, 8)
    columns = im2col(images)
    torch.testing.assert_close(columns, unfolded.transpose(0, 1).flatten(1))
    folded = F.fold(unfolded, (8, 4), 4, padding=1, stride=2)
    torch.testing.assert_close(col2im(columns, images.shape), folded)


@pytest.mark.parametrize("frozen", ["images", "weight"])
@pytest.mark.parametrize(("ours", "theirs", "shape"), LAYERS)
def test_what_is_frozen_gets_no_gradient(ours: Any, theirs: Any, shape: Any, frozen: str) -> None:
    _, layer = pair(ours, theirs)
    images = torch.randn(shape, requires_grad=frozen != "images")
    layer.requires_grad_(frozen != "weight")
    layer(images).sum().backward()
    assert (images.grad is None) == (frozen == "images")
    assert all((p.grad is None) == (frozen == "weight") for p in layer.parameters())


@pytest.mark.parametrize("ours", [ImageConv2d, ImageConvTranspose2d])
def test_images_of_another_type_are_refused(ours: Any) -> None:
    with pytest.raises(RuntimeError, match=r"same dtype|must match|expected m1 and m2"):
        ours(3, 5, 4, 2, 1)(torch.randn(2, 3, 4, 4, dtype=torch.float64))


@pytest.mark.parametrize("layer", [ImageConv2d(3, 5, 4, 2, 1), ImageConvTranspose2d(3, 5, 4, 2, 1)])
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

    with torch.autocast("cpu", torch.bfloat16, enabled=autocast, cache_enabled=False):
        torch.compile(layer, backend=keep, fullgraph=True)(torch.randn(2, 3, 4, 4))
    (graph,) = graphs
    (operation,) = operations_of(graph.graph)
    assert "conv" in operation


@pytest.mark.parametrize("layer", [ImageConv2d(3, 5, 4, 2, 1), ImageConvTranspose2d(3, 5, 4, 2, 1)])
def test_an_exported_graph_has_torchs_convolution(layer: nn.Module) -> None:
    (operation,) = operations_of(torch.export.export(layer, (torch.randn(2, 3, 4, 4),)).graph)
    assert "conv" in operation


def operations_of(graph: torch.fx.Graph) -> list[str]:
    """Return what a graph calls."""
    return [str(node.target) for node in graph.nodes if node.op == "call_function"]
