"""Categorical and Bernoulli codes."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from infogan.latents.code import LatentCode


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
