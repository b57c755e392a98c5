"""Dense layers for mixed precision."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class CastOnceLinear(nn.Linear):
    """A linear layer that casts its weight for autocast once a change, not once a use.

    For speed alone: the players see the same weights of one another twice a batch, and a large
    weight takes as long to cast as to multiply by. Outputs and gradients are `nn.Linear`'s.
    """

    cast: Tensor | None = None
    cast_from: tuple[int, int, torch.dtype] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Return x W^T + b, in autocast's type where that is on."""
        device = x.device.type
        # A weight that a parametrization computes is another at each use.
        if not torch.is_autocast_enabled(device) or not isinstance(self.weight, nn.Parameter):
            return super().forward(x)
        return F.linear(x, self.cast_weight(torch.get_autocast_dtype(device)), self.bias)

    def cast_weight(self, dtype: torch.dtype) -> Tensor:
        """Return the weight in another type, with its gradient."""
        source = (self.weight.data_ptr(), self.weight._version, dtype)
        if self.cast is None or self.cast_from != source:
            if torch.is_inference_mode_enabled():
                # What is made in a validation cannot be learned from after it.
                return self.weight.to(dtype)
            self.cast, self.cast_from = self.weight.detach().to(dtype), source
        if self.weight.requires_grad and torch.is_grad_enabled():
            return CastOfWeight.apply(self.weight, self)
        return self.cast


class CastOfWeight(torch.autograd.Function):
    """The cast that a layer keeps; a gradient, which changes the weight, ends it."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, layer: CastOnceLinear) -> Tensor:
        """Return the cast."""
        assert layer.cast is not None
        ctx.layer, ctx.dtype = layer, weight.dtype
        return layer.cast.view_as(layer.cast)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """Return the gradient in the weight's own type."""
        # Fused optimizers do not raise the weight's version.
        ctx.layer.cast = None
        return gradient.to(ctx.dtype), None
