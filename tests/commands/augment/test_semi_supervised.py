"""The semi-supervised study on a generator that is known to be good."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from infogan.commands.augment.inputs import CategoricalGAN, read_split
from infogan.commands.augment.naming import Namer
from infogan.commands.augment.report import Report
from infogan.commands.augment.study import Study
from infogan.commands.augment.training import Training
from infogan.latents import CategoricalCode, UniformCode
from infogan.modules import InfoGANModule
from infogan.modules.classifier import ClassifierModule
from tests.support.stripes import brightness, stripe_data, stripes

# Category k of DrawingGAN draws the stripe of class MEANINGS[k].
MEANINGS = [2, 0, 3, 1]

MakeStudy = Callable[..., Study]


class DrawingGAN(InfoGANModule):
    """Draws a category's stripe, and recognises stripes, without a mistake."""

    def generate(self, latent: Tensor) -> Tensor:
        categories = self.latents.split_codes(latent)[0].argmax(dim=1)
        return stripes(torch.tensor(MEANINGS)[categories])

    def recognize(self, images: Tensor) -> tuple[Tensor, ...]:
        return (brightness(images)[:, MEANINGS], images.new_zeros(len(images), 1))


@pytest.fixture
def make_study(tmp_path: Path) -> MakeStudy:
    """Return a maker of studies of DrawingGAN."""
    data = stripe_data(tmp_path)
    data.setup("fit")
    data.setup("test")
    gan = CategoricalGAN(
        DrawingGAN([CategoricalCode(4), UniformCode()], image_size=8).eval(), code_index=0
    )

    def make(**naming: Any) -> Study:
        return Study(
            gan,
            read_split(data, data.train_dataloader(), 0, gan),
            read_split(data, data.test_dataloader(), 0, gan),
            Namer(4, 4, "one_to_one", **naming),
            Training(num_classes=4, num_steps=20, batch_size=32, accelerator="cpu"),
            images_per_category=40,
        )

    return make


def test_one_label_a_class_names_every_category(make_study: MakeStudy) -> None:
    study = make_study()
    runs = list(study.runs([1, 5], {0: torch.empty(0), 1: torch.empty(0)}))
    assert [(run.seed, run.labels_per_class) for run in runs] == [(0, 1), (0, 5), (1, 1), (1, 5)]
    assert [run.names.tolist() for run in runs] == [MEANINGS] * 4


def test_generated_images_lift_a_classifier_with_one_label(
    make_study: MakeStudy, tmp_path: Path
) -> None:
    report = Report(tmp_path / "out", overwrite=False)
    make_study().run([1], [0, 1], report)
    accuracy: dict[str, list[float]] = {}
    for result in report.results:
        accuracy.setdefault(result.condition, []).append(result.accuracy)
    assert accuracy["recognition"] == [1, 1]
    assert min(accuracy["generated"]) > 0.95
    assert min(accuracy["generated"]) >= max(accuracy["labelled"])
    assert {result.naming_correct for result in report.results} == {4}


def test_swapped_names_are_counted_and_cost_accuracy(make_study: MakeStudy, tmp_path: Path) -> None:
    report = Report(tmp_path / "out", overwrite=False)
    make_study(category_names=[0, 2, 3, 1]).run([1], [0], report)
    accuracy = {result.condition: result.accuracy for result in report.results}
    assert accuracy["recognition"] == 0.5
    assert 0.4 < accuracy["generated"] < 0.6
    assert {result.naming_correct for result in report.results} == {2}


def test_a_classifier_names_the_categories_by_their_images(
    make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ClassifierModule, "forward", lambda self, images: brightness(images))
    study = make_study(classifier=ClassifierModule(4, image_size=8))
    (run,) = study.runs([1], {0: study.sample_categories(0)})
    assert run.names.tolist() == MEANINGS


def test_labelled_images_come_from_the_training_split_alone(
    make_study: MakeStudy,
) -> None:
    study = make_study()
    (run,) = study.runs([5], {0: torch.empty(0)})
    sets = study.training_sets(run, torch.zeros(4, 3, 1, 8, 8))
    labelled = sets["labelled"]
    assert labelled is not None
    assert labelled.labels.bincount().tolist() == [5, 5, 5, 5]

    def contents(images: Tensor) -> set[bytes]:
        return {(image * 255).round().byte().numpy().tobytes() for image in images}

    test = study.test.labelled_images()
    chosen = contents(labelled.images)
    assert len(chosen) == 20
    assert chosen <= contents(study.train.labelled_images().images)
    assert not chosen & contents(test.images)
    assert len(test.labels) == 80
    assert test.images.max() <= 1
    assert torch.equal(brightness(labelled.images).argmax(dim=1), labelled.labels)
    assert torch.equal(brightness(test.images).argmax(dim=1), test.labels)


def test_the_generated_images_bear_the_names_in_training(make_study: MakeStudy) -> None:
    study = make_study()
    generated = study.sample_categories(0)
    (run,) = study.runs([2], {0: generated})
    both = study.training_sets(run, generated)["generated"]
    assert both is not None
    assert len(both.labels) == 2 * 4 + 4 * 40
    assert torch.equal(brightness(both.images).argmax(dim=1), both.labels)


def test_seeds_draw_other_samples_and_the_same_seed_the_same(
    make_study: MakeStudy,
) -> None:
    study = make_study()
    first, second, again = (study.sample_categories(seed) for seed in (0, 1, 0))
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
