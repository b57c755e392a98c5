"""What the study is given: a trained InfoGAN, images whose labels it may reveal, a classifier."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from infogan.callbacks.generation import images_of
from infogan.commands.augment.steps import LabelledImages
from infogan.data import told_by
from infogan.errors import ConfigurationError
from infogan.latents import CategoricalCode, code_names
from infogan.modules.infogan import InfoGANModule
from infogan.modules.loading import load_module


def selection_metric(path: Path) -> str | None:
    """Return the metric that a checkpoint was kept for, if it was the best; else None.

    The code accuracy is measured with the labels of the validation images.
    """
    saved = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    for name, state in saved.get("callbacks", {}).items():
        best = state.get("best_model_path") if name.startswith("ModelCheckpoint") else None
        if best and Path(best).name == path.name:
            return state["monitor"]
    return None


@dataclass(frozen=True)
class CategoricalGAN:
    """A trained InfoGAN, seen through one of its categorical codes.

    Args:
        module: The InfoGAN, in evaluation mode.
        code_index: Position of the categorical code among the codes.
    """

    module: InfoGANModule
    code_index: int

    @classmethod
    def load(cls, path: Path, code: str | None, device: torch.device) -> "CategoricalGAN":
        """Load a checkpoint and find its categorical code.

        Args:
            path: The checkpoint.
            code: Name of the code, such as `categorical0`; None for the first categorical one.
            device: Where to put the networks.

        Raises:
            ConfigurationError: If the checkpoint holds no such code.
        """
        module = load_module(path, InfoGANModule)
        names = code_names(module.latents.codes)
        categorical = {
            name: i
            for i, name in enumerate(names)
            if isinstance(module.latents.codes[i], CategoricalCode)
        }
        if not categorical:
            raise ConfigurationError(
                f"checkpoint {path} has no categorical code (its codes: {', '.join(names)}): train "
                "with a CategoricalCode that has as many categories as the data has classes"
            )
        if code is not None and code not in categorical:
            raise ConfigurationError(
                f"code={code} is no categorical code of checkpoint {path}; "
                f"choose from {', '.join(categorical)}"
            )
        return cls(module.to(device), categorical[code or next(iter(categorical))])

    @property
    def num_categories(self) -> int:
        """Number of values of the code, Z in the paper."""
        return self.module.latents.codes[self.code_index].dim

    def generate(self, latent: Tensor) -> Tensor:
        """Return G(z, c) on the CPU, (batch, channels, side, side)."""
        return images_of(self.module, latent)

    @torch.no_grad()
    def recognize(self, images: Tensor) -> Tensor:
        """Return Q(category|x) on the CPU, (batch, num_categories)."""
        logits = self.module.recognize(images.to(self.module.device))[self.code_index]
        return logits.softmax(dim=1).cpu()


@dataclass(frozen=True)
class Split:
    """One split of the data, with Q's reading of it.

    Args:
        images: As the datamodule stores them, (N, C, H, W), often bytes.
        labels: Class of each image, (N,) int64.
        posteriors: Q(category|x) of each image, (N, categories).
        data: The datamodule, which turns stored images into floats in [0, 1].
    """

    images: Tensor
    labels: Tensor
    posteriors: Tensor
    data: pl.LightningDataModule

    def labelled_images(self, chosen: Tensor | None = None) -> LabelledImages:
        """Return the chosen images, by number, or all, as floats in [0, 1] with their classes."""
        images = self.images if chosen is None else self.images[chosen]
        labels = self.labels if chosen is None else self.labels[chosen]
        return LabelledImages(in_unit_interval(self.data, images, labels), labels)


def read_split(
    data: pl.LightningDataModule, batches: Iterable[Any], column: int, gan: CategoricalGAN
) -> Split:
    """Read a split once: its images, their classes and what Q makes of them.

    Raises:
        ConfigurationError: If the batches hold no factors, or images of another shape.
    """
    images, labels, posteriors = [], [], []
    for batch in batches:
        if isinstance(batch, Tensor):
            raise ConfigurationError(
                f"{type(data).__name__} delivers its training images without labels; set the "
                "data's `labelled` to true"
            )
        stored, factors = batch
        if tuple(stored.shape[1:]) != gan.module.image_shape:
            raise ConfigurationError(
                f"the images of {type(data).__name__} have shape {tuple(stored.shape[1:])} and the "
                f"InfoGAN's {gan.module.image_shape}: give the data that it was trained on"
            )
        images.append(stored)
        labels.append(factors[:, column].long())
        posteriors.append(gan.recognize(in_unit_interval(data, stored, factors)))
    return Split(torch.cat(images), torch.cat(labels), torch.cat(posteriors), data)


def in_unit_interval(data: pl.LightningDataModule, images: Tensor, factors: Tensor) -> Tensor:
    """Return stored images as the model sees them, by the datamodule's own conversion."""
    return data.on_after_batch_transfer((images, factors), 0)[0]


def find_factor(data: pl.LightningDataModule, name: str | None) -> tuple[int, int]:
    """Return the column and the number of values of the factor to classify by.

    Args:
        data: The datamodule, with `factors`.
        name: Name of a discrete factor; None for the first.

    Raises:
        ConfigurationError: If there is no such factor.
    """
    factors = told_by(data).discrete_factors
    discrete = {f.name: (i, f.num_values) for i, f in factors.items() if f.num_values}
    if not discrete:
        raise ConfigurationError(
            f"{type(data).__name__} names no discrete factor, so there are no classes to learn"
        )
    if name is not None and name not in discrete:
        raise ConfigurationError(
            f"factor={name} is no discrete factor of {type(data).__name__}; "
            f"choose from {', '.join(discrete)}"
        )
    return discrete[name or next(iter(discrete))]
