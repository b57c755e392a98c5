"""The precision of a training that gives none: what the hardware computes fastest."""

from typing import Literal

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
        has_units = torch.cpu._is_amx_tile_supported()
    return "bf16-mixed" if has_units else "32-true"
