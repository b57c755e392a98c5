"""The precision of a training that gives none."""

from typing import Literal

import pytorch_lightning as pl
import torch


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
