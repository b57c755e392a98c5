"""The 8x8 digits of scikit-learn: 1,797 images, no download."""

import numpy as np
import torch
from sklearn.datasets import load_digits

from datamodules.base import ImageDataModule
from datamodules.factors import Factor
from datamodules.loader import TensorSource


class DigitsDataModule(ImageDataModule):
    """Deliver scikit-learn's digits; a tenth is for validation and a tenth for test."""

    factors = (Factor("digit", 10, 0, 9),)
    image_shape = (1, 8, 8)

    def fingerprint(self) -> str:
        """Return the data's name: the library never changes it."""
        return "sklearn-digits"

    def setup(self, stage: str) -> None:
        """Put the images into memory."""
        digits = load_digits()
        pixels = np.round(digits.images * (255 / 16)).astype(np.uint8)
        images = torch.from_numpy(pixels).unsqueeze(1)
        labels = torch.from_numpy(digits.target).float().unsqueeze(1)
        fold = torch.arange(len(images)) % 10
        of_training = labels[fold > 1] if self.labelled else None
        self.train_source = TensorSource(images[fold > 1], of_training)
        self.val_source = TensorSource(images[fold == 1], labels[fold == 1])
        self.test_source = TensorSource(images[fold == 0], labels[fold == 0])
