"""Manual optimization in Lightning, apart from any objective: updates, counting, seeds, logs."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.core.optimizer import LightningOptimizer, do_nothing_closure
from torch import Tensor


class ManualModule(pl.LightningModule):
    """A LightningModule with several optimizers, for which a step is a batch.

    What `training_step` draws at random is a function of (seed, rank, `global_step`) alone.

    Args:
        gradient_clip_norm: Largest norm of the gradient of one update; None for no clipping.
    """

    def __init__(self, gradient_clip_norm: float | None = None) -> None:
        super().__init__()
        self.automatic_optimization = False
        if gradient_clip_norm is not None and not gradient_clip_norm > 0:
            raise ValueError(
                f"gradient_clip_norm must be positive, got {gradient_clip_norm}; "
                "use null for no clipping"
            )
        self.gradient_clip_norm = gradient_clip_norm
        self.scalars: dict[str, Tensor] = {}

    def on_fit_start(self) -> None:
        """Fix the run's seed."""
        self.seed = int(os.environ.get("PL_GLOBAL_SEED", torch.initial_seed() % 2**32))

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Seed the step from (seed, rank, step): ranks differ, a resumed run draws the same."""
        # SeedSequence mixes all bits; torch's CPU generator would use the low 32 of a plain sum.
        seed = np.random.SeedSequence([self.seed, self.global_rank, self.global_step])
        torch.manual_seed(int(seed.generate_state(1)[0]))

    @contextmanager
    def update(self, optimizer: LightningOptimizer) -> Iterator[Callable[[Tensor], None]]:
        """Freeze all that `optimizer` does not own; yield the function that takes one step."""

        def minimize(loss: Tensor) -> None:
            optimizer.zero_grad()
            self.manual_backward(loss)
            if self.gradient_clip_norm is not None:
                self.clip_gradients(optimizer.optimizer, self.gradient_clip_norm, "norm")
            optimizer.step()

        self.toggle_optimizer(optimizer)
        try:
            yield minimize
        finally:
            self.untoggle_optimizer(optimizer)

    def counted_once(self) -> list[LightningOptimizer]:
        """Return the optimizers, whose steps Lightning shall not each count as `global_step`."""
        optimizers = self.optimizers()
        assert isinstance(optimizers, list)
        for optimizer in optimizers:
            optimizer._on_before_step = do_nothing_closure
            optimizer._on_after_step = do_nothing_closure
        return optimizers

    def count_batch(self) -> None:
        """Advance `trainer.global_step` by one batch."""
        progress = self.trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
        progress.increment_ready()
        progress.increment_completed()

    def record(self, **scalars: Tensor) -> None:
        """Keep this step's scalars until they are logged."""
        self.scalars.update({name: value.detach() for name, value in scalars.items()})

    def log_scalars(self, num_images: int) -> None:
        """Log the step's scalars every `log_every_n_steps` batches; `global_step` has counted."""
        self.images_seen += num_images * self.trainer.world_size
        every = self.trainer.log_every_n_steps  # type: ignore[attr-defined]  # set by a connector
        if every == 0 or self.global_step % every:
            return
        rate = self.images_seen / (time.perf_counter() - self.clock)
        self.start_clock()
        values = {f"train/{name}": value for name, value in self.scalars.items()}
        self.log_dict({**values, "train/images_per_second": rate, "step": float(self.global_step)})

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
