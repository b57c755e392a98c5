"""Appendix D's steps against results worked out by hand."""

import pytest
import torch
from torch import Tensor

from infogan.commands.augment.steps import (
    LabelledImages,
    add_images,
    choose_labelled,
    class_posteriors,
    sample_category,
    scores_by_labels,
    scores_by_votes,
)
from infogan.errors import ConfigurationError
from infogan.latents import CategoricalCode, LatentSpec, UniformCode
from infogan.metrics.matching import name_categories

# Step 3


@pytest.mark.parametrize("code_index", [0, 2])
def test_a_category_is_held_while_all_else_varies(code_index: int) -> None:
    latents = LatentSpec(5, (CategoricalCode(3), UniformCode(), CategoricalCode(4)))
    drawn: list[Tensor] = []

    def generate(latent: Tensor) -> Tensor:
        drawn.append(latent)
        return latent[:, :, None, None]

    images = sample_category(latents, code_index, 2, 200, generate)
    (latent,) = drawn
    assert torch.equal(images.flatten(1), latent)
    noise, codes = latent[:, :5], latents.split_codes(latent)
    assert codes[code_index].argmax(dim=1).unique().tolist() == [2]
    assert torch.equal(codes[code_index].sum(dim=1), torch.ones(200))
    other = codes[2 - code_index]
    assert len(other.argmax(dim=1).unique()) == other.shape[1]
    assert torch.equal(other.sum(dim=1), torch.ones(200))
    for column in (*noise.T, codes[1].squeeze(1)):
        assert len(column.unique()) == 200
        assert -1 <= column.min() < -0.9
        assert 0.9 < column.max() <= 1


# Step 4


def test_scores_are_the_mean_posteriors_of_each_class() -> None:
    posteriors = torch.tensor([[0.8, 0.2], [0.6, 0.4], [0.1, 0.9]])
    scores = scores_by_labels(posteriors, torch.tensor([1, 1, 0]), num_classes=3)
    expected = torch.tensor([[0.1, 0.7, 0.0], [0.9, 0.3, 0.0]])
    torch.testing.assert_close(scores, expected)


def test_scores_of_a_classifier_are_its_shares_of_votes() -> None:
    scores = scores_by_votes(torch.tensor([[0, 0, 1, 0], [2, 2, 2, 2]]), num_classes=3)
    torch.testing.assert_close(scores, torch.tensor([[0.75, 0.25, 0.0], [0.0, 0.0, 1.0]]))


def test_majority_may_give_a_class_twice_and_one_to_one_may_not() -> None:
    scores = torch.tensor([[0.9, 0.1, 0.0], [0.8, 0.3, 0.2], [0.1, 0.2, 0.7]])
    assert name_categories(scores, "majority").tolist() == [0, 0, 2]
    # 0.9 + 0.3 + 0.7 = 1.9 against 0.8 + 0.1 + 0.7 = 1.6
    assert name_categories(scores, "one_to_one").tolist() == [0, 1, 2]


def test_categories_beyond_the_classes_take_their_best_class() -> None:
    scores = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.1, 0.7], [0.2, 0.6]])
    assert name_categories(scores).tolist() == [0, 0, 1, 1]


def test_fewer_categories_than_classes_have_different_names() -> None:
    scores = torch.tensor([[0.5, 0.4, 0.0], [0.5, 0.1, 0.0]])
    assert name_categories(scores).tolist() == [1, 0]


def test_one_image_a_class_names_a_category_that_none_chose() -> None:
    # Category 2 is the first choice of no image, yet class 2 shows it most.
    posteriors = torch.tensor([[0.9, 0.1, 0.0], [0.2, 0.7, 0.1], [0.2, 0.5, 0.3]])
    scores = scores_by_labels(posteriors, torch.arange(3), num_classes=3)
    assert name_categories(scores).tolist() == [0, 1, 2]


def test_a_class_is_as_probable_as_its_categories_together() -> None:
    posteriors = torch.tensor([[0.3, 0.4, 0.3], [0.1, 0.8, 0.1]])
    classes = class_posteriors(posteriors, torch.tensor([1, 0, 1]), num_classes=3)
    torch.testing.assert_close(classes, torch.tensor([[0.4, 0.6, 0.0], [0.8, 0.2, 0.0]]))
    assert classes.argmax(dim=1).tolist() == [1, 0]


# Step 5


def test_images_join_the_class_of_their_categorys_name() -> None:
    labelled = LabelledImages(torch.full((2, 1, 4, 4), 9.0), torch.tensor([0, 1]))
    generated = torch.arange(3.0).reshape(3, 1, 1, 1, 1).expand(3, 2, 1, 4, 4)
    both = add_images(labelled, generated, torch.tensor([1, 0, 2]))
    assert both.images[:, 0, 0, 0].tolist() == [9, 9, 0, 0, 1, 1, 2, 2]
    assert both.labels.tolist() == [0, 1, 1, 1, 0, 0, 2, 2]


# The labels that are revealed


def test_labels_are_revealed_equally_and_a_smaller_choice_is_part_of_a_larger() -> None:
    labels = torch.arange(90) % 3
    one, five = (choose_labelled(labels, 3, number, seed=4) for number in (1, 5))
    assert labels[one].bincount().tolist() == [1, 1, 1]
    assert labels[five].bincount().tolist() == [5, 5, 5]
    assert set(one.tolist()) < set(five.tolist())
    assert len(five.unique()) == 15


def test_seeds_reveal_different_labels_and_one_seed_the_same() -> None:
    labels = torch.arange(90) % 3
    choices = [choose_labelled(labels, 3, 5, seed).tolist() for seed in (0, 1, 0)]
    assert choices[0] == choices[2] != choices[1]


def test_too_few_images_of_a_class_are_named() -> None:
    with pytest.raises(ConfigurationError, match="labels_per_class=2 .* the 1 .* of class 1"):
        choose_labelled(torch.tensor([0, 0, 0, 1]), 2, 2, seed=0)
