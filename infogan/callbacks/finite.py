"""Stop on NaN or infinity before an optimizer writes it into the weights."""

import pytorch_lightning as pl
import torch
from torch import Tensor

from infogan.callbacks.stopping import StoppingCallback
from infogan.modules.gan import GANModule

MAX_NAMES = 5


class NonFiniteStopping(StoppingCallback):
    """Stop the run in the batch in which a loss or a gradient becomes NaN or infinite.

    All ranks stop together after the backward pass, before gradients are clipped and before the
    optimizer's step, so that the weights stay finite. Nothing is saved then, not even with
    `save_on_exception`: the newest checkpoint is the last good one.

    With a gradient scaler (`16-mixed` on GPUs) infinite gradients are normal: the scaler skips
    the step and lowers its scale. They stop the run once the scale has fallen below 1, where
    scaling can no longer be their cause. A loss that is not finite stops it at once there too.
    """

    def on_before_backward(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor
    ) -> None:
        """Keep the loss until its gradients are there too."""
        self.loss = loss.detach()

    def on_after_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Check the loss and the gradients of the networks that are being updated.

        Raises:
            RunStoppedError: If one of them, on any rank, is not finite.
        """
        assert isinstance(pl_module, GANModule)
        parameters = [
            parameter
            for optimizer in trainer.optimizers
            for group in optimizer.param_groups
            for parameter in group["params"]
        ]
        in_loss = in_gradients = ""
        # For speed alone, sums, which keep NaN and infinity, and a single synchronisation with the
        # device; names are looked up only if it finds something.
        sums = [p.grad.sum() for p in parameters if p.requires_grad and p.grad is not None]
        if not torch.stack([self.loss, *sums]).sum().isfinite():
            in_loss = "" if self.loss.isfinite() else describe_loss(pl_module, self.loss)
            in_gradients = (
                "" if is_scaling(trainer) else describe(gradients_of(pl_module), "the gradient of ")
            )
        # Ranks must agree: an infinite loss may leave finite gradients, which alone are shared.
        if not trainer.strategy.reduce_boolean_decision(bool(in_loss or in_gradients), all=False):
            return
        found = first_cause(trainer, in_loss, in_gradients)
        networks = (name.partition(".")[0] for name in gradients_of(pl_module))
        update = ", ".join(dict.fromkeys(networks))
        self.stop(trainer, "non_finite", f"{found}, in the update of {update}")


def gradients_of(module: GANModule) -> dict[str, Tensor]:
    """Return, by name, the gradients of the networks that are being updated."""
    return {
        name: parameter.grad
        for name, parameter in module.named_parameters()
        if parameter.requires_grad and parameter.grad is not None
    }


def is_scaling(trainer: pl.Trainer) -> bool:
    """Return whether a gradient scaler still deals with infinite gradients by itself."""
    scaler = getattr(trainer.precision_plugin, "scaler", None)
    return scaler is not None and scaler.get_scale() >= 1


def describe_loss(module: GANModule, loss: Tensor) -> str:
    """Name the recorded terms that are not finite, else the sum of all terms."""
    return describe(module.scalars) or describe({"the loss": loss})


def describe(tensors: dict[str, Tensor], prefix: str = "") -> str:
    """Name the tensors that hold NaN or infinity, as in 'NaN in a, b'; '' if there are none."""
    nan = [name for name, tensor in tensors.items() if tensor.isnan().any()]
    infinite = [name for name, tensor in tensors.items() if tensor.isinf().any()]
    return " and ".join(
        f"{kind} in {prefix}{enumerate_names(names)}"
        for kind, names in (("NaN", nan), ("infinity", infinite))
        if names
    )


def enumerate_names(names: list[str]) -> str:
    """Join the first names by commas and count the rest."""
    rest = len(names) - MAX_NAMES
    return ", ".join(names[:MAX_NAMES]) + (f" and {rest} more" if rest > 0 else "")


def first_cause(trainer: pl.Trainer, in_loss: str, in_gradients: str) -> str:
    """Join what all ranks found in their losses, else in the gradients, which they share."""
    ranks = range(trainer.world_size)
    everyone = [trainer.strategy.broadcast((in_loss, in_gradients), src=rank) for rank in ranks]
    losses = [f"{loss} on rank {rank}" for rank, (loss, _) in enumerate(everyone) if loss]
    if losses and len(ranks) > 1:
        return ", ".join(losses)
    return in_loss or next(gradients for _, gradients in everyone if gradients)
