"""Is the encoder a classifier? Q beside k-means, a linear probe and supervision, in a test."""

import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torchmetrics.aggregation import CatMetric

from infogan.callbacks.judging import factor_to_judge, ready_judge
from infogan.data import data_of
from infogan.errors import check_at_least
from infogan.files import as_csv, write_file
from infogan.judge import Judge, JudgedFactor, JudgeRecipe
from infogan.judge.training import LabelledData, labelled_training_images
from infogan.metrics.probe import kmeans_accuracy, linear_probe_accuracy
from infogan.modules.gan import GANModule

BATCH_SIZE = 1000
COLUMNS = ("method", "seed", "accuracy")  # of probe.csv


class EncoderProbe(pl.Callback):
    """Classify the test images by other means than Q, in `test`, to compare its accuracy with.

    `probe_kmeans_pixels` and `probe_kmeans_features` cluster without labels, `probe_linear` learns
    from labels on the trunk's features, and `probe_supervised` is a classifier of the trunk's
    architecture that only labels have taught. All are means over seeds; `probe.csv` in the test's
    folder has every seed. It applies to the data that SampleQuality has a judge for.

    Args:
        num_seeds: Seeds of the training images, of k-means and of the supervised classifier; 0
            turns the callback off. Each takes some 20 s on one core.
        num_train: Training images that k-means and the linear probe see.
        supervised: Whether to train the supervised classifiers; each takes about 3 minutes on one
            core at the first need, and is then kept in the user's cache.
        recipe: How they are trained, with a seed each; null for 1,200 steps.
        judge_folder: Folder of trained classifiers; null for the user's cache.

    Raises:
        ValueError: If a number is out of range.
    """

    def __init__(
        self,
        num_seeds: int = 1,
        num_train: int = 10_000,
        supervised: bool = False,
        recipe: JudgeRecipe | None = None,
        judge_folder: Path | None = None,
    ) -> None:
        check_at_least(num_seeds=(num_seeds, 0), num_train=(num_train, 1))
        self.num_seeds = num_seeds
        self.num_train = num_train
        self.supervised = supervised
        self.recipe = recipe or JudgeRecipe(network="trunk", num_steps=1200)
        self.judge_folder = judge_folder
        self.factor: JudgedFactor | None = None
        self.classifiers: list[Judge] = []

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Have the supervised classifiers ready."""
        applies = stage == "test" and self.num_seeds and isinstance(pl_module, GANModule)
        self.factor = factor_to_judge(trainer) if applies else None
        if self.factor is None:
            return
        seeds = range(self.num_seeds if self.supervised else 0)
        recipes = [replace(self.recipe, seed=seed) for seed in seeds]
        self.classifiers = [
            ready_judge(trainer, self.factor, recipe, self.judge_folder) for recipe in recipes
        ]

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start to collect images, the trunk's features of them, and labels."""
        self.images, self.features, self.labels = (
            CatMetric(nan_strategy="disable").to(pl_module.device) for _ in range(3)
        )

    def on_test_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, *_: int
    ) -> None:
        """Collect a batch, with the features that the step returns."""
        if self.factor is not None:
            self.images.update(batch[0])
            self.features.update(outputs["features"])
            self.labels.update(batch[1][:, self.factor.column])

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Classify and log; the first process writes `probe.csv`."""
        if self.factor is None:
            return
        assert isinstance(pl_module, GANModule)
        training = labelled_training_images(data_of(trainer).datamodule, self.factor)
        images, features = self.images.compute(), self.features.compute().cpu()
        labels = self.labels.compute().long().cpu()
        rows: list[dict[str, Any]] = []
        for seed in range(self.num_seeds):
            accuracies = self.unsupervised(pl_module, training, images, features, labels, seed)
            if self.classifiers:
                accuracies["supervised"] = accuracy_of(self.classifiers[seed], images.cpu(), labels)
            rows += [dict(zip(COLUMNS, (m, seed, a), strict=True)) for m, a in accuracies.items()]
        for method in dict.fromkeys(row["method"] for row in rows):
            mean = statistics.mean(row["accuracy"] for row in rows if row["method"] == method)
            pl_module.log(f"test/probe_{method}", mean)
        folder = trainer.log_dir  # asks all processes
        if folder is not None and trainer.is_global_zero:
            write_file(Path(folder) / "probe.csv", as_csv(rows, COLUMNS))

    def unsupervised(
        self,
        module: GANModule,
        training: LabelledData,
        images: Tensor,
        features: Tensor,
        labels: Tensor,
        seed: int,
    ) -> dict[str, float]:
        """Return the accuracies of k-means and of the linear probe, for one seed."""
        chosen = choose(len(training.images), self.num_train, seed)
        train_images = training.floats(chosen)
        with torch.no_grad():
            train_features = torch.cat(
                [
                    module.discriminator.trunk(part.to(module.device, module.dtype))[0]
                    .float()
                    .cpu()
                    for part in train_images.split(BATCH_SIZE)
                ]
            )
        pixels, num_classes = images.flatten(1).cpu(), training.num_classes
        return {
            "kmeans_pixels": kmeans_accuracy(
                train_images.flatten(1), pixels, labels, num_classes, seed
            ),
            "kmeans_features": kmeans_accuracy(train_features, features, labels, num_classes, seed),
            "linear": linear_probe_accuracy(
                train_features, training.labels[chosen], features, labels
            ),
        }


def choose(num_images: int, num_chosen: int, seed: int) -> Tensor:
    """Return the numbers of so many images, drawn by the seed; of all, if there are fewer."""
    order = torch.randperm(num_images, generator=torch.Generator().manual_seed(seed))
    return order[:num_chosen]


def accuracy_of(classifier: Judge, images: Tensor, labels: Tensor) -> float:
    """Return a classifier's accuracy, in [0, 1]."""
    classes = torch.cat([classifier.judge(part)[1] for part in images.split(BATCH_SIZE)])
    return float((classes == labels).float().mean())
