"""NaN and infinity kept out of the weights on the device, without the host asking each batch."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.optim import Optimizer

MAX_NAMES = 5


class NonFiniteRecord:
    """Skip an update whose loss or gradient is not finite, and remember the first one.

    All stays on the device, so that the host need not wait for it; it reads the record when it
    logs. Ranks agree without talking: a gradient that is not finite is so on all of them, once it
    has been averaged; a loss that is not finite on one rank alone stops the run, but skips nothing.

    Args:
        device: The module's device.
        names: Name of every parameter that an optimizer updates.
        is_alone: Whether this process is the only one.
    """

    def __init__(self, device: torch.device, names: dict[Tensor, str], is_alone: bool) -> None:
        self.names = names
        self.is_alone = is_alone
        self.found = torch.zeros((), dtype=torch.bool, device=device)
        # By optimizer: the loss and the sum of each gradient, in the first update that was bad.
        self.first: dict[Optimizer, Tensor] = {}

    def guard(self, optimizer: Optimizer, loss: Tensor) -> None:
        """Let the optimizer's next step do nothing if the loss or a gradient is not finite.

        Args:
            optimizer: The optimizer, after the backward pass.
            loss: What it minimises, ().
        """
        gradients = [p.grad for p in parameters_of(optimizer) if p.grad is not None]
        # Sums keep NaN and infinity.
        sums = torch.stack([loss.detach().float(), *(g.sum().float() for g in gradients)])
        relevant = sums if self.is_alone else sums[1:]
        is_bad = ~relevant.isfinite().all()
        if optimizer not in self.first:
            self.first[optimizer] = torch.zeros_like(sums)
        first = self.first[optimizer]
        first.copy_(torch.where(self.found, first, sums))
        self.found.logical_or_(~sums.isfinite().all())
        if all(group.get("fused") for group in optimizer.param_groups):
            # torch's fused optimizers leave weights and moments as they are where this is 1.
            optimizer.found_inf = is_bad.float()  # type: ignore[attr-defined]
        else:
            for gradient in gradients:
                gradient.masked_fill_(is_bad, 0.0)

    def describe(self) -> tuple[str, str]:
        """Return what was not finite and the networks that were being updated; the host waits."""
        for optimizer, first in self.first.items():
            loss, *sums = first.tolist()
            parameters = [p for p in parameters_of(optimizer) if p.grad is not None]
            named = {"the loss": loss}
            for parameter, value in zip(parameters, sums, strict=True):
                named[f"the gradient of {self.names[parameter]}"] = value
            found = name_bad(named)
            if found:
                networks = (self.names[parameter].partition(".")[0] for parameter in parameters)
                return found, ", ".join(dict.fromkeys(networks))
        return "", ""


def parameters_of(optimizer: Optimizer) -> list[Tensor]:
    """Return what an optimizer updates."""
    return [p for group in optimizer.param_groups for p in group["params"]]


def name_bad(values: Mapping[str, float]) -> str:
    """Name the values that are NaN or infinite, as in 'NaN in a, b'; '' if there are none."""
    nan = [name for name, value in values.items() if math.isnan(value)]
    infinite = [name for name, value in values.items() if math.isinf(value)]
    return " and ".join(
        f"{kind} in {first_names(names)}"
        for kind, names in (("NaN", nan), ("infinity", infinite))
        if names
    )


def first_names(names: list[str]) -> str:
    """Join the first names by commas and count the rest."""
    rest = len(names) - MAX_NAMES
    return ", ".join(names[:MAX_NAMES]) + (f" and {rest} more" if rest > 0 else "")
