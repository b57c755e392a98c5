"""Give categories the names of classes."""

from typing import Literal

import torch
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor

Matching = Literal["one_to_one", "majority"]


def name_categories(
    scores: Float[Tensor, "categories classes"], matching: Matching = "one_to_one"
) -> Int[Tensor, " categories"]:
    """Step 4: identify each category's set of images with a class.

    Args:
        scores: How much speaks for each class; higher is better.
        matching: `majority` gives each category its best class; `one_to_one` maximises the sum of
            the scores with no class given twice (Hungarian method), and gives categories beyond
            the number of classes their best.
    """
    names = scores.argmax(dim=1)
    if matching == "one_to_one":
        categories, classes = linear_sum_assignment(scores.numpy(force=True), maximize=True)
        names[torch.from_numpy(categories)] = torch.from_numpy(classes).to(names)
    return names
