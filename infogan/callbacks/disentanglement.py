"""Score the codes that Q reads from real images against all their true factors."""

from typing import Any

import pytorch_lightning as pl

from infogan.callbacks.information import described_factors, save_information
from infogan.data import Evaluated
from infogan.errors import check_at_least
from infogan.metrics.factors import FactorScores
from infogan.modules.infogan import InfoGANModule


class Disentanglement(pl.Callback):
    """Log MIG in validation; in test also SAP, FactorVAE score, DCI and the joint information.

    It applies to data with factors. The mutual information of every code with every factor, in
    nats, goes to the run folder of the test as `information_real.png`.

    Args:
        only_mig: Whether to leave out, in test too, what takes time: 1 to 3 seconds on 10,000
            images of one or two factors, on one core.
        cell: Side of a cell of the picture in screen pixels; 0 draws none.
    """

    def __init__(self, only_mig: bool = False, cell: int = 60) -> None:
        check_at_least(cell=(cell, 0))
        self.only_mig = only_mig
        self.cell = cell
        self.scores: FactorScores | None = None

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Prepare the scores if there are codes to read and factors to compare them to."""
        factors = described_factors(trainer)
        self.scores = None
        if factors and isinstance(pl_module, InfoGANModule):
            only_mig = self.only_mig or stage != "test"
            self.scores = FactorScores(pl_module.latents.codes, factors, only_mig)

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, *_: int
    ) -> None:
        """Read the codes of a batch of real images."""
        self.read(pl_module, outputs, batch)

    def on_test_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, *_: int
    ) -> None:
        """Read the codes of a batch of real images."""
        self.read(pl_module, outputs, batch)

    def read(self, module: pl.LightningModule, outputs: Evaluated, batch: Any) -> None:
        """Collect codes and factors of a batch, from the trunk's features that a step returns."""
        if self.scores is None:
            return
        assert isinstance(module, InfoGANModule)
        modes = module.posterior_modes(module.recognize_features(outputs["features"]))
        self.scores.to(module.device).update(modes, batch[1])

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the scores of validation."""
        self.log_scores("val", pl_module)

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the scores of testing."""
        self.log_scores("test", pl_module)

    def log_scores(self, stage: str, module: pl.LightningModule) -> None:
        """Compute, log and reset."""
        if self.scores is not None:
            scores = self.scores.compute()
            module.log_dict({f"{stage}/{name}": value for name, value in scores.items()})
            self.scores.reset()

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw the mutual information of codes and factors."""
        if self.scores is not None and self.cell and self.scores.information is not None:
            codes, factors = self.scores.described_codes, self.scores.described_factors
            save_information(
                trainer, "real", self.scores.information, codes, factors, cell=self.cell
            )
