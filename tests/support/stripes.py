"""Data of four stripes, and a known GAN of them: G draws what it is told, Q reads it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from datamodules import MNISTDataModule, write_idx
from infogan.latents import CategoricalCode
from infogan.modules import GANModule, InfoGANModule


def stripes(classes: Tensor) -> Tensor:
    """Return noisy 8x8 images whose bright row tells the class, 0 to 3."""
    images = 0.3 * torch.rand(len(classes), 1, 8, 8)
    images[torch.arange(len(classes)), 0, 2 * classes] += 0.7
    return images


def brightness(images: Tensor) -> Tensor:
    """Return how bright the row of each class is, (batch, 4)."""
    return images[:, 0, ::2].sum(dim=2)


def stripe_data(folder: Path, val_size: int = 0) -> MNISTDataModule:
    """Write 400 training and 80 test images in MNIST's format; return them with their labels."""
    for split, number in (("train", 400), ("t10k", 80)):
        classes = torch.arange(number) % 4
        images = stripes(classes).mul(255).byte().squeeze(1).numpy()
        write_idx(folder / "MNIST" / "raw" / f"{split}-images-idx3-ubyte", images)
        labels = classes.numpy().astype(np.uint8)
        write_idx(folder / "MNIST" / "raw" / f"{split}-labels-idx1-ubyte", labels)
    return MNISTDataModule(
        str(folder),
        batch_size=50,
        eval_batch_size=30,
        verify=False,
        labelled=True,
        val_size=val_size,
    )


def save_checkpoint(module: pl.LightningModule, trainer: pl.Trainer, path: Path) -> Path:
    """Write a module's checkpoint without training it."""
    trainer.strategy.connect(module)
    trainer.save_checkpoint(path)
    return path


# ---- a GAN that is known ---------------------------------------------------------------------

NAMES = torch.tensor([2, 0, 3, 1])  # the class that Q's reading gives to each category


class Drawn(nn.Module):
    """G: draws the class that belongs to the category."""

    def __init__(self, class_of_category: Tensor) -> None:
        super().__init__()
        self.class_of_category = class_of_category

    def forward(self, latent: Tensor) -> Tensor:
        return stripes(self.class_of_category[latent[:, 3:].argmax(dim=1)])


class Pixels(nn.Module):
    """The trunk: features are the pixels."""

    feature_dim = 64

    def forward(self, *batches: Tensor) -> tuple[Tensor, ...]:
        return tuple(batch.flatten(1) for batch in batches)


class Reader(nn.Module):
    """Q's head: the logit of a category is how bright the row of its class is."""

    def forward(self, features: Tensor) -> Tensor:
        return 20 * brightness(features.unflatten(1, (1, 8, 8)))[:, NAMES]


def known_gan(
    build: Callable[..., GANModule],
    class_of_category: Tensor = NAMES,
    kind: type[GANModule] = InfoGANModule,
) -> GANModule:
    """Return a GAN that draws a class for each of four categories."""
    module = build(kind, codes=[CategoricalCode(4)])
    module.generator = Drawn(class_of_category)
    module.discriminator.trunk = Pixels()  # type: ignore[assignment]
    module.discriminator.head = nn.Linear(64, 1)
    if isinstance(module, InfoGANModule):
        module.recognition_head = Reader()
    return module
