"""When a batch's updates are captured as a CUDA graph; the capture itself is tested on a card."""

from types import SimpleNamespace
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from infogan.callbacks.nan_stopping import NonFiniteStopping
from infogan.errors import ConfigurationError
from infogan.modules.update_graph import reason_against_graph
from tests.conftest import GradientRecorder, Loader

CARD = torch.device("cuda", 0)


def asked(optimizer: Any = None, **settings: Any) -> Any:
    """Return what is asked of a trainer."""
    weight = torch.nn.Parameter(torch.zeros(1))
    given = optimizer or torch.optim.Adam([weight], fused=True)
    plugin = SimpleNamespace(scaler=settings.pop("scaler", None))
    return SimpleNamespace(
        **{
            "world_size": 1,
            "precision_plugin": plugin,
            "optimizers": [given],
            "callbacks": [NonFiniteStopping(), pl.Callback()],
            **settings,
        }
    )


def test_one_card_with_fused_optimizers_captures() -> None:
    assert reason_against_graph(asked(), CARD) is None


@pytest.mark.parametrize(
    ("settings", "device", "reason"),
    [
        ({}, torch.device("cpu"), "the device is cpu"),
        ({"world_size": 2}, CARD, "over 2 processes"),
        ({"scaler": object()}, CARD, "gradient scaler"),
        ({"optimizer": torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 0.1)}, CARD, "fused"),
        ({"callbacks": [GradientRecorder()]}, CARD, "GradientRecorder watches single updates"),
    ],
)
def test_what_speaks_against_it(settings: dict[str, Any], device: Any, reason: str) -> None:
    found = reason_against_graph(asked(**settings), device)
    assert found is not None
    assert reason in found


def test_a_graph_that_is_asked_for_and_cannot_be_is_one_line(build: Any, trainer: Any) -> None:
    with pytest.raises(ConfigurationError, match="cuda_graph=true, but the device is cpu; leave"):
        trainer(max_steps=1).fit(build(cuda_graph=True), Loader([torch.rand(4, 1, 8, 8)]))
