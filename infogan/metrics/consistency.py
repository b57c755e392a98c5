"""Is a generated image what its code says? Q reads the code back, and a judge sees its class."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from infogan.latents import LatentSpec
from infogan.metrics.variables import as_variables, describe_codes, read_codes
from infogan.objectives import code_information


def share_equal(first: Float[Tensor, " images"], second: Float[Tensor, " images"]) -> float:
    """Return the share of images on which two readings of a discrete code agree."""
    return float((first == second).float().mean())


def coefficient_of_determination(
    value: Float[Tensor, " images"], reading: Float[Tensor, " images"]
) -> float:
    """Return R^2 of a continuous code's reading: 1 if exact, 0 as good as the mean, below 0 worse.

    Of a value that does not vary, 0.
    """
    spread = (value - value.mean()).square().sum()
    return float(1 - (value - reading).square().sum() / spread) if spread > 0 else 0.0


def class_agreement(
    categories: Int[Tensor, " images"],
    classes: Int[Tensor, " images"],
    names: Int[Tensor, " categories"],
) -> float:
    """Return the share of images whose class is the name of the category that made them.

    Args:
        categories: The category that each image was generated from.
        classes: The class that a judge sees in it.
        names: The class that each category names.
    """
    return float((names[categories] == classes).float().mean())


class SelfConsistency(Metric):
    """Does Q read from a generated image the codes that made it, and with how much information?

    Args:
        latents: The layout of (z, c).
    """

    full_state_update = False
    made: list[Tensor]
    read: list[Tensor]
    cross_entropy: Tensor
    num_images: Tensor

    def __init__(self, latents: LatentSpec) -> None:
        super().__init__()
        self.latents = latents
        self.add_state("made", default=[], dist_reduce_fx="cat")
        self.add_state("read", default=[], dist_reduce_fx="cat")
        zeros = torch.zeros(len(latents.codes), dtype=torch.float64)
        self.add_state("cross_entropy", default=zeros, dist_reduce_fx="sum")
        self.add_state("num_images", default=torch.tensor(0), dist_reduce_fx="sum")

    def update(self, latent: Tensor, parameters: Sequence[Tensor]) -> None:
        """Collect one batch of generated images.

        Args:
            latent: The (z, c) that made them, (batch, dim).
            parameters: Q's posterior parameters by code, (batch, code.num_parameters) each.
        """
        codes = self.latents.codes
        modes = [code.posterior_mode(q) for code, q in zip(codes, parameters, strict=True)]
        self.made.append(read_codes(codes, self.latents.split_codes(latent)))
        self.read.append(read_codes(codes, modes))
        information = code_information(self.latents, latent, torch.cat(list(parameters), dim=1))
        self.cross_entropy += information.cross_entropy * len(latent)
        self.num_images += len(latent)

    def compute(self) -> dict[str, Tensor]:
        """Return `self_consistency_CODE` and the lower bound of the information in nats, `mi`.

        Of a discrete code it is the share of images it is read back from, of a continuous one R^2.
        """
        described = describe_codes(self.latents.codes)
        made, read = (as_variables(described, dim_zero_cat(s)) for s in (self.made, self.read))
        scores = {
            f"self_consistency_{code.name}": coefficient_of_determination(code.values, back.values)
            if code.num_values is None
            else share_equal(code.values, back.values)
            for code, back in zip(made, read, strict=True)
        }
        bound = self.latents.entropy - float(self.cross_entropy.sum() / self.num_images)
        return {name: torch.tensor(value) for name, value in {**scores, "mi": bound}.items()}
