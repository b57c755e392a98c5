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
        if trainer.ckpt_path and stage == "fit":
            before = Path(trainer.ckpt_path).parent.parent / "config.yaml"
            if before.is_file():
                say_differences(yaml.safe_load(before.read_text()), facts)
        for logger in trainer.loggers:
            logger.log_hyperparams(facts)


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
