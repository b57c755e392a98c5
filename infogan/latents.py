"""The generator's input: incompressible noise z and latent codes c (paper, section 2.2).

A code knows its prior p(c) and the family of the posterior Q(c|x) that reads it back. All
log-probabilities and entropies are in nats.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

LOG_2PI = math.log(2 * math.pi)


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


@dataclass(frozen=True)
class CategoricalCode(LatentCode):
    """A one-hot code with equally probable categories; Q emits one logit a category.

    Args:
        num_categories: Number of categories, at least 2. Match it to the number of classes that
            you expect in the data (10 for digits).
    """

    num_categories: int
    is_discrete = True

    def __post_init__(self) -> None:
        if self.num_categories < 2:
            raise ValueError(
                f"num_categories must be at least 2, got {self.num_categories}: "
                "a code with one category carries no information"
            )

    @property
    def dim(self) -> int:
        return self.num_categories

    @property
    def num_parameters(self) -> int:
        return self.num_categories

    @property
    def entropy(self) -> float:
        return math.log(self.num_categories)

    def sample(self, num_samples: int, device: torch.device | str = "cpu") -> Tensor:
        index = torch.randint(self.num_categories, (num_samples,), device=device)
        return F.one_hot(index, self.num_categories).float()

    def log_prob(self, value: Tensor) -> Tensor:
        return value.new_full((len(value),), -self.entropy)

    def posterior_log_prob(self, value: Tensor, parameters: Tensor) -> Tensor:
        return (value * parameters.log_softmax(dim=1)).sum(dim=1)

    def posterior_mode(self, parameters: Tensor) -> Tensor:
        return F.one_hot(parameters.argmax(dim=1), self.num_categories).float()

    def traverse(self, num_values: int) -> Tensor:
        return torch.eye(self.num_categories)

    def label(self, value: Tensor) -> str:
        return str(int(value.argmax()))


@dataclass(frozen=True)
class BernoulliCode(LatentCode):
    """A binary code, 0 or 1; Q emits one logit.

    Args:
        probability: Prior probability of a 1, strictly between 0 and 1.
    """

    probability: float = 0.5
    is_discrete = True

    def __post_init__(self) -> None:
        if not 0 < self.probability < 1:
            raise ValueError(
                f"probability must lie strictly between 0 and 1, got {self.probability}: "
                "a constant code carries no information"
            )

    @property
    def dim(self) -> int:
        return 1

    @property
    def num_parameters(self) -> int:
        return 1

    @property
    def entropy(self) -> float:
        p = self.probability
        return -p * math.log(p) - (1 - p) * math.log(1 - p)

    def sample(self, num_samples: int, device: torch.device | str = "cpu") -> Tensor:
        return (torch.rand(num_samples, 1, device=device) < self.probability).float()

    def log_prob(self, value: Tensor) -> Tensor:
        p = self.probability
        return (value * math.log(p) + (1 - value) * math.log(1 - p)).squeeze(1)

    def posterior_log_prob(self, value: Tensor, parameters: Tensor) -> Tensor:
        # c log s(l) + (1 - c) log(1 - s(l)) with s the logistic function
        return -F.binary_cross_entropy_with_logits(parameters, value, reduction="none").squeeze(1)

    def posterior_mode(self, parameters: Tensor) -> Tensor:
        return (parameters > 0).float()

    def traverse(self, num_values: int) -> Tensor:
        return torch.tensor([[0.0], [1.0]])

    def label(self, value: Tensor) -> str:
        return str(int(value.item()))


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
        if self.noise_dim < 0:
            raise ValueError(f"noise_dim must be 0 or more, got {self.noise_dim}")
        if self.noise_dim == 0 and not self.codes:
            raise ValueError(
                "noise_dim=0 and codes=[]: the generator has no input; give it noise or a code"
            )
        if self.noise_distribution not in ("uniform", "normal"):
            raise ValueError(
                f"noise_distribution must be 'uniform' or 'normal', got {self.noise_distribution!r}"
            )

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
        start = self.noise_dim + sum(code.dim for code in self.codes[:code_index])
        grid = base.repeat(len(values), 1, 1)
        grid[:, :, start : start + values.shape[1]] = values.unsqueeze(1)
        return grid


def code_names(codes: Sequence[LatentCode]) -> list[str]:
    """Name codes for logs and files: their kind and position, such as `categorical0`."""
    return [f"{type(c).__name__.removesuffix('Code').lower()}{i}" for i, c in enumerate(codes)]
