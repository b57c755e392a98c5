"""Optimizers that a config names, tried before anything is trained."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

Factory = Callable[[Iterable[Any]], Optimizer]


def usable(name: str, factory: Factory) -> Factory:
    """Return an optimizer's factory after building one for a single number.

    Args:
        name: The argument, for errors.
        factory: Builds the optimizer of the given parameters.

    Raises:
        ValueError: If the optimizer refuses its values, or its learning rate is not positive.
    """
    try:
        groups = factory([nn.Parameter(torch.zeros(1))]).param_groups
    except (ValueError, TypeError, RuntimeError) as error:
        raise ValueError(f"{name}: {error}") from error
    for rate in (float(group["lr"]) for group in groups if "lr" in group):
        if not 0 < rate < math.inf:
            raise ValueError(
                f"{name} has lr={rate:g}, which must be a positive number, such as 0.0002"
            )
    return factory


def adam(rate: float) -> Factory:
    """Return the original's Adam factory at a learning rate."""
    return lambda parameters: torch.optim.Adam(parameters, rate, betas=(0.5, 0.999), fused=True)
