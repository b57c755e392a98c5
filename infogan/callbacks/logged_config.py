"""What ran: the config, the versions of the code and of the data, in every tracker."""

from pathlib import Path
from typing import Any

import torch
import yaml
from pytorch_lightning.cli import SaveConfigCallback
from pytorch_lightning.core import LightningModule
from pytorch_lightning.trainer import Trainer
from pytorch_lightning.utilities import rank_zero_info, rank_zero_warn

from infogan.data import data_of
from infogan.errors import ConfigurationError
from infogan.files import write_file
from infogan.version import code_version

NOT_SETTINGS = {"ckpt_path", "config", "name", "save_dir", "group", "wandb"}


class LoggedConfig(SaveConfigCallback):
    """Save the config beside the results and hand it, with versions, to every logger."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Read what the checkpoint's run was saved with, before its file is written anew."""
        path = self.config.get("ckpt_path")
        before = Path(path or "").parent.parent / "config.yaml"
        self.before = yaml.safe_load(before.read_text()) if path and before.is_file() else {}
        if stage != "predict":  # which scores nothing
            say_if_other_split(self.before, data_of(trainer).datamodule)
        # Lightning writes it in place: a kill leaves it empty, beside the checkpoints of a run.
        self.save_to_log_dir = False
        self.path = Path(trainer.log_dir or ".") / self.config_filename
        super().setup(trainer, pl_module, stage)

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write the config; give it, with the versions of code and data, to the loggers.

        Raises:
            ConfigurationError: If the folder is another run's.
        """
        if self.path.is_file() and not self.overwrite:
            raise ConfigurationError(
                f"{self.path} is there already, of another run; give another --name or --save_dir"
            )
        text = self.parser.dump(self.config, skip_none=False)
        write_file(self.path, text)
        config = yaml.safe_load(text)
        data = data_of(trainer)
        facts = {
            **config,
            "code_version": code_version(),
            "torch_version": str(torch.__version__),
            "data_fingerprint": data.fingerprint,
            "val_split": data.val_split,
        }
        if stage == "fit":
            say_differences(self.before, facts)
        for logger in trainer.loggers:
            logger.log_hyperparams(facts)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Note the precision of the training in every checkpoint."""
        checkpoint["precision"] = trainer.precision


def say_if_other_split(before: Any, datamodule: Any) -> None:
    """Warn if a checkpoint may have trained on images that are held out now.

    Args:
        before: The config of the checkpoint's run; one without an option is older than it.
        datamodule: Names in `split_options` the options that choose the held-out images.
    """
    data = before.get("data") if isinstance(before, dict) else None
    given = data.get("init_args") if isinstance(data, dict) else None
    if not isinstance(given, dict):
        return
    now = {name: getattr(datamodule, name) for name in getattr(datamodule, "split_options", ())}
    older = [name for name in now if name not in given]
    changed = [name for name in now if name in given and given[name] != now[name]]
    if older:
        rank_zero_warn(
            f"the checkpoint is older than {' and '.join(older)} of the data: it may have trained "
            "on images that are held out for validation now, and its best state was chosen on test "
            "images, so that such scores say too much; train anew for figures to report"
        )
    elif changed:
        was = ", ".join(f"{name}={now[name]} (was {given[name]})" for name in changed)
        rank_zero_warn(
            f"the checkpoint's run held out other images, now {was}: it may have trained on images "
            "that are held out now, whose scores then say too much; give the same as before"
        )


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
