"""What ran: the config, the versions of the code and of the data, in every tracker."""

from pathlib import Path
from typing import Any

import torch
import yaml
from pytorch_lightning.cli import SaveConfigCallback
from pytorch_lightning.core import LightningModule
from pytorch_lightning.trainer import Trainer
from pytorch_lightning.utilities import rank_zero_info

from infogan.data import data_of
from infogan.version import code_version

NOT_SETTINGS = {"ckpt_path", "config", "name", "save_dir", "group", "wandb"}


class LoggedConfig(SaveConfigCallback):
    """Save the config beside the results and hand it, with versions, to every logger."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Read what a resumed run was saved with, before its file is written anew."""
        path = self.config.get("ckpt_path") if stage == "fit" else None
        before = Path(path or "").parent.parent / "config.yaml"
        self.before = yaml.safe_load(before.read_text()) if path and before.is_file() else {}
        super().setup(trainer, pl_module, stage)

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
        say_differences(self.before, facts)
        for logger in trainer.loggers:
            logger.log_hyperparams(facts)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Note the precision of the training in every checkpoint."""
        checkpoint["precision"] = trainer.precision


def say_differences(before: Any, now: dict[str, Any]) -> None:
    """Print which settings of a resumed run differ from those that it was saved with."""
    old, new = flatten(before), flatten(now)
    changed = [
        f"{name}={new[name]} (was {old[name]})"
        for name in sorted(old.keys() & new.keys())
        if old[name] != new[name] and name not in NOT_SETTINGS
    ]
    if changed:
        rank_zero_info(f"resumed with another config than before: {', '.join(changed)}")


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """Return the values of nested settings by their names with dots."""
    if not isinstance(config, dict):
        return {prefix.removesuffix("."): config}
    return {
        name: value
        for key, inner in config.items()
        for name, value in flatten(inner, f"{prefix}{key}.").items()
    }
