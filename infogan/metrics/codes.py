"""Scores of the categories that Q reads from real images against their true factors."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.functional.clustering import (
    adjusted_rand_score,
    normalized_mutual_info_score,
)

from infogan.data import DataFactor
from infogan.metrics.variables import contingency

# In the place of a class's name, where no image was read as the category.
NEVER_READ = "never read"


def halves(num_images: int) -> tuple[Tensor, Tensor]:
    """Return the image numbers of two random halves, always the same for a number of images.

    Every other image would not do: where the classes take turns, a half would miss classes.
    """
    order = torch.randperm(num_images, generator=torch.Generator().manual_seed(0))
    return order[0::2], order[1::2]


def matched_accuracy(categories: Tensor, classes: Tensor, shape: tuple[int, int]) -> float:
    """Return the accuracy of the best one-to-one matching of categories to classes.

    The matching (Hungarian method) is made on one half of the images and scored on the other, so
    that it cannot profit from the images it is scored on. Unmatched categories count as wrong.

    Args:
        categories: Category of each image, (N,).
        classes: Class of each image, (N,).
        shape: Number of categories and of classes.

    Raises:
        ValueError: If there are fewer than two images.
    """
    if len(categories) < 2:
        raise ValueError(f"code accuracy needs at least 2 images, got {len(categories)}")
    matching, scoring = halves(len(categories))
    counts = contingency(categories[matching], classes[matching], shape)
    rows, columns = linear_sum_assignment(counts, maximize=True)
    held_out = contingency(categories[scoring], classes[scoring], shape)
    return float(held_out[rows, columns].sum() / held_out.sum())


def majority_accuracy(categories: Tensor, classes: Tensor, shape: tuple[int, int]) -> float:
    """Return the accuracy when each category is named by its most frequent class.

    Named on one half of the images, scored on the other. Several categories may take one class, so
    that it is the fair score when there are more categories than classes.

    Args:
        categories: Category of each image, (N,).
        classes: Class of each image, (N,).
        shape: Number of categories and of classes.
    """
    naming, scoring = halves(len(categories))
    counts = contingency(categories[naming], classes[naming], shape)
    held_out = contingency(categories[scoring], classes[scoring], shape)
    right = held_out[np.arange(shape[0]), counts.argmax(axis=1)]
    # A category that nothing names is no class, and wrong.
    return float(right[counts.any(axis=1)].sum() / held_out.sum())


class CodeScores(Metric):
    """Accuracy, NMI and ARI of categorical codes against discrete factors.

    Every factor is matched to one code (Hungarian method on the accuracies), and the scores are
    means over the factors; a factor without a code of its own counts 0.

    Args:
        categories: Number of categories by the position of the code.
        classes: The discrete factors, by their column.
    """

    full_state_update = False
    codes: list[Tensor]
    factors: list[Tensor]

    def __init__(self, categories: Mapping[int, int], classes: Mapping[int, DataFactor]) -> None:
        super().__init__()
        self.categories = dict(categories)
        self.classes = dict(classes)
        self.meanings: dict[int, list[str]] = {}
        self.order: dict[int, list[int]] = {}
        self.confusions: dict[int, tuple[DataFactor, np.ndarray]] = {}
        self.add_state("codes", default=[], dist_reduce_fx="cat")
        self.add_state("factors", default=[], dist_reduce_fx="cat")

    def update(self, codes: Sequence[Tensor], factors: Tensor) -> None:
        """Collect one batch.

        Args:
            codes: The category of each image by code, (batch,) each, for every code of the model.
            factors: True factors, (batch, factors).
        """
        self.codes.append(torch.stack([codes[i] for i in self.categories], dim=1))
        self.factors.append(factors[:, list(self.classes)].long())

    def compute(self) -> dict[str, Tensor]:
        """Return `code_accuracy`, `nmi`, `ari`, `majority_accuracy`; by factor if several.

        `code_accuracy_FACTOR` is there of every factor, always: of its own code or, where it has
        none, of the code that tells it best.
        """
        codes, factors = _joined(self.codes), _joined(self.factors)
        categories, classes = list(self.categories.values()), list(self.classes.values())
        shapes = [[(number, factor.num_values or 0) for factor in classes] for number in categories]
        accuracy = np.array(
            [
                [matched_accuracy(codes[:, i], factors[:, j], shape) for j, shape in enumerate(row)]
                for i, row in enumerate(shapes)
            ]
        )
        scores = dict.fromkeys(("code_accuracy", "majority_accuracy", "nmi", "ari"), 0.0)
        if len(classes) > 1:
            best = accuracy.max(axis=0)
            scores |= {f"code_accuracy_{name}": best[j] for j, (name, *_) in enumerate(classes)}
        # A code that was matched before may have no factor now.
        self.meanings, self.order, self.confusions = {}, {}, {}
        for i, j in zip(*linear_sum_assignment(accuracy, maximize=True), strict=True):
            code, factor = codes[:, i], factors[:, j]
            name, shape = classes[j].name, shapes[i][j]
            counts = contingency(code, factor, shape)
            position = list(self.categories)[i]
            self.meanings[position] = [
                classes[j].called(row.argmax()) if row.any() else NEVER_READ for row in counts
            ]
            self.order[position] = class_order(counts)
            self.confusions[position] = classes[j], counts
            if len(classes) > 1:
                scores[f"code_accuracy_{name}"] = accuracy[i, j]
            for key, value in (
                ("code_accuracy", accuracy[i, j]),
                ("majority_accuracy", majority_accuracy(code, factor, shape)),
                ("nmi", normalized_mutual_info_score(code, factor)),
                ("ari", adjusted_rand_score(code, factor)),
            ):
                scores[key] += float(value) / len(classes)
        return {name: torch.tensor(float(value)) for name, value in scores.items()}


def class_order(counts: np.ndarray) -> list[int]:
    """Return categories in the order of the classes that they name, those never read at the end.

    Args:
        counts: How often each category was read from each class, (categories, classes).
    """
    return sorted(
        range(len(counts)), key=lambda row: (not counts[row].any(), counts[row].argmax(), row)
    )


def _joined(state: list[Tensor] | Tensor) -> Tensor:
    """Return a list state as one tensor; after a reduction over ranks it is one already."""
    return torch.cat(state) if isinstance(state, list) else state
