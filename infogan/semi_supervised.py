"""The command `augment`: does an InfoGAN as data augmentation help a classifier (appendix D)?"""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from infogan.augmentation import (
    LabelledImages,
    Matching,
    add_images,
    choose_labelled,
    class_posteriors,
    name_categories,
    sample_category,
    scores_by_labels,
    scores_by_votes,
)
from infogan.errors import ConfigurationError
from infogan.labelled_data import LabelledData, Split
from infogan.modules.classifier import ClassifierModule
from infogan.semi_supervised_report import Report, Result
from infogan.trained_models import CategoricalGAN, load_module, train_classifier

# What each classifier is trained on; `recognition` is Q with named categories, without training.
CONDITIONS = ("labelled", "geometric", "generated", "generated+geometric")
Names = dict[tuple[int, int], Tensor]


def augment(
    ckpt_path: Path,
    data: pl.LightningDataModule,
    output: Path = Path("augment"),
    labels_per_class: tuple[int, ...] = (1, 5, 10, 50, 100),
    images_per_category: int = 1000,
    seeds: tuple[int, ...] = (0, 1, 2),
    num_steps: int = 150,
    batch_size: int = 64,
    classifier_path: Path | None = None,
    category_names: tuple[int, ...] | None = None,
    matching: Matching = "one_to_one",
    code: str | None = None,
    factor: str | None = None,
    accelerator: str = "auto",
    overwrite: bool = False,
) -> None:
    """Measure an InfoGAN as data augmentation for a classifier with few labels (appendix D).

    Samples images of each category, names the categories, trains classifiers with and without the
    sampled images and reports their accuracy on the test images, with geometric augmentation and
    Q itself as a classifier beside them. Writes results.csv, results.md and generated.png.

    Args:
        ckpt_path: Checkpoint of an InfoGAN with a categorical code. Better `last.ckpt` than one
            that was kept for its code accuracy, whose choice has seen the test labels.
        data: Datamodule that the InfoGAN was trained on. The few labels come from its training
            images, so its `labelled` must be true; accuracy is taken on its test images.
        output: Folder to write.
        labels_per_class: Numbers of labelled images a class to compare, such as `[1,10]`.
        images_per_category: Images to sample of each category, Y in the paper.
        seeds: Each draws its own labelled images, samples and initial weights.
        num_steps: Optimizer steps of every classifier, whatever it is trained on.
        batch_size: Images a step, drawn with replacement from all that it is trained on.
        classifier_path: Checkpoint of a ClassifierModule that names the categories by their
            images; null names them by what Q reads from the few labelled images.
        category_names: The class of each category, such as `[7,0,...]`, if you name them yourself
            after a look at generated.png.
        matching: `one_to_one` gives no class to two categories while others have none;
            `majority` gives each category its best class.
        code: Name of the categorical code, such as `categorical0`; null for the first one.
        factor: Name of the factor to classify by, such as `digit`; null for the first discrete.
        accelerator: `auto`, `cpu`, `gpu` and so on, as Lightning's Trainer has it.
        overwrite: Whether to write into an output folder that has files already.

    Raises:
        ConfigurationError: If checkpoint, data and options do not fit together.
    """
    check_counts(
        labels_per_class=labels_per_class,
        images_per_category=(images_per_category,),
        num_steps=(num_steps,),
        batch_size=(batch_size - 1,),  # batch normalisation needs two images
    )
    gan = CategoricalGAN.load(ckpt_path, code, accelerator)
    labelled_data = LabelledData(data, factor, gan.module.image_shape)
    namer = Namer(gan, labelled_data, matching, classifier_path, category_names)
    report = Report(output, overwrite)
    report.say(f"Q reads the training and the test images of {type(data).__name__} ...")
    train, test = labelled_data.read("train", gan), labelled_data.read("test", gan)
    report.say(f"The generator draws {images_per_category} images a category and seed ...")
    generated = {seed: sample_categories(gan, images_per_category, seed) for seed in seeds}
    ...
