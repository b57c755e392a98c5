"""All that the project uses of Lightning's private names, each with its reason.

`tests/runtime/test_private.py` fails, and names the line, when Lightning changes one of them.
"""

from typing import Any

from pytorch_lightning.callbacks import Callback
from pytorch_lightning.cli import LightningCLI
from pytorch_lightning.strategies import DDPStrategy
from pytorch_lightning.trainer import Trainer


class OpenLightningCLI(LightningCLI):
    """Lightning's command line, open where it has no public hook."""

    def _parse_ckpt_path(self) -> None:
        """Leave the config as given.

        Lightning puts a checkpoint's hyper-parameters in its place, and has no switch for that.
        """

    def _instantiate_trainer(self, config: dict[str, Any], callbacks: list[Callback]) -> Trainer:
        """Let `complete_trainer` have the callbacks, which the public method does not show."""
        return super()._instantiate_trainer(config, self.complete_trainer(config, callbacks))

    def complete_trainer(self, config: dict[str, Any], callbacks: list[Callback]) -> list[Callback]:
        """Complete the trainer's arguments in place; return the callbacks of the command line."""
        return callbacks


def finds_unused_parameters(strategy: DDPStrategy) -> bool:
    """Return whether DDP searches the graph for unused parameters, which nothing public says."""
    return bool(strategy._ddp_kwargs.get("find_unused_parameters", False))
