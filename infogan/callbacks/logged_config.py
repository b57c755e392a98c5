"""What ran: the config, the versions of the code and of the data, in every tracker."""

import torch
import yaml
from pytorch_lightning.cli import SaveConfigCallback
from pytorch_lightning.core import LightningModule
from pytorch_lightning.trainer import Trainer

from infogan.data import data_of
from infogan.version import code_version


class LoggedConfig(SaveConfigCallback):
    """Save the config beside the results and hand it, with versions, to every logger."""

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Give the parsed config, the code's version and the data's fingerprint to the loggers."""
        config = yaml.safe_load(self.parser.dump(self.config, skip_none=False))
        data = data_of(trainer)
        facts = {
            **config,
            "code_version": code_version(),
            "torch_version": str(torch.__version__),
            "data_fingerprint": data.fingerprint,
            "val_split": data.val_split,
        }
        for logger in trainer.loggers:
            logger.log_hyperparams(facts)
