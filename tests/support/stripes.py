"""Data of four stripes for the semi-supervised study, small enough to learn in some steps."""

from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from datamodules import MNISTDataModule, write_idx


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
