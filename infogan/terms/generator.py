"""Terms on the generator alone: how the effects of its codes relate to one another."""

from dataclasses import dataclass

import torch
from torch import Tensor

from infogan.errors import check_at_least
from infogan.latents import LatentSpec
from infogan.latents.continuous import ContinuousCode
from infogan.regularizers import mixed_difference_penalty, squared_cosines
from infogan.terms.term import CodeTerm, Game


@dataclass(frozen=True)
class HessianPenalty(CodeTerm):
    """Let each code change the image in a way that does not depend on the others.

    Mutual information lets two codes number the cells of a table jointly: any permutation of the
    cells has the same I(c; g). Here the mixed differences G(a, b) - G(a', b) - G(a, b') + G(a', b')
    are driven to 0, so that the effects of the codes add (after the Hessian penalty of Peebles et
    al. 2020). Every step draws two of the codes, and uses a quarter of the latents.

    Args:
        weight: Weight of the mean squared mixed difference of a pixel.

    Raises:
        ValueError: If the weight is negative, or there are fewer than two codes.
    """

    weight: float = 10.0

    def __post_init__(self) -> None:
        check_at_least(hessian_penalty_weight=(self.weight, 0))

    def check(self, latents: LatentSpec) -> None:
        if len(latents.codes) < 2:
            raise ValueError(
                f"codes holds {len(latents.codes)} code and the Hessian penalty compares two; "
                "add a code or leave HessianPenalty out"
            )

    def generator_loss(self, game: Game, latent: Tensor) -> Tensor:
        """Return the weighted mean square of G's mixed differences in two codes."""
        corners = self.cross(game.latents, latent[: (len(latent) + 3) // 4])
        penalty = mixed_difference_penalty(*game.generator(torch.cat(corners)).chunk(4))
        game.record(hessian_penalty=penalty)
        return self.weight * penalty

    @staticmethod
    def cross(latents: LatentSpec, latent: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return (a, b), (a', b), (a, b') and (a', b'), (batch, dim) each, for two random codes.

        Args:
            latents: The layout of `latent`.
            latent: The (z, c) that hold a and b, (batch, dim).
        """
        noise, codes = latent[:, : latents.noise_dim], latents.split_codes(latent)
        drawn = [code.sample(len(latent), latent.device).to(latent) for code in latents.codes]
        # The pair is drawn on the device: the host need not know it.
        ranks = torch.rand(len(codes), device=latent.device).argsort()

        def change(first: bool, second: bool) -> Tensor:
            """Take anew the codes of rank 0 and 1, as said; keep the rest."""
            columns = [
                torch.where(((rank == 0) & first) | ((rank == 1) & second), new, old)
                for rank, new, old in zip(ranks, drawn, codes, strict=True)
            ]
            return torch.cat([noise, *columns], dim=1)

        return latent, change(True, False), change(False, True), change(True, True)


@dataclass(frozen=True)
class OrthogonalJacobian(CodeTerm):
    """Let any two continuous codes change the image in orthogonal directions.

    The squared cosine between the changes of G(z, c) by two codes is driven to 0 (orthogonal
    Jacobian regularization, Wei et al., ICCV 2021, arXiv 2108.07668). Mutual information cannot
    tell two codes from a rotation of them; this can. It uses a quarter of the latents.

    Args:
        weight: Weight of the mean squared cosine over the pairs of codes.
        step: Size of the finite difference, in units of the code, taken towards 0.

    Raises:
        ValueError: If the weight is negative, `step` is not positive, or there are fewer than two
            continuous codes.
    """

    weight: float = 1.0
    step: float = 0.2

    def __post_init__(self) -> None:
        check_at_least(weight=(self.weight, 0))
        if not self.step > 0:
            raise ValueError(f"step must be positive, got {self.step}")

    def check(self, latents: LatentSpec) -> None:
        count = sum(isinstance(code, ContinuousCode) for code in latents.codes)
        if count < 2:
            raise ValueError(
                f"codes holds {count} continuous and OrthogonalJacobian compares two; "
                "add a UniformCode or leave OrthogonalJacobian out"
            )

    def generator_loss(self, game: Game, latent: Tensor) -> Tensor:
        """Return the weighted mean squared cosine of the changes by two continuous codes."""
        latent = latent[: (len(latent) + 3) // 4]
        stepped = [latent]
        for index, code in enumerate(game.latents.codes):
            if isinstance(code, ContinuousCode):
                columns = game.latents.columns(index)
                moved = latent.clone()
                moved[:, columns] -= self.step * latent[:, columns].sign()
                stepped.append(moved)
        # (1 + codes, B, channels, side, side)
        images = game.generator(torch.cat(stepped)).unflatten(0, (len(stepped), len(latent)))
        loss = squared_cosines((images[1:] - images[0]).flatten(2)).mean()
        game.record(squared_cosine=loss)
        return self.weight * loss
