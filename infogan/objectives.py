"""The paper's objectives as pure functions: no optimizer, no logger, no device.

D's outputs are logits l, with D(x) = 1 / (1 + exp(-l)); then -log D = softplus(-l) and
-log(1 - D) = softplus(l), finite for every finite logit. All values are in nats.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from infogan.latents import LatentSpec


def discriminator_loss(
    real_logits: Float[Tensor, "real 1"],
    fake_logits: Float[Tensor, "fake 1"],
    label_smoothing: float = 0.0,
) -> Float[Tensor, ""]:
    """Return -V(D, G) of equation 1, with one-sided label smoothing.

    -E[a log D(x) + (1 - a) log(1 - D(x))] - E[log(1 - D(G(z)))] with a = 1 - label_smoothing.
    """
    # a softplus(-l) + (1 - a) softplus(l) = softplus(-l) + (1 - a) l
    real = F.softplus(-real_logits) + label_smoothing * real_logits
    return real.mean() + F.softplus(fake_logits).mean()


def non_saturating_generator_loss(fake_logits: Float[Tensor, "fake 1"]) -> Float[Tensor, ""]:
    """Return -E[log D(G(z))], the alternative objective of section 2.1."""
    return F.softplus(-fake_logits).mean()


def minimax_generator_loss(fake_logits: Float[Tensor, "fake 1"]) -> Float[Tensor, ""]:
    """Return E[log(1 - D(G(z)))], the generator's side of equation 1."""
    return -F.softplus(fake_logits).mean()


GENERATOR_LOSSES = {
    "non_saturating": non_saturating_generator_loss,
    "minimax": minimax_generator_loss,
}


def jensen_shannon_estimate(
    real_logits: Float[Tensor, "real 1"], fake_logits: Float[Tensor, "fake 1"]
) -> Float[Tensor, ""]:
    """Return the Jensen-Shannon divergence that D's loss implies, in nats.

    At the optimal D, V = -2 ln 2 + 2 JSD with JSD the half-sum form, at most ln 2 (equation 2
    writes the full sum, twice this); for any other D this is a lower bound of it.
    """
    return math.log(2) - 0.5 * discriminator_loss(real_logits, fake_logits)


class Information(NamedTuple):
    """Equation 4 by code, in nats: I(c; g) >= entropy - cross_entropy."""

    entropy: Float[Tensor, " codes"]
    cross_entropy: Float[Tensor, " codes"]
    reference_entropy: Float[Tensor, " codes"]

    @property
    def lower_bound(self) -> Float[Tensor, " codes"]:
        """L_I(G, Q) by code: H(c) - E[-log Q(c|g)], with the prior's true entropy."""
        return self.entropy - self.cross_entropy

    @property
    def gaussian_prior_estimate(self) -> Float[Tensor, " codes"]:
        """The original implementation's estimate, which scores uniform codes under N(0, 1)."""
        return self.reference_entropy - self.cross_entropy


def code_information(
    latents: LatentSpec,
    latent: Float[Tensor, "batch dim"],
    parameters: Float[Tensor, "batch num_parameters"],
) -> Information:
    """Return the terms of equation 4 by code for codes c and Q's reading of g.

    Args:
        latents: The layout of `latent` and of `parameters`.
        latent: The (z, c) that was sampled.
        parameters: Q's posterior parameters, read from g.
    """
    triples = list(
        zip(
            latents.codes,
            latents.split_codes(latent),
            latents.split_parameters(parameters),
            strict=True,
        )
    )
    log_q = [code.posterior_log_prob(c, q).mean() for code, c, q in triples]
    log_reference = [code.reference_log_prob(c).mean() for code, c, _ in triples]
    return Information(
        # Filled on the device, where new_tensor would copy from the host in every step.
        entropy=torch.stack([parameters.new_full((), code.entropy) for code in latents.codes]),
        cross_entropy=-torch.stack(log_q),
        reference_entropy=-torch.stack(log_reference),
    )


def mutual_information_lower_bound(
    latents: LatentSpec,
    latent: Float[Tensor, "batch dim"],
    parameters: Float[Tensor, "batch num_parameters"],
) -> Float[Tensor, ""]:
    """Return L_I(G, Q) of all codes together: the lower bound of I(c; g) in equation 3."""
    return code_information(latents, latent, parameters).lower_bound.sum()


def clustering_loss(
    first_logits: Float[Tensor, "batch categories"],
    second_logits: Float[Tensor, "views categories"],
    balance_weight: float = 1.0,
    log_mean_over_ranks: Callable[[Tensor], Tensor] = lambda log_values: log_values,
) -> Float[Tensor, ""]:
    """Return E[-p . log q] + E[H(p)] - balance_weight H(E[p]), in nats.

    With p and q what Q reads from two views of an image: they shall agree, be certain of one
    category, and use all categories equally. H(E[p]) - E[H(p)] is the mutual information of image
    and reading (Krause et al. 2010); the first term makes it survive the change of view.

    Args:
        first_logits: Q's logits of a batch of real images.
        second_logits: Q's logits of another view of its first images.
        balance_weight: Weight of the entropy of the mean reading.
        log_mean_over_ranks: Turns the log of a batch's mean reading into that of all batches that
            are read together; by default there is one.
    """
    log_p, log_q = first_logits.log_softmax(dim=1), second_logits.log_softmax(dim=1)
    p = log_p.exp()
    # p is the target here, and does not move towards q.
    agreement = -(p[: len(log_q)].detach() * log_q).sum(dim=1).mean()
    uncertainty = -(p * log_p).sum(dim=1).mean()
    # The mean in log space, finite for every logit.
    log_mean = log_mean_over_ranks(log_p.logsumexp(dim=0) - math.log(len(log_p)))
    balance = -(log_mean.exp() * log_mean).sum()
    return agreement + uncertainty - balance_weight * balance
