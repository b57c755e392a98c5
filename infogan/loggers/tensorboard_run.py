"""TensorBoard's event files, in the run folder."""

from pathlib import Path
from typing import Any

import yaml
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.utilities import rank_zero_only

from infogan.errors import ConfigurationError


class TensorBoardRun(TensorBoardLogger):
    """Write TensorBoard's event files into the run folder, beside `metrics.csv`.

    `tensorboard --logdir runs` then shows all runs.

    Args:
        save_dir: Folder of all runs; null takes the config's `save_dir`, `runs` by default.
        name: Name of the experiment; null takes the config's `name`.
        version: Number or name of the run; null takes that of the run folder.
        resumed_step: Step of the checkpoint that the run goes on from; TensorBoard drops what was
            written after it.
    """

    def __init__(
        self,
        save_dir: str | None = None,
        name: str | None = None,
        version: int | str | None = None,
        resumed_step: int | None = None,
    ) -> None:
        purge: dict[str, Any] = {} if resumed_step is None else {"purge_step": resumed_step + 1}
        folder = str(Path(save_dir or "runs").expanduser())
        try:
            super().__init__(folder, name, version, default_hp_metric=False, **purge)
        except ModuleNotFoundError as error:
            raise ConfigurationError(
                "TensorBoardRun needs TensorBoard: run `pip install tensorboard`, or leave the "
                "logger out"
            ) from error

    @rank_zero_only
    def log_hyperparams(self, params: Any, metrics: Any = None, step: int | None = None) -> None:
        """Show the config as text: its nested lists are no columns of a table."""
        super().log_hyperparams(params, metrics, step)
        self.experiment.add_text("config", f"```yaml\n{yaml.safe_dump(params, sort_keys=False)}```")
