"""Train and test one classifier, quietly, for a fixed number of steps."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    RandomSampler,
    Sampler,
    SequentialSampler,
    TensorDataset,
)

from infogan.commands.augment.steps import LabelledImages
from infogan.differentiable_augmentation import RandomAffine
from infogan.modules.classifier import ClassifierModule

EVAL_BATCH_SIZE = 1000


@dataclass(frozen=True)
class Training:
    """How every classifier of a study is trained, whatever its images are.

    Args:
        num_classes: Number of classes.
        num_steps: Optimizer steps.
        batch_size: Images a step, drawn with replacement.
        accelerator: As Lightning's Trainer has it.
    """

    num_classes: int
    num_steps: int
    batch_size: int
    accelerator: str

    def accuracy(
        self, training: LabelledImages, test: LabelledImages, geometric: bool, seed: int
    ) -> float:
        """Train a classifier on some images and return its accuracy on others, in [0, 1].

        Args:
            training: What it is trained on.
            test: What it is tested on.
            geometric: Whether to turn, shear, scale and shift the training images at random.
            seed: Fixes the initial weights and the order of the images.
        """
        torch.manual_seed(seed)
        channels, side = training.images.shape[1:3]
        augmentation = RandomAffine() if geometric else None
        model = ClassifierModule(self.num_classes, channels, side, augmentation=augmentation)
        samples = TensorDataset(training.images, training.labels.unsqueeze(1))
        sampler = RandomSampler(
            samples, replacement=True, num_samples=self.num_steps * self.batch_size
        )
        held_out = TensorDataset(test.images, test.labels.unsqueeze(1))
        with quiet_lightning():
            trainer = quiet_trainer(self.accelerator)
            trainer.fit(model, in_batches(samples, sampler, self.batch_size))
            (scores,) = trainer.test(
                model,
                in_batches(held_out, SequentialSampler(held_out), EVAL_BATCH_SIZE),
                verbose=False,
            )
        return scores["test/accuracy"]


def in_batches(
    dataset: TensorDataset, sampler: Sampler[int], batch_size: int
) -> DataLoader[tuple[Tensor, ...]]:
    """Return a loader that takes each batch from the tensors at once, not image by image."""
    batches = BatchSampler(sampler, batch_size, drop_last=False)
    return DataLoader(dataset, batch_size=None, sampler=batches)


def quiet_trainer(accelerator: str) -> pl.Trainer:
    """Return a Trainer for one epoch on one device that writes and says nothing."""
    return pl.Trainer(
        accelerator=accelerator,
        devices=1,
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def device_of(accelerator: str) -> torch.device:
    """Return the device that Lightning chooses for an accelerator."""
    with quiet_lightning():
        return quiet_trainer(accelerator).strategy.root_device


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Hold back Lightning's notes on devices, workers and ends of training, once a classifier."""
    logger = logging.getLogger("pytorch_lightning")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*does not have many workers.*")
            warnings.filterwarnings("ignore", ".*have no `val_dataloader`.*")
            yield
    finally:
        logger.setLevel(level)
