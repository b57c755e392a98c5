"""The record that keeps NaN out of the weights without asking the host; here on the CPU."""

import pytest
import torch
from torch import Tensor, nn

from infogan.modules.non_finite import NonFiniteRecord

NAN, INFINITY = float("nan"), float("inf")


def layer() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(3, 2)


def record(module: nn.Module, is_alone: bool = True) -> NonFiniteRecord:
    names: dict[Tensor, str] = {p: f"net.{name}" for name, p in module.named_parameters()}
    return NonFiniteRecord(torch.device("cpu"), names, is_alone)


def update(
    module: nn.Linear, optimizer: torch.optim.Optimizer, watch: NonFiniteRecord, scale: float
) -> None:
    optimizer.zero_grad()
    loss = (module(torch.ones(4, 3)).sum()) * scale
    loss.backward()
    watch.guard(optimizer, loss)
    optimizer.step()


@pytest.mark.parametrize("poison", [NAN, INFINITY])
def test_a_fused_optimizer_skips_a_bad_update_as_if_it_had_not_been(poison: float) -> None:
    skipped, plain = layer(), layer()
    optimizers = [torch.optim.Adam(m.parameters(), 0.1, fused=True) for m in (skipped, plain)]
    watch, unused = record(skipped), record(plain)
    for scale in (1.0, poison, 2.0):
        update(skipped, optimizers[0], watch, scale)
    for scale in (1.0, 2.0):
        update(plain, optimizers[1], unused, scale)
    assert bool(watch.found)
    assert not bool(unused.found)
    for one, other in zip(skipped.parameters(), plain.parameters(), strict=True):
        assert torch.equal(one, other)


def test_other_optimizers_take_a_gradient_of_zero() -> None:
    module = layer()
    optimizer = torch.optim.SGD(module.parameters(), 0.1)
    before = [p.detach().clone() for p in module.parameters()]
    update(module, optimizer, record(module), NAN)
    for parameter, value in zip(module.parameters(), before, strict=True):
        assert torch.equal(parameter, value)


def test_the_first_bad_update_is_the_one_that_is_described() -> None:
    module = layer()
    optimizer = torch.optim.Adam(module.parameters(), 0.1, fused=True)
    watch = record(module)
    update(module, optimizer, watch, 1.0)
    assert watch.describe() == ("", "")
    update(module, optimizer, watch, INFINITY)
    update(module, optimizer, watch, NAN)
    found, networks = watch.describe()
    assert "infinity in" in found
    assert "net.weight" in found
    assert networks == "net"


def test_a_loss_that_is_bad_on_one_of_several_ranks_skips_nothing() -> None:
    """Its gradient may be finite and shared: ranks that skipped alone would drift apart."""
    module = layer()
    optimizer = torch.optim.Adam(module.parameters(), 0.1, fused=True)
    watch = record(module, is_alone=False)
    before = module.weight.detach().clone()
    loss = module(torch.ones(4, 3)).sum()
    loss.backward()
    watch.guard(optimizer, loss + NAN)
    optimizer.step()
    assert bool(watch.found)
    assert not torch.equal(module.weight, before)
