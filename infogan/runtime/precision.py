"""Types of numbers: a training's that gives none, and outputs' under autocast."""

from typing import Literal

import pytorch_lightning as pl
import torch
from torch import Tensor


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
        has_units = torch.cpu._is_amx_tile_supported()
    return "bf16-mixed" if has_units else "32-true"


def at_least_float32(x: Tensor) -> Tensor:
    """Return autocast's half-precision output as float32; float32 and float64 as they are."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def gradient_scaler(trainer: pl.Trainer) -> torch.amp.GradScaler | None:
    """Return the gradient scaler of `16-mixed`; None in any other precision."""
    return getattr(trainer.precision_plugin, "scaler", None)
