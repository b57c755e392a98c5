"""What every latent code knows: its prior p(c), and how Q(c|x) reads it back.

All log-probabilities and entropies are in nats.
"""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class LatentCode(ABC):
    """One latent code c: its prior p(c), and the family of its posterior Q(c|x).

    Subclass it to add a code of your own: the generator receives `dim` values a code, and the
    recognition head Q emits `num_parameters` values a code, which `posterior_log_prob` reads.
    """

    is_discrete: bool

    def __init_subclass__(cls, **kwargs: object) -> None:
        # Checkpoints made from Python hold the codes themselves and load with weights_only=True.
        super().__init_subclass__(**kwargs)
        torch.serialization.add_safe_globals([cls])

    @property
    @abstractmethod
    def dim(self) -> int:
        """Width of the code in the generator's input."""

    @property
    @abstractmethod
    def num_parameters(self) -> int:
        """Number of posterior parameters that Q emits for this code."""

    @property
    @abstractmethod
    def entropy(self) -> float:
        """Entropy H(c) of the prior in nats (differential for continuous codes); equation 4."""

    @abstractmethod
    def sample(
        self, num_samples: int, device: torch.device | str = "cpu"
    ) -> Float[Tensor, "num_samples dim"]:
        """Draw from the prior p(c) with torch's global random stream."""

    @abstractmethod
    def log_prob(self, value: Float[Tensor, "batch dim"]) -> Float[Tensor, " batch"]:
        """Return log p(c) of each value, in nats."""

    @abstractmethod
    def posterior_log_prob(
        self, value: Float[Tensor, "batch dim"], parameters: Float[Tensor, "batch num_parameters"]
    ) -> Float[Tensor, " batch"]:
        """Return log Q(c|x) of each value under the parameters that Q read from x, in nats."""

    @abstractmethod
    def posterior_mode(
        self, parameters: Float[Tensor, "batch num_parameters"]
    ) -> Float[Tensor, "batch dim"]:
        """Return the most probable code value under Q(c|x), in the generator's input format."""

    @abstractmethod
    def traverse(self, num_values: int) -> Float[Tensor, "values dim"]:
        """Lay out values for a traversal: every value of a discrete code, else a range."""

    @abstractmethod
    def label(self, value: Float[Tensor, " dim"]) -> str:
        """Name one value for a picture's margin."""

    def reference_log_prob(self, value: Float[Tensor, "batch dim"]) -> Float[Tensor, " batch"]:
        """Return the prior log-probability that the original implementation scores with."""
        return self.log_prob(value)


class CodeReading(NamedTuple):
    """What Q reads from a batch of images, by code.

    Args:
        modes: The most probable value, (batch, code.dim) each.
        probabilities: Q(c|x) of each value of a discrete code, in the order of its traversal,
            (batch, values); None for a continuous code.
    """

    modes: tuple[Tensor, ...]
    probabilities: tuple[Tensor | None, ...]


def posterior_probabilities(code: LatentCode, parameters: Tensor) -> Tensor:
    """Return Q(c|x) of each value of a discrete code, (batch, values)."""
    values = code.traverse(2).to(parameters)
    log_probabilities = [
        code.posterior_log_prob(value.expand(len(parameters), -1), parameters) for value in values
    ]
    return torch.stack(log_probabilities, dim=1).exp()
