"""Codes that follow a known transformation of the image."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from infogan.errors import check_at_least
from infogan.latents import LatentSpec
from infogan.latents.continuous import ContinuousCode
from infogan.terms.term import CodeTerm, Game, RealReadings, SeenView, View
from infogan.transformations import ImageTransformation


@dataclass(frozen=True)
class Equivariance(CodeTerm):
    """Let each chosen code follow one transformation T of the image, and no other.

    With q(x) what Q reads of a continuous code from image x, and d a random amount: q(T_d x) - q(x)
    must be d for the code that follows T, and 0 for all others. Real images are held to this by the
    difference of two readings, generated ones by their known code. G must obey it as well:
    G(z, c + d) must be T_d G(z, c). This is prior knowledge of what the codes shall mean; no label
    and no measure of any image is used.

    Args:
        transformations: The transformation that a continuous code follows, by the code's position
            in `codes`, counted from 0.
        weight: Weight of the mean squared error of the readings, summed over the continuous codes,
            in D's and Q's loss.
        generator_weight: Weight of the mean squared difference of a pixel between G(z, c + d) and
            T_d G(z, c), in G's loss.
        largest: Largest |d|, in units of the code; d is uniform and differs for each image.

    Raises:
        ValueError: If a weight is negative, `largest` is not positive, `transformations` is empty
            or names a code that is not continuous.
    """

    transformations: dict[int, ImageTransformation]
    weight: float = 1.0
    generator_weight: float = 0.0
    largest: float = 0.5
    num_views = 2

    def __post_init__(self) -> None:
        check_at_least(weight=(self.weight, 0), generator_weight=(self.generator_weight, 0))
        if not self.largest > 0:
            raise ValueError(f"largest must be positive, got {self.largest}")
        if not self.transformations:
            raise ValueError("transformations is empty; give one, such as Shear, by a code's place")

    def check(self, latents: LatentSpec) -> None:
        continuous = [i for i, c in enumerate(latents.codes) if isinstance(c, ContinuousCode)]
        for index in self.transformations:
            if index not in continuous:
                raise ValueError(
                    f"transformations names code {index}, and the continuous codes are "
                    f"{continuous}; name one of them, counted from 0"
                )

    def views(self, real: Tensor, fake: Tensor) -> tuple[View, ...]:
        """Return the first half of the real and of the generated images, transformed."""
        half = (len(real) + 1) // 2
        return self.transform(real[:half]), self.transform(fake[:half])

    def transform(self, images: Tensor) -> View:
        """Transform each image by amounts of its own, (images, transformations)."""
        draws = torch.rand(len(images), len(self.transformations), device=images.device)
        amounts = self.largest * (2 * draws - 1)
        transformed = images
        for amount, transform in zip(amounts.T, self.transformations.values(), strict=True):
            transformed = transform(transformed, amount)
        return View(transformed, amounts)

    def discriminator_loss(self, real: RealReadings, views: Sequence[SeenView]) -> Tensor:
        """Return the weighted squared error of Q's readings of the two views."""
        latents = real.game.latents
        of_real, of_fake = views
        codes = latents.split_codes(real.latent)
        errors = []
        parameters = (real.parameters, *(real.game.read(view.features) for view in views))
        for index, (code, plain, moved, fake) in enumerate(
            zip(latents.codes, *parameters, strict=True)
        ):
            if not isinstance(code, ContinuousCode):
                continue
            moved, fake = code.posterior_mode(moved), code.posterior_mode(fake)  # (views, 1)
            change = moved - code.posterior_mode(plain)[: len(moved)]
            errors.append(change - self.change(index, of_real))
            errors.append(fake - codes[index][: len(fake)] - self.change(index, of_fake))
        # The mean of both views, the sum of the codes.
        loss = torch.stack([error.square().mean() for error in errors]).sum() / len(views)
        real.game.record(equivariance_loss=loss)
        return self.weight * loss

    def generator_loss(self, game: Game, latent: Tensor) -> Tensor | float:
        """Return the weighted squared difference between G(z, c + d) and T_d G(z, c).

        It uses a quarter of the latents, and changes their codes towards 0, within their range.
        """
        if self.generator_weight == 0:
            return 0.0
        latent = latent[: (len(latent) + 3) // 4]
        draws = self.largest * torch.rand(
            len(latent), len(self.transformations), device=latent.device
        )
        changed, amounts = latent.clone(), []
        for draw, index in zip(draws.T, self.transformations, strict=True):
            columns = game.latents.columns(index)
            amounts.append(-draw * latent[:, columns].sign().squeeze(1))
            changed[:, columns] += amounts[-1].unsqueeze(1)
        images, expected = game.generator(torch.cat([latent, changed])).chunk(2)
        for amount, transform in zip(amounts, self.transformations.values(), strict=True):
            images = transform(images, amount)
        loss = (images - expected).square().mean()
        game.record(equivariance_of_generator=loss)
        return self.generator_weight * loss

    def change(self, index: int, view: SeenView) -> Tensor | float:
        """Return by how much a code's reading must have risen, (views, 1), or 0."""
        assert view.amounts is not None
        if index not in self.transformations:
            return 0.0
        column = list(self.transformations).index(index)
        return view.amounts[:, column : column + 1]
