"""The precision of a training that gives none."""

from collections.abc import Mapping
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities import rank_zero_info


def native_precision(accelerator: object) -> Literal["bf16-mixed", "32-true"]:
    """Return `bf16-mixed` where there are matrix units for bfloat16, else `32-true`.

    They are AMX on CPUs, and those of NVIDIA's GPUs since Ampere. Anything else emulates bfloat16,
    which may take many times as long as float32.

    Args:
        accelerator: The trainer's, such as `auto` or `cpu`.
    """
    if accelerator != "cpu" and torch.cuda.is_available():
        has_units = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        # Older versions of torch cannot say.
        capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
        has_units = capabilities.get("amx_tile", False)
    return "bf16-mixed" if has_units else "32-true"


def gradient_scaler(trainer: pl.Trainer) -> torch.amp.GradScaler | None:
    """Return the gradient scaler of `16-mixed`; None in any other precision."""
    return getattr(trainer.precision_plugin, "scaler", None)


def say_if_other_precision(checkpoint: Mapping[str, Any], precision: Any) -> None:
    """Say that a checkpoint is used in another precision than it was trained in."""
    trained, now = checkpoint.get("precision"), str(precision or "32-true")
    now = {"16": "16-mixed", "bf16": "bf16-mixed", "32": "32-true", "64": "64-true"}.get(now, now)
    if trained is not None and trained != now:
        rank_zero_info(
            f"precision: the checkpoint was trained in {trained} and is used in {now}; "
            f"--trainer.precision {trained} is the same again"
        )
