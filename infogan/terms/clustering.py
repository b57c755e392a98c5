"""Cluster the real images by the categorical codes."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, distributed
from torch.distributed.nn.functional import all_reduce

from infogan.differentiable_augmentation import DifferentiableAugmentation
from infogan.errors import check_at_least
from infogan.latents import CategoricalCode, LatentSpec
from infogan.objectives import clustering_loss
from infogan.terms.term import CodeTerm, RealReadings, SeenView, View


@dataclass(frozen=True)
class Clustering(CodeTerm):
    """Let Q cluster the real images by its categorical codes.

    InfoGAN trains Q on generated images alone. Here Q must also read the real images with
    confidence, use all categories equally often, and read two augmented views alike (RIM, Krause
    et al. 2010; IMSAT, Hu et al. 2017). The loss is `objectives.clustering_loss`, in nats. It is
    what I(c; x) of section 5.4 can mean, with c read from x. The prior knowledge is that classes
    are equally frequent and survive the augmentation.

    Args:
        weight: Weight of the clustering loss.
        balance_weight: Weight, within it, of the entropy of the mean reading.
        augmentation: Transformation of the second view, before D's own. It must not change the
            class; it may change what the other codes read. None for none.

    Raises:
        ValueError: If a weight is negative, or no code is categorical.
    """

    weight: float = 0.3
    balance_weight: float = 2.0
    augmentation: DifferentiableAugmentation | None = None
    num_views = 1

    def __post_init__(self) -> None:
        check_at_least(clustering_weight=(self.weight, 0), balance_weight=(self.balance_weight, 0))

    def check(self, latents: LatentSpec) -> None:
        if not any(isinstance(code, CategoricalCode) for code in latents.codes):
            raise ValueError(
                "codes has no CategoricalCode to cluster by; add one or leave Clustering out"
            )

    def views(self, real: Tensor, fake: Tensor) -> tuple[View, ...]:
        """Return the first half of the real batch once more: half the cost, the same direction."""
        images = real[: (len(real) + 1) // 2]
        return (View(images if self.augmentation is None else self.augmentation(images)),)

    def discriminator_loss(self, real: RealReadings, views: Sequence[SeenView]) -> Tensor:
        """Return the weighted clustering loss of all categorical codes, in nats."""
        codes = real.game.latents.codes
        readings = zip(codes, real.parameters, real.game.read(views[0].features), strict=True)
        losses = [
            clustering_loss(first, second, self.balance_weight, log_mean_over_ranks)
            for code, first, second in readings
            if isinstance(code, CategoricalCode)
        ]
        loss = torch.stack(losses).sum()
        real.game.record(clustering_loss=loss)
        return self.weight * loss


def log_mean_over_ranks(log_values: Tensor) -> Tensor:
    """Return the log of the mean of exp(log_values) over all ranks, which the gradient passes.

    The mean of the gradients over the ranks, as DDP takes it, is that of one process on all images.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return log_values
    largest = log_values.detach().clone()
    distributed.all_reduce(largest, distributed.ReduceOp.MAX)
    total = all_reduce((log_values - largest).exp())
    return largest + (total / distributed.get_world_size()).log()
