"""The study: what each number of labels and seed gives, with and without sampled images."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from infogan.commands.augment.inputs import CategoricalGAN, Split, read_split
from infogan.commands.augment.naming import Namer
from infogan.commands.augment.report import Report, Result
from infogan.commands.augment.steps import (
    LabelledImages,
    add_images,
    choose_labelled,
    class_posteriors,
    sample_category,
)
from infogan.commands.augment.training import Training

CLASSIFIERS_PER_RUN = 4


@dataclass(frozen=True)
class Run:
    """One seed and one number of labels: what is revealed, and the categories' names then.

    Args:
        labels_per_class: Labelled images a class.
        seed: Seed of the choice, the samples and the weights.
        chosen: Numbers of the training images whose labels are revealed.
        names: Class of each category, (categories,).
    """

    labels_per_class: int
    seed: int
    chosen: Tensor
    names: Tensor


@dataclass(frozen=True)
class Study:
    """Compare what classifiers can be trained on.

    Args:
        gan: The trained InfoGAN.
        train: The training images; a run reveals the labels of those it chooses.
        test: The test images.
        namer: Names the categories.
        training: How classifiers are trained.
        images_per_category: Images to sample of each category.
    """

    gan: CategoricalGAN
    train: Split
    test: Split
    namer: Namer
    training: Training
    images_per_category: int

    @classmethod
    def of(
        cls,
        gan: CategoricalGAN,
        data: pl.LightningDataModule,
        column: int,
        namer: Namer,
        training: Training,
        images_per_category: int,
    ) -> Self:
        """Return the study on a datamodule's images, whose factor in a column is the class."""
        data.prepare_data()
        data.setup("fit")
        data.setup("test")
        print("Q reads the training and the test images ...", flush=True)
        train = read_split(data, data.train_dataloader(), column, gan)
        test = read_split(data, data.test_dataloader(), column, gan)
        return cls(gan, train, test, namer, training, images_per_category)

    def run(self, labels_per_class: Sequence[int], seeds: Sequence[int], report: Report) -> None:
        """Sample, name, train and test; report each result as soon as it is there."""
        print(f"G draws {self.images_per_category} images a category and seed ...", flush=True)
        generated = {seed: self.sample_categories(seed) for seed in seeds}
        runs = list(self.runs(labels_per_class, generated))
        report.start(CLASSIFIERS_PER_RUN * len(runs))
        report.save_picture(generated[seeds[0]], [run.names for run in runs])
        known = self.namer.by_labels(self.train.posteriors, self.train.labels)
        test = self.test.labelled_images()
        for run in runs:
            naming_correct = int((run.names == known).sum())
            for condition, training in self.training_sets(run, generated[run.seed]).items():
                start = time.perf_counter()
                accuracy = self.accuracy(run, condition, training, test)
                steps = 0 if training is None else self.training.num_steps
                report.add(
                    Result(
                        labels_per_class=run.labels_per_class,
                        seed=run.seed,
                        condition=condition,
                        accuracy=round(accuracy, 6),
                        naming_correct=naming_correct,
                        steps=steps,
                        seconds=round(time.perf_counter() - start, 2),
                    )
                )

    def sample_categories(self, seed: int) -> Tensor:
        """Step 3: return images of all categories, (categories, per_category, C, H, W)."""
        torch.manual_seed(derived_seed(seed, "samples"))
        latents, index = self.gan.module.latents, self.gan.code_index
        number, generate = self.images_per_category, self.gan.generate
        categories = range(self.gan.num_categories)
        return torch.stack(
            [sample_category(latents, index, k, number, generate) for k in categories]
        )

    def runs(
        self, labels_per_class: Sequence[int], generated: Mapping[int, Tensor]
    ) -> Iterator[Run]:
        """Reveal labels and name the categories (step 4), for each seed and number of labels."""
        for seed, images in generated.items():
            names = self.namer.by_samples(images)
            for number in labels_per_class:
                chosen = choose_labelled(self.train.labels, self.namer.num_classes, number, seed)
                posteriors, labels = self.train.posteriors[chosen], self.train.labels[chosen]
                by_labels = self.namer.by_labels(posteriors, labels) if names is None else names
                yield Run(number, seed, chosen, by_labels)

    def training_sets(self, run: Run, generated: Tensor) -> dict[str, LabelledImages | None]:
        """Return what is trained on, by condition (step 5); None for Q itself, without training."""
        labelled = self.train.labelled_images(run.chosen)
        both = add_images(labelled, generated, run.names)
        return {
            "recognition": None,
            "labelled": labelled,
            "geometric": labelled,
            "generated": both,
            "generated+geometric": both,
        }

    def accuracy(
        self, run: Run, condition: str, training: LabelledImages | None, test: LabelledImages
    ) -> float:
        """Return one classifier's accuracy on the test images, in [0, 1]."""
        if training is None:
            scores = class_posteriors(self.test.posteriors, run.names, self.namer.num_classes)
            return (scores.argmax(dim=1) == test.labels).float().mean().item()
        # The same weights and order in every condition, so that their differences are paired.
        seed = derived_seed(run.seed, "training", run.labels_per_class)
        return self.training.accuracy(training, test, condition.endswith("geometric"), seed)


def derived_seed(seed: int, purpose: str, number: int = 0) -> int:
    """Return a seed of its own for each purpose and number, from the study's seed."""
    key = (*purpose.encode(), number)
    return int(np.random.SeedSequence(seed, spawn_key=key).generate_state(1)[0])
