"""Manual optimization in Lightning, apart from any objective: updates, counting, seeds, logs."""

import math
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.trainer.states import TrainerFn
from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor, distributed, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer

from infogan.errors import ConfigurationError, check_at_least
from infogan.modules.batches import check_architecture
from infogan.modules.non_finite import NonFiniteRecord
from infogan.runtime.precision import gradient_scaler
from infogan.runtime.strategies import check_strategy

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class ManualModule(pl.LightningModule):
    """A LightningModule with several optimizers, for which a step is a batch.

    What a batch or a validation draws at random, from torch, NumPy or Python, is a function of
    (seed, rank, `global_step`) alone.

    Args:
        gradient_clip_norm: Largest norm of the gradient of one update; None for no clipping.
        learning_rate_decay_steps: Batches, the last of the training, over which every learning
            rate falls linearly to 0; 0 for none. A training of less than twice as many has none,
            so that a short trial of a long recipe learns at its rates.
    """

    def __init__(
        self, gradient_clip_norm: float | None = None, learning_rate_decay_steps: int = 0
    ) -> None:
        super().__init__()
        if "lightning.pytorch" in sys.modules:
            rank_zero_warn(
                f"{type(self).__name__} needs the Trainer of pytorch_lightning; that of the "
                "package `lightning`, imported here, does not take it for a LightningModule."
            )
        self.automatic_optimization = False
        if gradient_clip_norm is not None and not gradient_clip_norm > 0:
            raise ValueError(
                f"gradient_clip_norm must be positive, got {gradient_clip_norm}; "
                "use null for no clipping"
            )
        check_at_least(learning_rate_decay_steps=(learning_rate_decay_steps, 0))
        self.gradient_clip_norm = gradient_clip_norm
        self.learning_rate_decay_steps = learning_rate_decay_steps
        self.scalars: dict[str, Tensor] = {}
        # What was not finite, kept on the device; None where the host looks after every update.
        self.non_finite: NonFiniteRecord | None = None

    def on_fit_start(self) -> None:
        """Fix the run's seed; refuse strategies that alternating updates do not work with."""
        check_strategy(self.trainer.strategy)
        self.seed = int(os.environ.get("PL_GLOBAL_SEED", torch.initial_seed() % 2**32))

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse the weights of other networks in one line."""
        check_architecture(self.state_dict(), checkpoint["state_dict"])

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Seed the batch from (seed, rank, step): ranks differ, a resumed run draws the same."""
        self.seed_rng()
        if self.learning_rate_decay_steps > 0:
            self.decay_learning_rates()

    def on_validation_start(self) -> None:
        """Seed a training's validation, which may follow a batch or a resume."""
        if self.trainer.state.fn == TrainerFn.FITTING:
            self.seed_rng(1)

    def seed_rng(self, *purpose: int) -> None:
        """Seed torch, NumPy and Python by (seed, rank, step) and, apart from training, a purpose.

        Args:
            purpose: A positive number for draws outside of a training batch.
        """
        # SeedSequence mixes all bits; torch's CPU generator would use the low 32 of a plain sum.
        seeds = np.random.SeedSequence([self.seed, self.global_rank, self.global_step, *purpose])
        for_torch, for_numpy, for_python = map(int, seeds.generate_state(3))
        if self.device.type in ("cpu", "cuda"):
            # For speed alone: torch.manual_seed writes down a stack trace for each accelerator.
            torch.default_generator.manual_seed(for_torch)
            if self.device.type == "cuda":
                index = self.device.index or 0
                torch.cuda.default_generators[index].manual_seed(for_torch)
        else:
            torch.manual_seed(for_torch)
        np.random.seed(for_numpy)
        random.seed(for_python)

    def decay_learning_rates(self) -> None:
        """Set the learning rates for this batch: a function of `global_step`, so resumes agree.

        Raises:
            ConfigurationError: If the training has no last batch.
        """
        num_batches = self.trainer.estimated_stepping_batches
        if math.isinf(num_batches):
            raise ConfigurationError(
                f"learning_rate_decay_steps={self.learning_rate_decay_steps} counts from the end "
                "of the training, which has none: give trainer.max_epochs or trainer.max_steps"
            )
        if num_batches < 2 * self.learning_rate_decay_steps:
            return
        remaining = (num_batches - self.global_step) / self.learning_rate_decay_steps
        for optimizer in self.trainer.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group.setdefault("initial_lr", group["lr"]) * min(1.0, remaining)

    @contextmanager
    def update(self, optimizer: Optimizer) -> Iterator[Callable[[Tensor], None]]:
        """Freeze all that `optimizer` does not own; yield the function that takes one step."""

        def minimize(loss: Tensor) -> None:
            optimizer.zero_grad()
            self.manual_backward(loss)
            if self.non_finite is not None:
                self.non_finite.guard(optimizer, loss)
            if self.gradient_clip_norm is not None:
                self.clip_gradient_norm(optimizer, self.gradient_clip_norm)
            # The strategy's own step: Lightning's wrapper would count it as a `global_step`.
            self.trainer.strategy.optimizer_step(optimizer, lambda: None)

        self.toggle_optimizer(optimizer)
        try:
            yield minimize
        finally:
            self.untoggle_optimizer(optimizer)

    def clip_gradient_norm(self, optimizer: Optimizer, max_norm: float) -> None:
        """Scale an optimizer's gradients down to a norm; under a gradient scaler, the true ones.

        Args:
            optimizer: The owner of the parameters.
            max_norm: Largest norm of all its gradients together.
        """
        scaler = gradient_scaler(self.trainer)
        scale = 1.0 if scaler is None else scaler.get_scale()
        parameters = (p for group in optimizer.param_groups for p in group["params"])
        clip_grad_norm_(parameters, max_norm * scale)

    def advance_global_step(self) -> None:
        """Advance `trainer.global_step` by one batch, after which all ranks hold the same state."""
        self.average_batch_statistics()
        progress = self.trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
        progress.increment_ready()
        progress.increment_completed()

    def average_batch_statistics(self) -> None:
        """Average the running statistics of batch normalisation over all ranks.

        Each rank normalises by its own batch, unless the layers are synchronised. Left alone, the
        running statistics would drift apart, and a checkpoint hold those of rank 0.
        """
        if self.trainer.world_size == 1:
            return
        layers = [layer for layer in self.modules() if isinstance(layer, BATCH_NORMS)]
        buffers = [
            buffer
            for layer in layers
            for buffer in (layer.running_mean, layer.running_var)
            if buffer is not None
        ]
        if buffers:
            means = mean_over_ranks(torch.cat(buffers))
            for buffer, mean in zip(buffers, means.split([len(b) for b in buffers]), strict=True):
                buffer.copy_(mean)

    def record(self, **scalars: Tensor) -> None:
        """Keep this step's scalars until they are logged."""
        self.scalars.update({name: value.detach() for name, value in scalars.items()})

    def log_scalars(self, num_images: int) -> None:
        """Log the step's scalars every `log_every_n_steps` batches; `global_step` has counted.

        The loggers get them now and not, as Lightning would, after the callbacks of the batch: a
        checkpoint that one of them saves must not be ahead of the log.
        """
        self.images_seen += num_images * self.trainer.world_size
        every = self.trainer.log_every_n_steps  # type: ignore[attr-defined]  # set by a connector
        if every == 0 or self.global_step % every:
            return
        rate = self.images_seen / (time.perf_counter() - self.clock)
        self.start_clock()
        means = mean_over_ranks(torch.stack([v.reshape(()) for v in self.scalars.values()]))
        values = {f"train/{n}": v for n, v in zip(self.scalars, means.tolist(), strict=True)}
        values["train/images_per_second"] = rate
        # For speed alone, not by `log_dict`, which takes milliseconds to reduce what is reduced.
        self.trainer.callback_metrics.update({n: torch.tensor(v) for n, v in values.items()})
        for logger in self.trainer.loggers:
            logger.log_metrics(values, step=self.global_step)
            logger.save()

    def start_clock(self) -> None:
        """Start to measure `train/images_per_second`."""
        self.clock, self.images_seen = time.perf_counter(), 0

    def on_train_start(self) -> None:
        """Start the clock; a run that goes on within an epoch does not start the epoch again."""
        self.start_clock()

    def on_train_epoch_start(self) -> None:
        """Restart the clock, which leaves out the validation."""
        self.start_clock()

    def on_validation_epoch_end(self) -> None:
        """Put the scores at the number of batches seen, like the training curves."""
        self.log("step", float(self.global_step))


def mean_over_ranks(values: Tensor) -> Tensor:
    """Return the mean of a tensor over all ranks."""
    if distributed.is_available() and distributed.is_initialized():
        values = values.clone()
        distributed.all_reduce(values)
        values /= distributed.get_world_size()
    return values
