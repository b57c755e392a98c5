"""A seed draws the same numbers everywhere and leaves all streams alone."""

import pytest
import torch

from infogan.callbacks.generation import fixed_latents
from infogan.latents import CategoricalCode, LatentSpec, UniformCode
from infogan.seeding import seeded
from tests.support.fake_card import fake_card


def test_a_seed_leaves_all_streams_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of GPUs, too, which `torch.manual_seed` seeds."""

    def refuse(seed: int) -> None:
        raise AssertionError("the GPUs' streams are seeded")

    monkeypatch.setattr(torch.cuda, "manual_seed_all", refuse)
    before = torch.get_rng_state()
    with seeded(3):
        first = torch.rand(4)
    with seeded(3):
        assert torch.equal(torch.rand(4), first)
    assert torch.equal(torch.get_rng_state(), before)
    with pytest.raises(RuntimeError, match="within"), seeded(3):
        raise RuntimeError("within")
    assert torch.equal(torch.get_rng_state(), before)


def test_fixed_latents_are_the_same_on_a_card() -> None:
    spec = LatentSpec(3, (CategoricalCode(4), UniformCode()))
    expected = fixed_latents(spec, 5, seed=1)
    with fake_card():
        assert torch.equal(fixed_latents(spec, 5, seed=1).to("cuda").cpu(), expected)
