"""What rules when a run is resumed: the settings that are given, and one checkpoint for all."""

from collections.abc import Iterator
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities import rank_zero_info
from torch import Tensor, distributed

from infogan.errors import ConfigurationError

# How an optimizer computes, which its saved state depends on, and what is not a setting.
KEPT = {"params", "param_names", "initial_lr", "fused", "foreach", "capturable", "differentiable"}


class ResumedSettings(pl.Callback):
    """Let the given learning rates and other settings of the optimizers rule on a resume.

    A checkpoint brings the optimizers' settings along with their state. Those that are given now
    rule, and what differs from the checkpoint is printed. All ranks must have resumed from the same
    checkpoint: on disks of their own, machines may hold different ones.
    """

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep the given settings, before the checkpoint's take their place."""
        self.given = [
            [{name: number(group[name]) for name in group.keys() - KEPT} for group in groups]
            for groups in (optimizer.param_groups for optimizer in trainer.optimizers)
        ]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put the given settings back; refuse ranks that start from different checkpoints.

        Raises:
            ConfigurationError: If the ranks differ in step or epoch.
        """
        check_same_start(trainer)
        if not trainer.ckpt_path:
            return
        differences = list(self.restore(trainer))
        if differences:
            rank_zero_info(f"resumed with other settings than before: {', '.join(differences)}")

    def restore(self, trainer: pl.Trainer) -> Iterator[str]:
        """Put the given settings back; yield each that differs from the checkpoint's."""
        names = ["discriminator_optimizer", "generator_optimizer"]
        if len(trainer.optimizers) != len(names):
            names = [f"optimizer {index}" for index in range(len(trainer.optimizers))]
        for name, optimizer, given in zip(names, trainer.optimizers, self.given, strict=True):
            for group, settings in zip(optimizer.param_groups, given, strict=True):
                # A decay has lowered the rate since; it starts from the given one again.
                saved = {**group, "lr": group.pop("initial_lr", group["lr"])}
                for key in sorted(settings.keys() & saved.keys()):
                    before = number(saved[key])
                    if isinstance(group[key], Tensor):
                        group[key].fill_(settings[key])
                    else:
                        group[key] = settings[key]
                    if before != settings[key]:
                        yield f"{name}.{key}={settings[key]} (was {before})"


def number(value: Any) -> Any:
    """Return a setting as a plain value, and a pair from a checkpoint as a tuple."""
    if isinstance(value, Tensor):
        return value.item()
    return tuple(value) if isinstance(value, list) else value


def check_same_start(trainer: pl.Trainer) -> None:
    """Refuse ranks that start at different steps or epochs.

    Raises:
        ConfigurationError: On all ranks, if two of them differ.
    """
    if trainer.world_size == 1:
        return
    start = [trainer.global_step, trainer.current_epoch]
    values = torch.tensor([*start, *(-n for n in start)], device=trainer.strategy.root_device)
    distributed.all_reduce(values, distributed.ReduceOp.MAX)
    last_step, last_epoch, first_step, first_epoch = values.abs().tolist()
    if (first_step, first_epoch) != (last_step, last_epoch):
        raise ConfigurationError(
            f"the ranks resume from different checkpoints, of steps {first_step} to {last_step}: "
            "give a save_dir that all machines share, or --ckpt_path the path of one file"
        )
