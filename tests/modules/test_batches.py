"""Loaders of any origin, from Python: what the modules take, and what they refuse in one line."""

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from infogan.errors import ConfigurationError
from infogan.modules import GANModule

Build = Callable[..., GANModule]
X = torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(8) % 4


@pytest.mark.parametrize(
    "tensors", [(X,), (X, LABELS), (X, LABELS[:, None].float()), (X.double(), LABELS)]
)
def test_images_come_alone_or_with_labels(
    tensors: tuple[Tensor, ...], build: Build, trainer: Callable[..., pl.Trainer]
) -> None:
    """All train, validate, test and predict alike: a GAN learns from images alone."""
    torch.manual_seed(0)
    loader = DataLoader(TensorDataset(*tensors), batch_size=4)
    module, expected = build(), build()
    for own, loaders in ((module, loader), (expected, DataLoader(X, batch_size=4))):  # type: ignore[arg-type]
        made = trainer(max_epochs=1)
        torch.manual_seed(0)
        made.fit(own, loaders, loader)
        assert "val/d_real" in made.callback_metrics
        made.test(own, loader, verbose=False)
    for name, value in module.state_dict().items():
        assert torch.equal(value, expected.state_dict()[name]), name
    read: Any = trainer().predict(module, loader)
    assert [len(reading.modes[0]) for reading in read] == [4, 4]


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (2 * X - 1, r"lie in \[-0.9\d+, 0.9\d+\] and .*: take \(x \+ 1\) / 2$"),
        (255 * X, r"lie in \[\d.\d+, 25\d.*\] and the module takes \[0, 1\]: scale them"),
        ((255 * X).byte(), "torch.uint8 and the module takes floats .*divide bytes by 255"),
        (X.flatten(1), r"shape \(4, 64\) and the module takes \(batch, 1, 8, 8\)"),
        (X.repeat(1, 3, 1, 1), r"shape \(4, 3, 8, 8\) .*image_channels"),
    ],
)
def test_other_images_are_refused_with_a_way_out(
    images: Tensor, said: str, build: Build, trainer: Callable[..., pl.Trainer]
) -> None:
    loader: Any = DataLoader(TensorDataset(images), batch_size=4)
    with pytest.raises(ConfigurationError, match=said):
        trainer(max_epochs=1).fit(build(), loader)
    with pytest.raises(ConfigurationError, match=said):
        trainer().validate(build(), loader, verbose=False)


def test_the_other_package_of_lightning_is_warned_of(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lightning.pytorch", ModuleType("lightning.pytorch"))
    with pytest.warns(UserWarning, match="InfoGANModule needs the Trainer of pytorch_lightning"):
        build()
