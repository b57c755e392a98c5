"""What the numbers of an exported model mean, as plain values for a JSON file."""

import dataclasses
from pathlib import Path
from typing import Any

import torch

import infogan
from infogan.latents import (
    BernoulliCode,
    CategoricalCode,
    ContinuousCode,
    LatentCode,
    LatentSpec,
    code_names,
)
from infogan.modules import GANModule, InfoGANModule

NOISE: dict[str, dict[str, float]] = {
    "uniform": {"low": -1.0, "high": 1.0},
    "normal": {"mean": 0.0, "std": 1.0},
}


def describe(module: GANModule, ckpt_path: Path) -> dict[str, Any]:
    """Return what a person or a program must know to use a model without this package.

    Args:
        module: The model.
        ckpt_path: Its checkpoint, for the record.
    """
    step = torch.load(ckpt_path, map_location="cpu", weights_only=True, mmap=True)["global_step"]
    recognition = {"input": "images", "outputs": code_names(module.latents.codes)}
    return {
        "infogan_version": infogan.__version__,
        "class": name_of(type(module)),
        "checkpoint": ckpt_path.name,
        "step": step,
        "images": {
            "layout": "batch, channels, height, width",
            "shape": list(module.image_shape),
            "dtype": "float32",
            "pixel_range": [0.0, 1.0],
            "pixel_scale": "0 is black, 1 is white; a byte is 255 times the pixel, rounded",
        },
        "latent": describe_latents(module.latents),
        "generator": {"input": "latent", "outputs": ["images"]},
        "recognition": recognition if isinstance(module, InfoGANModule) else None,
    }


def describe_latents(latents: LatentSpec) -> dict[str, Any]:
    """Return the columns of noise and codes, and where each is drawn from.

    Columns are [first, end): the end is not among them.
    """
    noise = {
        "columns": [0, latents.noise_dim],
        "distribution": latents.noise_distribution,
        **NOISE[latents.noise_distribution],
    }
    codes = []
    column, parameter = latents.noise_dim, 0
    for position, name in enumerate(code_names(latents.codes)):
        code = latents.codes[position]
        codes.append(
            {
                "name": name,
                "position": position,
                "columns": [column, column + code.dim],
                **describe_code(code),
                "posterior": {
                    "output": name,
                    "columns_of_head": [parameter, parameter + code.num_parameters],
                    "meaning": meaning_of_parameters(code),
                },
            }
        )
        column += code.dim
        parameter += code.num_parameters
    return {"dim": latents.dim, "noise": noise, "codes": codes}


def describe_code(code: LatentCode) -> dict[str, Any]:
    """Return a code's class and settings, with all values of a discrete one, else its range.

    The range is what a traversal covers: the whole of a uniform code, two stds of a normal one.
    """
    settings = dataclasses.asdict(code) if dataclasses.is_dataclass(code) else None
    facts = {"class": name_of(type(code)), "settings": settings, "is_discrete": code.is_discrete}
    values = code.traverse(101)
    if code.is_discrete:
        return {**facts, "values": {code.label(value): value.tolist() for value in values}}
    return {**facts, "range": [float(values.min()), float(values.max())]}


def meaning_of_parameters(code: LatentCode) -> str:
    """Say what Q emits for a code."""
    if isinstance(code, CategoricalCode):
        return "a logit a category"
    if isinstance(code, BernoulliCode):
        return "the logit of a 1"
    if isinstance(code, ContinuousCode) and code.learn_std:
        return f"mean and log std, the std to be clamped to [{code.min_std}, {code.max_std}]"
    if isinstance(code, ContinuousCode):
        return f"mean; the std is {code.posterior_std}"
    return f"the parameters that {name_of(type(code))}.posterior_log_prob takes"


def name_of(kind: type) -> str:
    """Return a class's full name."""
    return f"{kind.__module__}.{kind.__qualname__}"
