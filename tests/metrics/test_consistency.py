"""What Q reads back from generated images."""

import pytest
import torch
from sklearn.metrics import r2_score

from infogan.latents import CategoricalCode, LatentSpec, UniformCode
from infogan.metrics.consistency import (
    SelfConsistency,
    class_agreement,
    coefficient_of_determination,
    share_equal,
)
from infogan.objectives import mutual_information_lower_bound

SPEC = LatentSpec(2, (CategoricalCode(3), UniformCode()))


def test_parts() -> None:
    value, reading = torch.rand(50), torch.rand(50)
    assert coefficient_of_determination(value, reading) == pytest.approx(r2_score(value, reading))
    assert coefficient_of_determination(torch.ones(5), torch.rand(5)) == 0
    assert share_equal(torch.tensor([0.0, 1, 2, 2]), torch.tensor([0.0, 2, 2, 1])) == 0.5


def test_class_agreement_goes_by_the_categories_names() -> None:
    """Category 0 names class 2, category 1 class 0."""
    categories, classes = torch.tensor([0, 0, 1, 1]), torch.tensor([2, 1, 0, 0])
    assert class_agreement(categories, classes, torch.tensor([2, 0])) == 0.75


def test_the_metric_is_the_functions_on_all_batches() -> None:
    """With a Q that is right on the category of two images in three."""
    latent = SPEC.sample(600)
    category, value = SPEC.split_codes(latent)
    wrong = torch.arange(600) % 3 == 0
    logits = 5 * torch.where(wrong[:, None], category.roll(1, dims=1), category)
    mean = value * 0.5 + 0.1 * torch.randn(600, 1)
    metric = SelfConsistency(SPEC)
    for part in torch.arange(600).split(250):
        metric.update(latent[part], (logits[part], mean[part]))
    found = {name: score.item() for name, score in metric.compute().items()}
    bound = mutual_information_lower_bound(SPEC, latent, torch.cat([logits, mean], dim=1))
    assert found == pytest.approx(
        {
            "self_consistency_categorical0": 2 / 3,
            "self_consistency_uniform1": r2_score(value, mean),
            "mi": bound.item(),
        },
        abs=1e-5,
    )
