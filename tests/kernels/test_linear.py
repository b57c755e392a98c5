"""CastOnceLinear against nn.Linear: the same bits, with fewer casts."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.utils._python_dispatch import TorchDispatchMode

from infogan.kernels.linear import CastOnceLinear


def pair() -> tuple[nn.Linear, CastOnceLinear]:
    """Return both layers with the same weights."""
    plain, ours = nn.Linear(6, 4), CastOnceLinear(6, 4)
    ours.load_state_dict(plain.state_dict())
    return plain, ours


class CountCasts(TorchDispatchMode):
    """Counts the casts of tensors of the weight's shape."""

    count = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is torch.ops.aten._to_copy.default and args[0].shape == (4, 6):
            self.count += 1
        return func(*args, **(kwargs or {}))


def alternate(layer: nn.Linear, autocast: bool = True, fused: bool = True) -> list[Tensor]:
    """Let a layer learn, then be seen frozen, as D's in three batches; return all results."""
    torch.manual_seed(0)
    optimizer = torch.optim.Adam(layer.parameters(), 0.1, fused=fused)
    results: list[Tensor] = []
    for _ in range(3):
        x = torch.randn(5, 6)
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast, cache_enabled=False):
            y = layer(x)
        optimizer.zero_grad()
        y.float().square().sum().backward()
        assert layer.weight.grad is not None
        results += [y.detach(), layer.weight.grad.clone()]
        optimizer.step()
        layer.requires_grad_(False)
        x.requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast, cache_enabled=False):
            (gradient,) = torch.autograd.grad(layer(x).float().square().sum(), x)
            with torch.no_grad():
                results += [gradient, layer(x)]
        layer.requires_grad_(True)
    return results


@pytest.mark.parametrize(("autocast", "fused"), [(True, True), (True, False), (False, True)])
def test_alternating_updates_are_the_same_to_the_bit(autocast: bool, fused: bool) -> None:
    results = [alternate(layer, autocast, fused) for layer in pair()]
    for one, other in zip(*results, strict=True):
        assert one.dtype == other.dtype and torch.equal(one, other)


def test_a_weight_is_cast_once_a_change() -> None:
    plain, ours = pair()
    counts = []
    for layer in (plain, ours):
        with CountCasts() as casts:
            alternate(layer)
        counts.append(casts.count)
    # Three uses a batch and the gradient's way back, against one cast a change and the way back.
    assert counts == [3 * 4, 1 + 3 * 2]


def test_a_gradient_of_a_gradient_is_the_same() -> None:
    """R1 differentiates the gradient of the images by the weights."""
    second = []
    for layer in pair():
        torch.manual_seed(1)
        x = torch.randn(5, 6, requires_grad=True)
        with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
            (slope,) = torch.autograd.grad(layer(x).square().sum(), x, create_graph=True)
            second.append(torch.autograd.grad(slope.square().sum(), layer.weight)[0])
    # Torch adds both of the weight's gradients in half precision, and this layer in its own.
    largest = second[0].abs().max().item()
    assert largest > 1
    torch.testing.assert_close(*second, rtol=0.0, atol=2**-8 * largest)


@pytest.mark.parametrize("validates_first", [True, False])
def test_a_validation_in_between_changes_nothing(validates_first: bool) -> None:
    """Lightning validates in inference mode, whose tensors no gradient can be computed from."""
    results = []
    for layer in pair():
        x = torch.randn(5, 6, generator=torch.Generator().manual_seed(2))
        with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
            if not validates_first:
                layer(x).sum().backward()
                torch.optim.SGD(layer.parameters(), 1.0, fused=True).step()
            with torch.inference_mode():
                seen = layer(x).clone()
            y = layer(x)
        y.float().square().sum().backward()
        results.append([seen, y.detach(), layer.weight.grad])
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)


def double_and_back(layer: nn.Linear) -> None:
    layer.double()
    layer.weight.detach().mul_(3)
    layer.float()


@pytest.mark.parametrize(
    "change",
    [
        lambda layer: layer.load_state_dict({k: 2 * v for k, v in layer.state_dict().items()}),
        lambda layer: nn.init.ones_(layer.weight),
        double_and_back,
        lambda layer: setattr(layer, "weight", nn.Parameter(2 * layer.weight.detach())),
    ],
    ids=["load", "init", "to another type and back", "another parameter"],
)
def test_every_way_to_change_a_weight_is_seen(change: Callable[[nn.Linear], object]) -> None:
    plain, ours = pair()
    x = torch.randn(5, 6)
    with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
        before = ours(x)
        for layer in (plain, ours):
            change(layer)
        assert torch.equal(ours(x), plain(x)) and not torch.equal(ours(x), before)


def test_a_parametrized_weight_is_computed_at_each_use() -> None:
    ours = CastOnceLinear(6, 4)
    spectral_norm(ours)
    x = torch.randn(5, 6)
    with torch.autocast("cpu", torch.bfloat16, cache_enabled=False), torch.no_grad():
        ours(x)
        ours.eval()
        before = ours(x)
        ours.weight = ours.weight.flip(0)  # what it is computed from
        expected = nn.functional.linear(x, ours.weight, ours.bias)
        assert torch.equal(ours(x), expected) and not torch.equal(expected, before)
