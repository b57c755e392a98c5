"""The generator's whole input: noise and codes side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from infogan.errors import check_at_least, check_choice
from infogan.latents.code import LatentCode


@dataclass(frozen=True)
class LatentSpec:
    """The generator's whole input (z, c): noise first, then the codes in order.

    Args:
        noise_dim: Number of noise dimensions; 0 for none.
        codes: The codes; may be empty.
        noise_distribution: `uniform` on [-1, 1] or standard `normal`.
    """

    noise_dim: int
    codes: tuple[LatentCode, ...]
    noise_distribution: Literal["uniform", "normal"] = "uniform"

    def __post_init__(self) -> None:
        check_at_least(noise_dim=(self.noise_dim, 0))
        if self.noise_dim == 0 and not self.codes:
            raise ValueError(
                "noise_dim=0 and codes=[]: the generator has no input; give it noise or a code"
            )
        check_choice(noise_distribution=(self.noise_distribution, ("uniform", "normal")))

    @property
    def dim(self) -> int:
        """Width of the generator's input."""
        return self.noise_dim + sum(code.dim for code in self.codes)

    @property
    def num_parameters(self) -> int:
        """Number of posterior parameters that Q emits for all codes together."""
        return sum(code.num_parameters for code in self.codes)

    @property
    def entropy(self) -> float:
        """Prior entropy of all codes together, in nats."""
        return sum(code.entropy for code in self.codes)

    def sample_noise(self, num_samples: int, device: torch.device | str = "cpu") -> Tensor:
        """Draw z alone, (num_samples, noise_dim)."""
        if self.noise_distribution == "normal":
            return torch.randn(num_samples, self.noise_dim, device=device)
        return torch.rand(num_samples, self.noise_dim, device=device) * 2 - 1

    def sample(
        self, num_samples: int, device: torch.device | str = "cpu"
    ) -> Float[Tensor, "num_samples dim"]:
        """Draw (z, c) from the prior with torch's global random stream."""
        codes = [code.sample(num_samples, device) for code in self.codes]
        return torch.cat([self.sample_noise(num_samples, device), *codes], dim=1)

    def columns(self, code_index: int) -> slice:
        """Return where in (z, c) a code's columns are."""
        start = self.noise_dim + sum(code.dim for code in self.codes[:code_index])
        return slice(start, start + self.codes[code_index].dim)

    def split_codes(self, latent: Float[Tensor, "batch dim"]) -> tuple[Tensor, ...]:
        """Return the codes' columns of (z, c), one (batch, code.dim) tensor a code."""
        return latent[:, self.noise_dim :].split([code.dim for code in self.codes], dim=1)

    def split_parameters(
        self, parameters: Float[Tensor, "batch num_parameters"]
    ) -> tuple[Tensor, ...]:
        """Return Q's output by code, one (batch, code.num_parameters) tensor a code."""
        return parameters.split([code.num_parameters for code in self.codes], dim=1)

    def traverse(
        self, base: Float[Tensor, "columns dim"], code_index: int, num_values: int
    ) -> Float[Tensor, "values columns dim"]:
        """Repeat each base latent down a column while one code walks through its values."""
        values = self.codes[code_index].traverse(num_values).to(base)
        grid = base.repeat(len(values), 1, 1)
        grid[:, :, self.columns(code_index)] = values.unsqueeze(1)
        return grid


def code_names(codes: Sequence[LatentCode]) -> list[str]:
    """Name codes for logs and files: their kind and position, such as `categorical0`."""
    return [f"{type(c).__name__.removesuffix('Code').lower()}{i}" for i, c in enumerate(codes)]
