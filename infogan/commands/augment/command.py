"""The command `augment`: does an InfoGAN as data augmentation help a classifier (appendix D)?"""

from pathlib import Path

import pytorch_lightning as pl

from infogan.commands.augment.inputs import CategoricalGAN, find_factor, selection_metric
from infogan.commands.augment.naming import Namer
from infogan.commands.augment.report import Report
from infogan.commands.augment.study import Study
from infogan.commands.augment.training import Training, device_of
from infogan.errors import ConfigurationError
from infogan.metrics.matching import Matching
from infogan.modules.classifier import ClassifierModule
from infogan.modules.loading import load_module


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
            that was kept for its code accuracy, whose choice has seen labels of held-out images.
        data: Data that the InfoGAN was trained on, `labelled`: its training images give the labels.
        output: Folder to write.
        labels_per_class: Numbers of labelled images a class to compare, such as `[1,10]`.
        images_per_category: Images to sample of each category, Y in the paper.
        seeds: Each draws its own labelled images, samples and initial weights.
        num_steps: Optimizer steps of every classifier, whatever it is trained on.
        batch_size: Images a step, drawn with replacement from all that it is trained on.
        classifier_path: Checkpoint of a ClassifierModule that names the categories by their
            images; null names them by what Q reads from the few labelled images.
        category_names: Class of each category, `[7,0,...]`, named by you who saw generated.png.
        matching: `one_to_one`: no class twice while others have none; `majority`: the best class.
        code: Name of the categorical code, such as `categorical0`; null for the first one.
        factor: Name of the factor to classify by, such as `digit`; null for the first discrete.
        accelerator: `auto`, `cpu`, `gpu` and so on, as Lightning's Trainer has it.
        overwrite: Whether to write into an output folder that has files already.

    Raises:
        ConfigurationError: If checkpoint, data and options do not fit together.
    """
    check_at_least(1, images_per_category=(images_per_category,), num_steps=(num_steps,))
    check_at_least(1, labels_per_class=labels_per_class)
    check_at_least(0, seeds=seeds)
    check_at_least(2, batch_size=(batch_size,))
    report = Report(output, overwrite)
    gan = CategoricalGAN.load(ckpt_path, code, device_of(accelerator))
    column, num_classes = find_factor(data, factor)
    classifier = None if classifier_path is None else load_module(classifier_path, ClassifierModule)
    namer = Namer(gan.num_categories, num_classes, matching, classifier, category_names)
    training = Training(num_classes, num_steps, batch_size, accelerator)
    study = Study.of(gan, data, column, namer, training, images_per_category)
    study.run(labels_per_class, seeds, report)
    table = report.save_table(setting(ckpt_path, study), gan.num_categories)
    print(f"\n{table}\n\nMore in {output.resolve()}")


def setting(ckpt_path: Path, study: Study) -> list[str]:
    """Say how the study was set up, a line a fact."""
    training = study.training
    lines = [
        f"InfoGAN: `{ckpt_path}`, {study.gan.num_categories} categories, "
        f"{study.images_per_category} images of each; the classifiers see them as if they were "
        "real",
        f"categories named by {study.namer.describe()}",
        f"data: {type(study.train.data).__name__}, {len(study.train.labels)} training images, of "
        f"which the labelled are drawn, and {len(study.test.labels)} test images",
        f"every classifier: {training.num_steps} steps of {training.batch_size} images, no "
        "selection by accuracy",
    ]
    if (metric := selection_metric(ckpt_path)) is not None:
        lines.append(
            f"caution: this checkpoint was kept for its {metric}, which has seen labels of "
            "held-out images (of the test images in a run without a validation split); "
            "`last.ckpt` is free of that choice"
        )
    return lines


def check_at_least(minimum: int, **options: tuple[int, ...]) -> None:
    """Refuse options that are empty or have a value below the minimum.

    Raises:
        ConfigurationError: For the first such option.
    """
    for name, values in options.items():
        if not values or min(values) < minimum:
            given = ",".join(map(str, values))
            raise ConfigurationError(f"{name}=[{given}]: give numbers of at least {minimum}")
