"""Dense layers for mixed precision."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class CastOnceLinear(nn.Linear):
    """A linear layer that casts its weight for autocast once a change, not once a use.

    For speed alone: the players see the same weights of one another twice a batch, and a large
    weight takes as long to cast as to multiply by. Outputs and gradients are `nn.Linear`'s, which
    it is in compiled and exported graphs.
    """

    cast: Tensor | None = None
    cast_from: tuple[int, int, torch.dtype] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Return x W^T + b of rows (batch, in), in autocast's type where that is on."""
        device = x.device.type
        # A weight that a parametrization computes is another at each use.
        changes = not isinstance(self.weight, nn.Parameter)
        if changes or torch.compiler.is_compiling() or not torch.is_autocast_enabled(device):
            return super().forward(x)
        dtype = torch.get_autocast_dtype(device)
        bias = None if self.bias is None else self.bias.to(dtype)
        return CastOnceProduct.apply(x.to(dtype), self.weight, bias, self)

    def cast_weight(self, dtype: torch.dtype) -> Tensor:
        """Return the weight in another type, without its gradient."""
        source = (self.weight.data_ptr(), self.weight._version, dtype)
        if self.cast is None or self.cast_from != source:
            if torch.is_inference_mode_enabled():
                # What is made in a validation cannot be learned from after it.
                return self.weight.to(dtype)
            self.cast, self.cast_from = self.weight.detach().to(dtype), source
        return self.cast


class CastOnceProduct(torch.autograd.Function):
    """x W^T + b with the cast that a layer keeps of W; a gradient, which changes W, ends it."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, layer: CastOnceLinear
    ) -> Tensor:
        """Return rows (batch, out) in the type of x."""
        cast = layer.cast_weight(x.dtype)
        ctx.save_for_backward(x, weight, cast)
        ctx.layer = layer
        return F.linear(x, cast, bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients, that of the weight in the weight's own type."""
        x, weight, cast = ctx.saved_tensors
        to_x, to_weight, to_bias, _ = ctx.needs_input_grad
        if torch.is_grad_enabled():
            cast = weight.to(x.dtype)
        of_weight = None
        if to_weight:
            # Fused optimizers do not raise the weight's version.
            ctx.layer.cast = None
            # A copy of the smaller factor, in the order that the product reads it fastest in.
            of_weight = (gradient.t().contiguous() @ x).to(weight.dtype)
        of_x = gradient @ cast if to_x else None
        return of_x, of_weight, gradient.sum(0) if to_bias else None, None
