"""The baseline's two updates without a Trainer: the module's own, and written out plainly."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import Optimizer

from infogan.kernels import accelerate
from infogan.latents import CategoricalCode, UniformCode
from infogan.modules import InfoGANModule
from infogan.objectives import code_information


@dataclass(frozen=True)
class Updates:
    """Both updates of a batch.

    Args:
        step: Runs them on a batch of real images.
        optimizers: What they step: D's, then G's.
    """

    step: Callable[[Tensor], None]
    optimizers: Sequence[Optimizer]

    def __call__(self, real: Tensor) -> None:
        """Run the updates on a batch of real images."""
        self.step(real)


def paper_module(channels: int = 1, side: int = 28, seed: int = 0) -> InfoGANModule:
    """Return the baseline's networks and codes."""
    torch.manual_seed(seed)
    codes = [CategoricalCode(10), UniformCode(), UniformCode()]
    return InfoGANModule(codes=codes, image_channels=channels, image_size=side)


def bare_updates(module: InfoGANModule) -> Updates:
    """Return the module's own two updates, without a Trainer."""
    if module.device.type == "cpu":
        accelerate(module)
    optimizers = module.configure_optimizers()
    players = (list(module.discriminator_parameters()), list(module.generator.parameters()))

    def update(player: int, loss: Callable[[], Tensor]) -> None:
        for parameter in players[1 - player]:
            parameter.requires_grad_(False)
        optimizers[player].zero_grad()
        loss().backward()
        optimizers[player].step()
        for parameter in players[1 - player]:
            parameter.requires_grad_(True)

    def step(real: Tensor) -> None:
        update(0, lambda: module.discriminator_objective(real))
        update(1, lambda: module.generator_objective(len(real)))

    return Updates(step, optimizers)


def compiled_updates(module: InfoGANModule) -> Updates:
    """Return the module's own two updates with all three networks compiled by torch."""
    # Each network is seen by both players, once frozen and once not, in both modes of gradients.
    torch._dynamo.config.recompile_limit = 32
    for network in (module.discriminator.trunk, module.generator, module.recognition_head):
        network.compile()
    return bare_updates(module)


def plain_updates(module: InfoGANModule) -> Updates:
    """Return the same two updates as most implementations write them, with torch's own layers."""
    module.to(memory_format=torch.contiguous_format)
    generator, discriminator = module.generator, module.discriminator
    for_discriminator = torch.optim.Adam(
        [*discriminator.parameters(), *module.recognition_head.parameters()], 2e-4, (0.5, 0.999)
    )
    for_generator = torch.optim.Adam(generator.parameters(), 1e-3, (0.5, 0.999))

    def information(latent: Tensor, features: Tensor) -> Tensor:
        parameters = module.recognition_head(features)
        return -code_information(module.latents, latent, parameters).lower_bound.sum()

    def step(real: Tensor) -> None:
        ones = torch.ones(len(real), 1, device=real.device)
        zeros = torch.zeros(len(real), 1, device=real.device)
        latent = module.latents.sample(len(real), real.device)
        fake = generator(latent)
        for_discriminator.zero_grad()
        loss = F.binary_cross_entropy_with_logits(discriminator(real), ones)
        (features,) = discriminator.trunk(fake.detach())
        loss = loss + F.binary_cross_entropy_with_logits(discriminator.logits(features), zeros)
        (loss + information(latent, features)).backward()
        for_discriminator.step()
        latent = module.latents.sample(len(real), real.device)
        for_generator.zero_grad()
        (features,) = discriminator.trunk(generator(latent))
        loss = F.binary_cross_entropy_with_logits(discriminator.logits(features), ones)
        (loss + information(latent, features)).backward()
        for_generator.step()

    return Updates(step, (for_discriminator, for_generator))


UPDATES = {"bare": bare_updates, "plain": plain_updates, "compiled": compiled_updates}
