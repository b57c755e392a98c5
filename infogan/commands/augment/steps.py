"""Appendix D: a generator's categories as data augmentation, one pure function a step.

Steps 1 and 2 are the training of an InfoGAN whose categorical code matches the labels of the data.
Step 3 is `sample_category`, step 4 `name_categories`, step 5 `add_images`; step 6 names the
technique that it resembles, transforming the images: `RandomAffine`.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from infogan.errors import ConfigurationError
from infogan.latents import LatentSpec


class LabelledImages(NamedTuple):
    """Images in [0, 1] and the class of each."""

    images: Float[Tensor, "number channels side side"]
    labels: Int[Tensor, " number"]


def sample_category(
    latents: LatentSpec,
    code_index: int,
    category: int,
    num_images: int,
    generate: Callable[[Tensor], Tensor],
) -> Float[Tensor, "num_images channels side side"]:
    """Step 3: draw images of one category; the other codes and the noise vary freely.

    Args:
        latents: The layout of (z, c).
        code_index: Position of the categorical code among the codes.
        category: The value at which this code is held.
        num_images: Number of images, Y in the paper.
        generate: G, from (z, c) to images in [0, 1].
    """
    latent = latents.sample(num_images)
    code = latents.split_codes(latent)[code_index]  # a view
    code.copy_(F.one_hot(torch.tensor(category), code.shape[1]))
    return generate(latent)


def scores_by_labels(
    posteriors: Float[Tensor, "images categories"],
    labels: Int[Tensor, " images"],
    num_classes: int,
) -> Float[Tensor, "categories classes"]:
    """Score each class for each category: the mean Q(category|x) over its labelled images.

    Probabilities, not votes, so that a category also has something to go by that is the first
    choice for none of the few images. A class without images scores 0.
    """
    membership = F.one_hot(labels, num_classes).to(posteriors)  # (images, classes)
    return posteriors.T @ membership / membership.sum(dim=0).clamp(min=1)


def scores_by_votes(
    votes: Int[Tensor, "categories images"], num_classes: int
) -> Float[Tensor, "categories classes"]:
    """Score each class for each category: the share of its images that a classifier gives it."""
    return F.one_hot(votes, num_classes).float().mean(dim=1)


def class_posteriors(
    posteriors: Float[Tensor, "images categories"],
    names: Int[Tensor, " categories"],
    num_classes: int,
) -> Float[Tensor, "images classes"]:
    """Return Q's probability of each class: the sum over the categories of that name."""
    return posteriors.new_zeros(len(posteriors), num_classes).index_add_(1, names, posteriors)


def add_images(
    labelled: LabelledImages,
    generated: Float[Tensor, "categories per_category channels side side"],
    names: Int[Tensor, " categories"],
) -> LabelledImages:
    """Step 5: add each category's images to the class of its name, as if they were real."""
    return LabelledImages(
        torch.cat([labelled.images, generated.flatten(0, 1)]),
        torch.cat([labelled.labels, names.repeat_interleave(generated.shape[1])]),
    )


def choose_labelled(
    labels: Int[Tensor, " images"], num_classes: int, labels_per_class: int, seed: int
) -> Int[Tensor, " chosen"]:
    """Return the numbers of the images whose labels are revealed: equally many a class.

    For one seed, the images of a smaller choice are among those of a larger one.

    Raises:
        ConfigurationError: If a class has too few images.
    """
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    chosen = []
    for label in range(num_classes):
        members = (labels == label).nonzero().squeeze(1)
        if len(members) < labels_per_class:
            raise ConfigurationError(
                f"labels_per_class={labels_per_class} is more than the {len(members)} training "
                f"images of class {label}: give fewer"
            )
        chosen.append(members[torch.from_numpy(rng.permutation(len(members)))][:labels_per_class])
    return torch.cat(chosen)
