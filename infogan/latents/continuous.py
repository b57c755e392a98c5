"""Uniform and normal codes, which Q reads as a Gaussian."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from infogan.latents.code import LatentCode

LOG_2PI = math.log(2 * math.pi)


@dataclass(frozen=True)
class ContinuousCode(LatentCode):
    """A scalar code whose posterior Q(c|x) is a Gaussian.

    A free posterior std makes the objective unbounded on codes that are read exactly, so it is
    fixed, or learned within a clamp.

    Args:
        posterior_std: Std of Q(c|x) when fixed. The original implementation uses 1.
        learn_std: Let Q emit the std as well, clamped to [min_std, max_std].
        min_std: Smallest learned std.
        max_std: Largest learned std.
    """

    posterior_std: float = 1.0
    learn_std: bool = False
    min_std: float = 0.05
    max_std: float = 2.0
    is_discrete = False

    def __post_init__(self) -> None:
        if not self.posterior_std > 0:
            raise ValueError(f"posterior_std must be positive, got {self.posterior_std}")
        if not 0 < self.min_std < self.max_std:
            raise ValueError(
                f"min_std and max_std must satisfy 0 < min_std < max_std, "
                f"got {self.min_std} and {self.max_std}"
            )

    @property
    def dim(self) -> int:
        return 1

    @property
    def num_parameters(self) -> int:
        return 2 if self.learn_std else 1

    def posterior(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and std of Q(c|x), each (batch, 1)."""
        mean = parameters[:, :1]
        if not self.learn_std:
            return mean, torch.full_like(mean, self.posterior_std)
        log_std = parameters[:, 1:].clamp(math.log(self.min_std), math.log(self.max_std))
        return mean, log_std.exp()

    def posterior_log_prob(self, value: Tensor, parameters: Tensor) -> Tensor:
        mean, std = self.posterior(parameters)
        return (-0.5 * ((value - mean) / std) ** 2 - std.log() - 0.5 * LOG_2PI).squeeze(1)

    def posterior_mode(self, parameters: Tensor) -> Tensor:
        return parameters[:, :1]

    def label(self, value: Tensor) -> str:
        return f"{value.item():+.2f}"


@dataclass(frozen=True)
class UniformCode(ContinuousCode):
    """A scalar code, uniform on [low, high]; Q reads it as a Gaussian.

    Two scalar codes and one two-dimensional code are the same thing here: Q factorises.

    Args:
        low: Lower end of the range.
        high: Upper end of the range.
        posterior_std: Std of Q(c|x) when fixed. The original implementation uses 1.
        learn_std: Let Q emit the std as well, clamped to [min_std, max_std].
        min_std: Smallest learned std.
        max_std: Largest learned std.
    """

    low: float = -1.0
    high: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.low < self.high:
            raise ValueError(f"low must be below high, got low={self.low} and high={self.high}")

    @property
    def entropy(self) -> float:
        return math.log(self.high - self.low)

    def sample(self, num_samples: int, device: torch.device | str = "cpu") -> Tensor:
        return torch.rand(num_samples, 1, device=device) * (self.high - self.low) + self.low

    def log_prob(self, value: Tensor) -> Tensor:
        inside = (value >= self.low) & (value <= self.high)
        return torch.where(inside, -self.entropy, -math.inf).squeeze(1)

    def reference_log_prob(self, value: Tensor) -> Tensor:
        # The original scores uniform codes under N(0, 1).
        return (-0.5 * value**2 - 0.5 * LOG_2PI).squeeze(1)

    def traverse(self, num_values: int) -> Tensor:
        return torch.linspace(self.low, self.high, num_values).unsqueeze(1)


@dataclass(frozen=True)
class NormalCode(ContinuousCode):
    """A scalar code with a Gaussian prior; Q reads it as a Gaussian.

    Args:
        mean: Mean of the prior.
        std: Std of the prior; traversals span two of them on either side.
        posterior_std: Std of Q(c|x) when fixed.
        learn_std: Let Q emit the std as well, clamped to [min_std, max_std].
        min_std: Smallest learned std.
        max_std: Largest learned std.
    """

    mean: float = 0.0
    std: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.std > 0:
            raise ValueError(f"std must be positive, got {self.std}")

    @property
    def entropy(self) -> float:
        return 0.5 * (LOG_2PI + 1) + math.log(self.std)

    def sample(self, num_samples: int, device: torch.device | str = "cpu") -> Tensor:
        return torch.randn(num_samples, 1, device=device) * self.std + self.mean

    def log_prob(self, value: Tensor) -> Tensor:
        standardised = (value - self.mean) / self.std
        return (-0.5 * standardised**2 - math.log(self.std) - 0.5 * LOG_2PI).squeeze(1)

    def traverse(self, num_values: int) -> Tensor:
        span = 2 * self.std
        return torch.linspace(self.mean - span, self.mean + span, num_values).unsqueeze(1)
