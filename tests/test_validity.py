"""Generated images judged by the inverse renderer."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from datamodules.basicprop import BasicPropDataModule
from infogan.callbacks.validity import SampleValidity
from infogan.modules import GANModule
from tests.conftest import TINY, Outcome


class Real:
    """A generator that is right: it draws the data's own images, of given positions."""

    def __init__(self, data: BasicPropDataModule, positions: list[int]) -> None:
        data.setup("test")
        assert data.eval_source is not None
        images, factors = data.eval_source.fetch(torch.arange(100), None)  # type: ignore[arg-type]
        keep = torch.isin(factors[:, 0], torch.tensor(positions, dtype=factors.dtype))
        self.images = images[keep].float() / 255

    def __call__(self, latent: Tensor) -> Tensor:
        return self.images[torch.arange(len(latent)) % len(self.images)]


@pytest.mark.parametrize("spoiled", [0.0, 0.3])
def test_scores_of_a_generator_that_is_right_on_a_part(
    build: Callable[..., GANModule], monkeypatch: pytest.MonkeyPatch, spoiled: float
) -> None:
    data = BasicPropDataModule("line", train_size=10, eval_size=100)
    module = build(image_size=28)
    real = Real(data, positions=[1, 4, 9])

    def generate(latent: Tensor) -> Tensor:
        images = real(latent)
        images[: int(spoiled * len(images))] = 0.0
        return images

    logged: dict[str, Tensor] = {}
    monkeypatch.setattr(module, "generate", generate)
    monkeypatch.setattr(module, "log", lambda name, value: logged.update({name: value}))
    trainer = SimpleNamespace(datamodule=data)
    SampleValidity(num_images=50, batch_size=50).log_scores("val", trainer, module)  # type: ignore[arg-type]
    assert float(logged["val/valid_share"]) == pytest.approx(1 - spoiled)
    assert logged["val/cells_covered"] == 3


def test_a_run_on_basicprop_logs_them_and_one_on_mnist_does_not(
    command: Callable[..., Outcome],
) -> None:
    small = ("--data.init_args.train_size=100", "--data.init_args.eval_size=100")
    assert command("fit", "--config", "infogan_line.yaml", *TINY, *small).code == 0
    assert command("fit", "--config", "infogan_mnist.yaml", *TINY).code == 0
    line, mnist = (
        Path(f"runs/{name}/version_0/metrics.csv").read_text().splitlines()[0]
        for name in ("infogan_line", "infogan_mnist")
    )
    assert "val/valid_share" in line and "val/cells_covered" in line
    assert "valid_share" not in mnist


def test_the_random_streams_go_on_as_they_were(build: Callable[..., GANModule]) -> None:
    state = torch.get_rng_state()
    module = build().eval()
    torch.set_rng_state(state)
    first, second = (SampleValidity(num_images=8).sample(module) for _ in range(2))
    assert torch.equal(first, second) and torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("wrong", [{"num_images": -1}, {"batch_size": 0}])
def test_wrong_options(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SampleValidity(**wrong)
