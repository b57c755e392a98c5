"""What ran: the config, the versions of the code and of the data, in every tracker."""

from typing import Any

import torch
import yaml
from pytorch_lightning.cli import SaveConfigCallback
from pytorch_lightning.core import LightningModule
from pytorch_lightning.trainer import Trainer

from infogan.version import code_version


class LoggedConfig(SaveConfigCallback):
    """Save the config beside the results and hand it, with versions, to every logger."""

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Give the parsed config, the code's version and the data's fingerprint to the loggers."""
        config = yaml.safe_load(self.parser.dump(self.config, skip_none=False))
        data: Any = getattr(trainer, "datamodule", None)
        fingerprint = getattr(data, "fingerprint", None)
        facts = {
            **config,
            "code_version": code_version(),
            "torch_version": str(torch.__version__),
            "data_fingerprint": fingerprint() if fingerprint is not None else None,
            "val_split": getattr(data, "val_split", None),
        }
        for logger in trainer.loggers:
            logger.log_hyperparams(facts)
