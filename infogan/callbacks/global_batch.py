"""What more processes mean for the batch and for the learning rates."""

from typing import Literal

import pytorch_lightning as pl

from infogan.data import data_of
from infogan.errors import ConfigurationError, check_at_least, check_choice

Rule = Literal["constant", "linear", "sqrt"]
EXPONENTS: dict[str, float] = {"constant": 0.0, "linear": 1.0, "sqrt": 0.5}


class GlobalBatch(pl.Callback):
    """Fix the batch of all processes together, and scale the learning rates with it.

    Args:
        size: Training images a batch of all processes together, divided equally among them; null
            leaves each process the data's `batch_size`.
        learning_rate_rule: `constant` keeps the learning rates; `linear` (Goyal et al. 2017) and
            `sqrt` (Krizhevsky 2014) multiply them by the global batch / `reference_size`, or by
            its square root.
        reference_size: Images a batch for which the config's learning rates were chosen.
    """

    def __init__(
        self,
        size: int | None = None,
        learning_rate_rule: Rule = "constant",
        reference_size: int = 128,
    ) -> None:
        check_at_least(reference_size=(reference_size, 1))
        if size is not None:
            check_at_least(size=(size, 1))
        check_choice(learning_rate_rule=(learning_rate_rule, EXPONENTS))
        self.size = size
        self.learning_rate_rule = learning_rate_rule
        self.reference_size = reference_size

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Give each process its share of the batch, before the data's loader is built.

        Raises:
            ConfigurationError: If the batch cannot be divided equally, or the data has none.
        """
        if stage != "fit" or (self.size is None and self.learning_rate_rule == "constant"):
            return
        data = data_of(trainer).datamodule
        if not hasattr(data, "batch_size"):
            raise ConfigurationError(
                f"global_batch.size={self.size} and learning_rate_rule={self.learning_rate_rule} "
                "need a datamodule with a batch_size; leave them at null and constant"
            )
        if self.size is None:
            return
        if self.size % trainer.world_size:
            raise ConfigurationError(
                f"global_batch.size={self.size} does not divide among {trainer.world_size} "
                "processes; choose a multiple of their number"
            )
        data.batch_size = self.size // trainer.world_size

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Scale the learning rates; a checkpoint that is resumed brings its own."""
        exponent = EXPONENTS[self.learning_rate_rule]
        if exponent == 0:
            return
        data = data_of(trainer).datamodule
        factor = (data.batch_size * trainer.world_size / self.reference_size) ** exponent
        for optimizer in trainer.optimizers:
            for group in optimizer.param_groups:
                group["lr"] *= factor
