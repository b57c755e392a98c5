"""Generate the same images for every epoch, run and process, leaving the random streams alone."""

from collections.abc import Iterator

import torch
from torch import Tensor

from infogan.latents import LatentSpec
from infogan.modules.gan import GANModule
from infogan.seeding import seeded

# Images through the generator at once: bounds the memory.
CHUNK_SIZE = 1000


def fixed_latents(latents: LatentSpec, num_images: int, seed: int) -> Tensor:
    """Return (z, c) that are a function of the seed alone, (num_images, dim)."""
    with seeded(seed):
        return latents.sample(num_images)


@torch.no_grad()
def generated(
    module: GANModule, latents: Tensor, batch_size: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield parts of the latents and the float32 images that they make, on the module's device."""
    for part in latents.to(module.device).split(batch_size):
        yield part, module.generate(part).float()


def images_of(module: GANModule, latents: Tensor) -> Tensor:
    """Return G(z, c) of a module in evaluation mode, (batch, channels, side, side), on the CPU."""
    return torch.cat([images.cpu() for _, images in generated(module, latents, CHUNK_SIZE)])
