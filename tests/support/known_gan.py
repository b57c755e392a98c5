"""A GAN of stripes as a test makes it: G draws what it is told, Q reads the bright row."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from infogan.latents import CategoricalCode
from infogan.modules import GANModule, InfoGANModule
from tests.support.stripes import brightness, stripes

NAMES = torch.tensor([2, 0, 3, 1])  # the class that Q's reading gives to each category


class Drawn(nn.Module):
    """G: draws the class that belongs to the category."""

    def __init__(self, class_of_category: Tensor) -> None:
        super().__init__()
        self.class_of_category = class_of_category

    def forward(self, latent: Tensor) -> Tensor:
        return stripes(self.class_of_category[latent[:, 3:].argmax(dim=1)])


class Pixels(nn.Module):
    """The trunk: features are the pixels."""

    feature_dim = 64

    def forward(self, *batches: Tensor) -> tuple[Tensor, ...]:
        return tuple(batch.flatten(1) for batch in batches)


class Reader(nn.Module):
    """Q's head: the logit of a category is how bright the row of its class is."""

    def forward(self, features: Tensor) -> Tensor:
        return 20 * brightness(features.unflatten(1, (1, 8, 8)))[:, NAMES]


def known_gan(
    build: Callable[..., GANModule],
    class_of_category: Tensor = NAMES,
    kind: type[GANModule] = InfoGANModule,
) -> GANModule:
    """Return a GAN that draws a class for each of four categories."""
    module = build(kind, codes=[CategoricalCode(4)])
    module.generator = Drawn(class_of_category)
    module.discriminator.trunk = Pixels()  # type: ignore[assignment]
    module.discriminator.head = nn.Linear(64, 1)
    if isinstance(module, InfoGANModule):
        module.recognition_head = Reader()
    return module
