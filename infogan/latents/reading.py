"""What Q reads from images, code by code."""

from typing import NamedTuple

import torch
from torch import Tensor

from infogan.latents.code import LatentCode


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
