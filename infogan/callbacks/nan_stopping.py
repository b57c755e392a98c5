"""Stop on NaN or infinity before an optimizer writes it into the weights."""

from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor

from infogan.callbacks.stopping import StoppingCallback
from infogan.modules.gan import GANModule
from infogan.modules.non_finite import NonFiniteRecord, name_bad
from infogan.runtime.precision import gradient_scaler


class NonFiniteStopping(StoppingCallback):
    """Stop the run when a loss or a gradient becomes NaN or infinite; the weights stay finite.

    On CPUs all ranks stop in that batch, after the backward pass and before the optimizer's step.
    On GPUs the device itself skips the bad update, and the run stops at the next step that is
    logged, validated or saved: the host would otherwise wait for the card in every batch. Nothing
    is saved then, not even with `save_on_exception`: the newest checkpoint is the last good one.

    With a gradient scaler (`16-mixed` on GPUs) infinite gradients are normal: the scaler skips
    the step and lowers its scale. They stop the run once the scale has fallen below 1, where
    scaling can no longer be their cause. A loss that is not finite stops it at once there too.
    """

    # On a card, its hooks around the backward pass do nothing.
    leaves_updates_to_the_card = True

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Choose who looks after the updates: the card, or the host."""
        super().on_fit_start(trainer, pl_module)
        assert isinstance(pl_module, GANModule)
        on_card = pl_module.device.type == "cuda" and gradient_scaler(trainer) is None
        names: dict[Tensor, str] = {p: name for name, p in pl_module.named_parameters()}
        is_alone = trainer.world_size == 1
        pl_module.non_finite = (
            NonFiniteRecord(pl_module.device, names, is_alone) if on_card else None
        )

    # ---- on the card ---------------------------------------------------------------------------

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        """Read the record of the card in the steps that are logged.

        Raises:
            RunStoppedError: If an update since the last look, on any rank, was not finite.
        """
        every = trainer.log_every_n_steps  # type: ignore[attr-defined]  # set by a connector
        if every and trainer.global_step % every == 0:
            self.read_record(trainer, pl_module)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Read the record before the networks are scored.

        Raises:
            RunStoppedError: As after a batch.
        """
        self.read_record(trainer, pl_module)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Read the record before the state is saved.

        Raises:
            RunStoppedError: As after a batch.
        """
        if self.outcome is None:
            self.read_record(trainer, pl_module)

    def read_record(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop on all ranks if the record of any holds something."""
        assert isinstance(pl_module, GANModule)
        record = pl_module.non_finite
        if record is None or trainer.state.fn != TrainerFn.FITTING:
            return
        if not trainer.strategy.reduce_boolean_decision(bool(record.found), all=False):
            return
        found, networks = record.describe()
        ranks = range(trainer.world_size)
        everyone = [trainer.strategy.broadcast((found, networks), src=rank) for rank in ranks]
        found, networks = next(filter(all, everyone))
        every = trainer.log_every_n_steps  # type: ignore[attr-defined]  # set by a connector
        reason = f"{found}, in the update of {networks}, in one of the last {every} batches"
        self.stop(trainer, "non_finite", reason)

    # ---- on the host ---------------------------------------------------------------------------

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
        if pl_module.non_finite is not None:
            return
        in_loss = in_gradients = ""
        gradients = gradients_of(pl_module)
        # For speed alone, sums, which keep NaN and infinity; names only if they find something.
        sums = [gradient.sum() for gradient in gradients.values()]
        if not torch.stack([self.loss, *sums]).sum().isfinite():
            in_loss = "" if self.loss.isfinite() else describe_loss(pl_module, self.loss)
            in_gradients = "" if is_scaling(trainer) else describe(gradients, "the gradient of ")
        # Ranks must agree: an infinite loss may leave finite gradients, which alone are shared.
        if not trainer.strategy.reduce_boolean_decision(bool(in_loss or in_gradients), all=False):
            return
        found = first_cause(trainer, in_loss, in_gradients)
        networks = (name.partition(".")[0] for name in gradients)
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
    scaler = gradient_scaler(trainer)
    return scaler is not None and scaler.get_scale() >= 1


def describe_loss(module: GANModule, loss: Tensor) -> str:
    """Name the recorded terms that are not finite, else the sum of all terms."""
    return describe(module.scalars) or describe({"the loss": loss})


def describe(tensors: dict[str, Tensor], prefix: str = "") -> str:
    """Name the tensors that hold NaN or infinity, as in 'NaN in a, b'; '' if there are none."""
    return name_bad({prefix + name: float(tensor.sum()) for name, tensor in tensors.items()})


def first_cause(trainer: pl.Trainer, in_loss: str, in_gradients: str) -> str:
    """Join what all ranks found in their losses, else in the gradients, which they share."""
    ranks = range(trainer.world_size)
    everyone = [trainer.strategy.broadcast((in_loss, in_gradients), src=rank) for rank in ranks]
    losses = [f"{loss} on rank {rank}" for rank, (loss, _) in enumerate(everyone) if loss]
    if losses and len(ranks) > 1:
        return ", ".join(losses)
    return in_loss or next(gradients for _, gradients in everyone if gradients)
