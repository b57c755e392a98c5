"""Step 4 of appendix D: who names the categories."""

from collections.abc import Sequence

import torch
from torch import Tensor

from infogan.commands.augment.steps import scores_by_labels, scores_by_votes
from infogan.errors import ConfigurationError
from infogan.metrics.matching import Matching, name_categories
from infogan.modules.classifier import ClassifierModule


class Namer:
    """Name categories by labelled images, by a classifier, or as a person has done.

    Args:
        num_categories: Number of categories, Z in the paper.
        num_classes: Number of classes.
        matching: As in `name_categories`.
        classifier: Classifies the sampled images; None to use the labelled images.
        category_names: The class of each category, named by hand; None to find out.

    Raises:
        ConfigurationError: If the classifier or the names do not fit, or both are given.
    """

    def __init__(
        self,
        num_categories: int,
        num_classes: int,
        matching: Matching,
        classifier: ClassifierModule | None = None,
        category_names: Sequence[int] | None = None,
    ) -> None:
        if classifier is not None and category_names is not None:
            raise ConfigurationError(
                "classifier_path and category_names are both given: leave one out, a category "
                "takes one name"
            )
        if classifier is not None and classifier.num_classes != num_classes:
            raise ConfigurationError(
                f"the classifier in classifier_path knows {classifier.num_classes} classes and the "
                f"data has {num_classes}: give one that was trained on the data"
            )
        if category_names is not None and (
            len(category_names) != num_categories
            or not set(category_names) <= set(range(num_classes))
        ):
            raise ConfigurationError(
                f"category_names={list(category_names)} must give each of the {num_categories} "
                f"categories a class from 0 to {num_classes - 1}"
            )
        self.num_classes = num_classes
        self.matching = matching
        self.classifier = classifier
        self.category_names = category_names

    def describe(self) -> str:
        """Say who names, for the report."""
        if self.category_names is not None:
            return "hand"
        who = "Q's reading of the labelled images" if self.classifier is None else "a classifier"
        return f"{who} (matching: {self.matching})"

    def by_samples(self, generated: Tensor) -> Tensor | None:
        """Return the names that need no labels, (categories,), or None if labels must be read.

        Args:
            generated: (categories, per_category, channels, side, side).
        """
        if self.category_names is not None:
            return torch.tensor(self.category_names)
        if self.classifier is None:
            return None
        with torch.no_grad():
            votes = torch.stack([self.classifier(images).argmax(dim=1) for images in generated])
        return name_categories(scores_by_votes(votes, self.num_classes), self.matching)

    def by_labels(self, posteriors: Tensor, labels: Tensor) -> Tensor:
        """Return the names, (categories,), that Q's reading of labelled images suggests.

        Args:
            posteriors: Q(category|x), (images, categories).
            labels: Class of each image, (images,).
        """
        scores = scores_by_labels(posteriors, labels, self.num_classes)
        return name_categories(scores, self.matching)
