"""Remedies for unstable training (paper, sections 5.5 and 6) as pure functions."""

from itertools import combinations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def linear_decay(initial: float, step: int, num_steps: int) -> float:
    """Return a value that falls linearly from `initial` to 0 in `num_steps`; constant if that is 0.

    Args:
        initial: Value at step 0.
        step: Current step, counted in batches.
        num_steps: Steps until the value is 0.
    """
    return initial if num_steps == 0 else initial * max(0.0, 1.0 - step / num_steps)


def add_instance_noise(
    images: Float[Tensor, "..."], std: float | Float[Tensor, ""]
) -> Float[Tensor, "..."]:
    """Add Gaussian noise of the given std (in pixels of [0, 1]) to D's input, real or generated.

    Instance noise (Sonderby; Arjovsky & Bottou) makes the supports of the real and the generated
    distribution overlap. It is not the paper's trick, which sits in the real images only.
    """
    return images + std * torch.randn_like(images)


def mixed_difference_penalty(
    images: Float[Tensor, "batch ..."],
    first_changed: Float[Tensor, "batch ..."],
    second_changed: Float[Tensor, "batch ..."],
    both_changed: Float[Tensor, "batch ..."],
) -> Float[Tensor, ""]:
    """Return the mean square, over images and pixels, of the mixed second difference in two codes.

    G(a, b) - G(a', b) - G(a, b') + G(a', b') is the finite form of an off-diagonal element of the
    Hessian of G, which the Hessian penalty (Peebles et al. 2020, equation 1) drives to 0. Unlike a
    derivative it exists for categories. It is 0 if and only if each pixel is a sum of a function
    of the one code and a function of the other.

    Args:
        images: G(a, b).
        first_changed: G(a', b).
        second_changed: G(a, b').
        both_changed: G(a', b').
    """
    return (images - first_changed - second_changed + both_changed).square().mean()


def squared_cosines(
    changes: Float[Tensor, "directions batch pixels"],
) -> Float[Tensor, "pairs batch"]:
    """Return the squared cosine between any two changes of an image, in [0, 1].

    With changes G(c + h e_i) - G(c) they are the off-diagonal elements of J^T J, normalised, that
    orthogonal Jacobian regularization drives to 0 (Wei et al. 2021). No change counts as 0.

    Args:
        changes: Change of each image by each direction.
    """
    unit = F.normalize(changes, dim=2)
    # (pairs, batch): each pair of directions once
    return torch.stack([(a * b).sum(dim=1).square() for a, b in combinations(unit, 2)])


def r1_penalty(
    real_logits: Float[Tensor, "batch 1"], real_images: Float[Tensor, "batch ..."]
) -> Float[Tensor, ""]:
    """Return E[||grad_x D(x)||^2] / 2 at real images (Mescheder et al. 2018, equation 9).

    Args:
        real_logits: D's logits, computed from `real_images`.
        real_images: The images, which must require grad.
    """
    (gradient,) = torch.autograd.grad(real_logits.sum(), real_images, create_graph=True)
    return 0.5 * gradient.square().flatten(1).sum(dim=1).mean()
