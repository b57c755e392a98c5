"""Stop on NaN or infinity before an optimizer writes it into the weights."""

from collections.abc import Iterable

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.nn.utils import get_total_norm

from infogan.callbacks.stopping import StoppingCallback
from infogan.modules.gan import GANModule


class NonFiniteStopping(StoppingCallback):
    """Stop the run in the batch in which a loss or a gradient becomes NaN or infinite.

    All ranks stop together after the backward pass, before the gradients are clipped and before
    the optimizer's step, so that the weights stay finite. Nothing is saved then, not even with
    `save_on_exception`: the newest checkpoint is the last good one.

    With a gradient scaler (`16-mixed` on GPUs) infinite gradients are normal: the scaler skips
    the step and halves its scale. They stop the run once the scale has fallen below 1, where
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
        gradients = {
            name: parameter.grad
            for name, parameter in pl_module.named_parameters()
            if parameter.requires_grad and parameter.grad is not None
        }
        in_loss = in_gradients = ""
        # One synchronisation with the device a backward pass; which of them, only if need be.
        if not (self.loss + get_total_norm(gradients.values())).isfinite():
            in_loss = describe_loss(pl_module, self.loss)
            if not is_skipped_by_scaler(trainer):
                in_gradients = describe(gradients, "the gradient of ")
        # Not on one rank alone: a loss of another rank may be infinite with finite gradients.
        if not trainer.strategy.reduce_boolean_decision(bool(in_loss or in_gradients), all=False):
            return
        update = ", ".join(dict.fromkeys(name.partition(".")[0] for name in gradients))
        found = first_cause(trainer, in_loss, in_gradients)
        self.stop(trainer, "non_finite", f"{found} in the update of {update}")


def is_skipped_by_scaler(trainer: pl.Trainer) -> bool:
    """Return whether a gradient scaler still deals with infinite gradients by skipping the step."""
    scaler = getattr(trainer.precision_plugin, "scaler", None)
    return scaler is not None and scaler.get_scale() >= 1


def describe_loss(pl_module: GANModule, loss: Tensor) -> str:
    """Name the recorded terms of a loss that are not finite; '' if the loss is finite."""
    if loss.isfinite():
        return ""
    return describe(pl_module.scalars) or describe({"the loss": loss})


def describe(tensors: dict[str, Tensor], prefix: str = "", num_named: int = 5) -> str:
    """Name the tensors that hold NaN or infinity, as in 'NaN in a, b'; '' if there are none."""
    nan = [name for name, tensor in tensors.items() if tensor.isnan().any()]
    infinite = [name for name, tensor in tensors.items() if tensor.isinf().any()]
    return " and ".join(
        f"{kind} in {prefix}{enumerate_names(names, num_named)}"
        for kind, names in (("NaN", nan), ("infinity", infinite))
        if names
    )


def enumerate_names(names: Iterable[str], num_named: int) -> str:
    """Join the first names by commas and count the rest."""
    names = list(names)
    rest = len(names) - num_named
    return ", ".join(names[:num_named]) + (f" and {rest} more" if rest > 0 else "")


def first_cause(trainer: pl.Trainer, in_loss: str, in_gradients: str) -> str:
    """Join what the ranks found: the losses, else the gradients, which DDP has averaged."""
    strategy, ranks = trainer.strategy, range(trainer.world_size)
    everyone = [strategy.broadcast((in_loss, in_gradients), src=rank) for rank in ranks]
    for findings in zip(*everyone, strict=True):
        named = [f"{text} on rank {rank}" for rank, text in enumerate(findings) if text]
        if named:
            return findings[0] if len(ranks) == 1 else ", ".join(named)
    raise AssertionError("no rank found anything")


__all__ = ["NonFiniteStopping", "torch"]
