"""Latent codes of my own."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from infogan.latents import LatentCode


@dataclass(frozen=True)
class AngleCode(LatentCode):
    """An angle, uniform on the circle; Q reads it as a von Mises distribution.

    Args:
        max_concentration: How sure Q can be at most; 20 is a std of about 13 degrees.
    """

    max_concentration: float = 20.0
    is_discrete = False

    @property
    def dim(self) -> int:
        return 2

    @property
    def num_parameters(self) -> int:
        return 2

    @property
    def entropy(self) -> float:
        return math.log(2 * math.pi)

    def sample(self, num_samples: int, device: torch.device | str = "cpu") -> Tensor:
        return on_circle(2 * math.pi * torch.rand(num_samples, device=device))

    def log_prob(self, value: Tensor) -> Tensor:
        return value.new_full((len(value),), -self.entropy)

    def posterior_log_prob(self, value: Tensor, parameters: Tensor) -> Tensor:
        # Bounded, or a code that is read exactly would make the objective unbounded.
        length = parameters.norm(dim=1, keepdim=True)
        vector = parameters / (1 + length / self.max_concentration)
        concentration = vector.norm(dim=1)
        # i0e(k) is I0(k) exp(-k), which does not overflow.
        log_i0 = torch.special.i0e(concentration).log() + concentration
        return (value * vector).sum(dim=1) - log_i0 - math.log(2 * math.pi)

    def posterior_mode(self, parameters: Tensor) -> Tensor:
        return F.normalize(parameters)

    def traverse(self, num_values: int) -> Tensor:
        return on_circle(2 * math.pi * torch.arange(num_values) / num_values)

    def label(self, value: Tensor) -> str:
        return f"{math.degrees(math.atan2(value[1], value[0])) % 360:.0f}"


def on_circle(angle: Tensor) -> Tensor:
    """Return cosine and sine of each angle, (N, 2)."""
    return torch.stack([angle.cos(), angle.sin()], dim=1)
