"""The best checkpoint of a run that does not log what it would be best at."""

import difflib

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.trainer.states import TrainerFn
from pytorch_lightning.utilities import rank_zero_info

from infogan.errors import ConfigurationError


class BestMetric(pl.Callback):
    """Keep no best checkpoint where the default metric is not logged; refuse another's absence.

    Data without classes has no accuracy. Lightning would end the run after its first validation.

    Args:
        default: The metric that is monitored unless the user says otherwise.
    """

    def __init__(self, default: str = "val/code_accuracy") -> None:
        self.default = default

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look for the metric before the checkpoint callbacks do, which come last.

        Raises:
            ConfigurationError: If the metric was chosen by the user, and there is none.
        """
        if trainer.state.fn != TrainerFn.FITTING or trainer.sanity_checking:
            return
        for checkpoint in trainer.checkpoint_callbacks:
            monitor = getattr(checkpoint, "monitor", None)
            if not isinstance(checkpoint, ModelCheckpoint) or checkpoint.save_top_k == 0:
                continue
            if monitor is None or monitor in trainer.callback_metrics:
                continue
            if monitor != self.default:
                known = [*trainer.callback_metrics]
                near = difflib.get_close_matches(monitor, known, 1) or known[:3]
                raise ConfigurationError(
                    f"checkpoint.monitor={monitor} is not logged; this run logs "
                    f"{', '.join(near)} and others"
                )
            checkpoint.save_top_k = 0
            rank_zero_info(
                f"No best checkpoint is kept: this run has no {monitor}; --checkpoint.monitor "
                "chooses another metric."
            )
