"""Real images that the model has not been trained on, and what its categories mean on them."""

import math
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.model_helpers import is_overridden
from torch import Tensor

from infogan.data import DataFactor, told_by
from infogan.errors import ConfigurationError
from infogan.latents import CategoricalCode
from infogan.metrics.codes import CodeScores
from infogan.modules.gan import GANModule
from infogan.modules.infogan import InfoGANModule

NUM_IMAGES = 1000


@dataclass(frozen=True)
class HeldOut:
    """Held-out images.

    Args:
        images: Images in [0, 1], (N, channels, height, width).
        captions: What the true factors say about each image; empty without factors.
        meanings: By position of a code, the class that each of its categories names.
    """

    images: Tensor
    captions: list[str]
    meanings: dict[int, list[str]]


def load_held_out(
    data: pl.LightningDataModule, module: GANModule, num_images: int = NUM_IMAGES
) -> HeldOut:
    """Take a share of every batch of held-out images, and let Q name its categories by them.

    They are the validation images, or the test images where there is no validation.

    Raises:
        ConfigurationError: If the data cannot be had, or does not fit the model.
    """
    name = type(data).__name__
    way_out = "give the data it was trained on with --data, or none with --data null"
    try:
        data.prepare_data()
        images, factors = share(data, held_out_batches(data), num_images)
    except (ValueError, OSError) as error:
        raise ConfigurationError(f"held-out images of {name}: {error}; {way_out}") from error
    if tuple(images.shape[1:]) != module.image_shape:
        raise ConfigurationError(
            f"held-out images of {name} have shape {tuple(images.shape[1:])} and the model's "
            f"{module.image_shape}: {way_out}"
        )
    named = told_by(data).discrete_factors
    captions, meanings = [], {}
    if factors is not None and named:
        captions = [caption(row, named) for row in factors]
        meanings = name_categories(module, images, factors, named)
    return HeldOut(images, captions, meanings)


def held_out_batches(data: pl.LightningDataModule) -> Any:
    """Return the batches of the validation images; of the test images if there are none."""
    if is_overridden("val_dataloader", data):
        data.setup("validate")
        if len(batches := data.val_dataloader()):
            return batches
    data.setup("test")
    return data.test_dataloader()


def share(
    data: pl.LightningDataModule, batches: Any, num_images: int
) -> tuple[Tensor, Tensor | None]:
    """Return images, and factors if there are any, spread evenly over the batches."""
    each = math.ceil(num_images / max(1, len(batches)))
    images, factors = [], []
    for number, batch in enumerate(batches):
        ready = data.on_after_batch_transfer(batch, 0)
        stored, known = ready if isinstance(ready, tuple | list) else (ready, None)
        stream = torch.Generator().manual_seed(number)
        chosen = torch.randperm(len(stored), generator=stream)[:each]
        images.append(stored[chosen])
        if known is not None:
            factors.append(known[chosen])
    if not images:
        raise ValueError("there are no held-out images")
    return torch.cat(images), torch.cat(factors) if factors else None


def caption(row: Tensor, named: dict[int, DataFactor]) -> str:
    """Return the discrete factors of one image, such as `digit 7`."""
    return ", ".join(f"{factor.name} {factor.called(int(row[i]))}" for i, factor in named.items())


@torch.no_grad()
def name_categories(
    module: GANModule, images: Tensor, factors: Tensor, named: dict[int, DataFactor]
) -> dict[int, list[str]]:
    """Return, by position of the code, the class that each category names on these images."""
    categories = {
        i: code.num_categories
        for i, code in enumerate(module.latents.codes)
        if isinstance(code, CategoricalCode)
    }
    if not isinstance(module, InfoGANModule) or not categories or len(images) < 2:
        return {}
    scores = CodeScores(categories, named)
    scores.update([p.argmax(dim=1) for p in module.recognize(images)], factors)
    scores.compute()
    return scores.meanings
