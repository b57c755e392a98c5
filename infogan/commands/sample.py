"""Draw images for given values of the codes; the command `sample`."""

import csv
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from pytorch_lightning.utilities import rank_zero_info
from torch import Tensor

from infogan.callbacks.generation import images_of
from infogan.commands.outputs import check_new, new_folder
from infogan.errors import ConfigurationError
from infogan.files import replacing
from infogan.latents import LatentCode, LatentSpec, code_names
from infogan.modules.loading import load_gan
from infogan.seeding import seeded

CodeValue = float | list[float]
CodeValues = Mapping[int | str, CodeValue]


def sample(
    ckpt_path: Path,
    output: Path = Path("samples"),
    codes: dict[int | str, CodeValue] | None = None,
    num_samples: int = 16,
    seed: int = 0,
) -> None:
    """Draw images from a trained model, with the codes that you choose.

    The noise, and the codes that are not given, are drawn at random by the seed: with one seed, two
    calls differ only in the codes given.

    Args:
        ckpt_path: Checkpoint of any GAN that `fit` has saved.
        output: New folder for a PNG an image and codes.csv, which lists the codes of each; or, if
            it ends in .npz, a new file with the arrays images (float32 in [0, 1], N x C x H x W),
            noise and, by their names, the codes.
        codes: Values by position or name, such as '{0: 3, uniform1: -0.5}': a category's number, a
            continuous code's value, or the list of all numbers that the generator gets.
        num_samples: Number of images.
        seed: Seed of all that is drawn at random.

    Raises:
        ConfigurationError: If the checkpoint has no such code or the output is there already.
    """
    if num_samples < 1:
        raise ConfigurationError(f"num_samples={num_samples} must be at least 1")
    check_new(output)
    module = load_gan(ckpt_path)
    channels = module.image_shape[0]
    if output.suffix != ".npz" and channels not in (1, 3):
        raise ConfigurationError(
            f"output={output}: a PNG cannot have the images' {channels} channels; give a name that "
            "ends in .npz"
        )
    latent = draw_latents(module.latents, num_samples, codes or {}, seed)
    images = images_of(module, latent)
    if output.suffix == ".npz":
        save_arrays(output, images, latent, module.latents)
        print(f"samples     {output}: {num_samples} images of {module.image_shape} in [0, 1]")
    else:
        save_pictures(output, images, latent, module.latents)
        print(f"samples     {output}: {num_samples} PNGs and codes.csv")


def draw_latents(latents: LatentSpec, num_samples: int, codes: CodeValues, seed: int) -> Tensor:
    """Draw (z, c), (num_samples, dim), and set the given codes; torch's streams are left alone.

    Args:
        latents: Noise and codes of the model.
        num_samples: Number of latents.
        codes: Values by position or name of the code; the others keep what was drawn.
        seed: Seed of the draw.

    Raises:
        ConfigurationError: If there is no such code, or it has no such value.
    """
    if not 0 <= seed < 2**32:
        raise ConfigurationError(f"seed={seed} must lie between 0 and {2**32 - 1}")
    values = code_values(latents, codes)
    with seeded(seed):
        latent = latents.sample(num_samples)
    for position, columns in enumerate(latents.split_codes(latent)):
        if position in values:
            columns[:] = values[position]
    return latent


def code_values(latents: LatentSpec, codes: CodeValues) -> dict[int, Tensor]:
    """Return the generator's input, (dim,), by position of the code.

    Raises:
        ConfigurationError: If there is no such code, or it has no such value.
    """
    names = code_names(latents.codes)
    values: dict[int, Tensor] = {}
    for key, given in codes.items():
        position = position_of(key, names)
        if position in values:
            raise ConfigurationError(f"codes gives two values to {names[position]}; give it one")
        code = latents.codes[position]
        values[position] = value_of(code, names[position], given)
        if code.log_prob(values[position].unsqueeze(0)).item() == -math.inf:
            rank_zero_info(
                f"codes: {names[position]}={given} lies outside of its prior, where the model has "
                "not been trained"
            )
    return values


def position_of(key: int | str, names: list[str]) -> int:
    """Return the position of the code that a key names.

    Raises:
        ConfigurationError: If there is none.
    """
    if key in names:
        return names.index(str(key))
    if str(key).isdecimal() and int(key) < len(names):
        return int(key)
    if not names:
        raise ConfigurationError(
            f"codes names {key}, but the model has no codes, only noise; leave --codes out"
        )
    known = ", ".join(f"{position} or {name}" for position, name in enumerate(names))
    raise ConfigurationError(f"codes names {key}, which the model has not; it has {known}")


def value_of(code: LatentCode, name: str, given: CodeValue) -> Tensor:
    """Return a code's value in the generator's input, (dim,).

    Args:
        code: The code.
        name: Its name, for errors.
        given: The number of a discrete code's value, the value of a scalar code, or all `dim`
            numbers of any code.

    Raises:
        ConfigurationError: If the code has no such value.
    """
    numbers = given if isinstance(given, list) else [given]
    if not all(map(math.isfinite, numbers)):
        raise ConfigurationError(f"codes: {name}={given} is not finite; give a number")
    if isinstance(given, list) or (code.dim == 1 and not code.is_discrete):
        if len(numbers) != code.dim:
            raise ConfigurationError(
                f"codes: {name}={given} has {len(numbers)} numbers; the code has {code.dim}"
            )
        return torch.tensor(numbers, dtype=torch.float32)
    if not code.is_discrete:
        raise ConfigurationError(f"codes: {name}={given} must be a list of {code.dim} numbers")
    choices = code.traverse(1)
    if given != int(given) or not 0 <= given < len(choices):
        raise ConfigurationError(
            f"codes: {name}={given:g} must be a whole number from 0 to {len(choices) - 1}"
        )
    return choices[int(given)]


def save_arrays(path: Path, images: Tensor, latent: Tensor, latents: LatentSpec) -> None:
    """Write images, noise and codes as one new .npz file."""
    names = code_names(latents.codes)
    codes = dict(zip(names, latents.split_codes(latent), strict=True))
    tensors = {"images": images, "noise": latent[:, : latents.noise_dim], **codes}
    arrays: dict[str, Any] = {name: tensor.numpy() for name, tensor in tensors.items()}
    with replacing(path) as part, part.open("wb") as file:
        np.savez_compressed(file, **arrays)
        check_new(path)


def save_pictures(path: Path, images: Tensor, latent: Tensor, latents: LatentSpec) -> None:
    """Write a PNG an image, and codes.csv, into one new folder."""
    pixels = images.clamp(0, 1).mul(255).round().to(torch.uint8).movedim(1, -1).numpy()
    digits = len(str(len(pixels) - 1))
    codes = latents.split_codes(latent)
    with new_folder(path) as folder, (folder / "codes.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", *code_names(latents.codes)])
        for number, picture in enumerate(pixels):
            name = f"{number:0{digits}}.png"
            Image.fromarray(picture.squeeze(-1) if picture.shape[-1] == 1 else picture).save(
                folder / name
            )
            values = zip(latents.codes, codes, strict=True)
            writer.writerow([name, *(as_text(code, drawn[number]) for code, drawn in values)])


def as_text(code: LatentCode, value: Tensor) -> str:
    """Return a code's value, (dim,), for a table: its label, or numbers of a mixture or a range."""
    if code.is_discrete and (code.traverse(1) == value).all(dim=1).any():
        return code.label(value)
    return " ".join(f"{number:.6g}" for number in value.tolist())
