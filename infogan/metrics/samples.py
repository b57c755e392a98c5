"""How near generated images come to real ones, by the features of a frozen network."""

import math
import warnings
from collections.abc import Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance
from torchmetrics.utilities import dim_zero_cat

from infogan.seeding import seeded

RealFeatures = Float[Tensor, "real features"]
FakeFeatures = Float[Tensor, "fake features"]

CHUNK_SIZE = 1000  # of 10,000 images' distances to 10,000 others, 40 MB at a time
KERNEL_SUBSETS, KERNEL_SUBSET_SIZE = 100, 1000  # as Binkowski et al. 2018


class Given(nn.Identity):
    """Stand for the network where features have been extracted already.

    Args:
        num_features: Width of the features.
    """

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features


def frechet_distance(real: RealFeatures, fake: FakeFeatures) -> float:
    """Return FID's distance |m - m'|^2 + Tr(S + S' - 2 (S S')^(1/2)) of two sets of features.

    It falls with the number of images, so compare figures of equally many.

    Raises:
        ValueError: If a set has fewer than two images.
    """
    if min(len(real), len(fake)) < 2:
        raise ValueError(
            f"FID needs at least 2 real and 2 generated images, got {len(real)} and {len(fake)}"
        )
    distance = FrechetInceptionDistance(Given(real.shape[1]), sync_on_compute=False)
    distance.to(real.device)
    distance.update(real, real=True)
    distance.update(fake, real=False)
    return float(distance.compute())


def kernel_distance(real: RealFeatures, fake: FakeFeatures, seed: int = 0) -> float:
    """Return KID: the squared maximum mean discrepancy under a cubic kernel.

    It is the mean over random subsets of at most 1,000 images, and unbiased: of equal distributions
    it is 0 on average, and below 0 half of the time.

    Args:
        real: Features of real images.
        fake: Features of generated ones.
        seed: Seed of the subsets.

    Raises:
        ValueError: If a set has fewer than two images.
    """
    size = min(len(real), len(fake), KERNEL_SUBSET_SIZE)
    if size < 2:
        raise ValueError(
            f"KID needs at least 2 real and 2 generated images, got {len(real)} and {len(fake)}"
        )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*will save all extracted features in buffer.*")
        distance = KernelInceptionDistance(
            Given(real.shape[1]), KERNEL_SUBSETS, size, sync_on_compute=False
        )
    distance.update(real, real=True)
    distance.update(fake, real=False)
    with seeded(seed):
        return float(distance.compute()[0])


def manifold_scores(
    real: RealFeatures, fake: FakeFeatures, num_neighbors: int = 5
) -> dict[str, float]:
    """Return precision, recall, density and coverage by balls around images in feature space.

    A ball reaches to the image's num_neighbors-th neighbour of its own set. Precision is the share
    of generated images within a ball of a real one, recall the share of real images within one of
    a generated one (Kynkaanniemi et al. 2019); density is the mean number of real balls that a
    generated image lies in, over num_neighbors, and coverage the share of real balls with a
    generated image (Naeem et al. 2020). All but density are in [0, 1].

    Raises:
        ValueError: If a set has no more than num_neighbors images.
    """
    if min(len(real), len(fake)) <= num_neighbors:
        raise ValueError(
            f"num_neighbors={num_neighbors} needs more real and generated images than that, got "
            f"{len(real)} and {len(fake)}"
        )
    real_radius, fake_radius = radii(real, num_neighbors), radii(fake, num_neighbors)
    balls_hit = torch.zeros(len(fake), device=fake.device)
    covered = torch.zeros(len(real), dtype=torch.bool, device=real.device)
    recalled = covered.clone()
    for rows, distances in distances_by_chunk(real, fake):
        inside = distances <= real_radius[rows, None]
        balls_hit += inside.sum(dim=0)
        covered[rows] = inside.any(dim=1)
        recalled[rows] = (distances <= fake_radius).any(dim=1)
    return {
        "precision": float((balls_hit > 0).float().mean()),
        "recall": float(recalled.float().mean()),
        "density": float(balls_hit.mean()) / num_neighbors,
        "coverage": float(covered.float().mean()),
    }


def radii(
    features: Float[Tensor, "images features"], num_neighbors: int
) -> Float[Tensor, " images"]:
    """Return each image's distance to its num_neighbors-th neighbour in the same set."""
    return torch.cat(
        [
            # The nearest of all is the image itself.
            distances.kthvalue(num_neighbors + 1, dim=1).values
            for _, distances in distances_by_chunk(features, features)
        ]
    )


def distances_by_chunk(
    first: Float[Tensor, "first features"], second: Float[Tensor, "second features"]
) -> Iterator[tuple[Int[Tensor, " chunk"], Float[Tensor, "chunk second"]]]:
    """Yield numbers of images of the first set and their distances to all of the second."""
    for rows in torch.arange(len(first), device=first.device).split(CHUNK_SIZE):
        yield rows, torch.cdist(first[rows], second)


def class_balance(classes: Int[Tensor, " images"], num_classes: int) -> dict[str, float]:
    """Return the entropy of the classes' shares and their KL divergence to equal shares, in nats.

    Of equally frequent classes the entropy is ln(num_classes), the divergence 0.
    """
    shares = classes.bincount(minlength=num_classes) / len(classes)
    entropy = float(torch.special.entr(shares).sum())
    return {"class_entropy": entropy, "class_kl_to_uniform": math.log(num_classes) - entropy}


class SampleScores(Metric):
    """FID, KID, precision, recall, density and coverage of generated images against real ones.

    Args:
        num_neighbors: See `manifold_scores`.
    """

    full_state_update = False
    real: list[Tensor]
    fake: list[Tensor]

    def __init__(self, num_neighbors: int = 5) -> None:
        super().__init__()
        self.num_neighbors = num_neighbors
        self.add_state("real", default=[], dist_reduce_fx="cat")
        self.add_state("fake", default=[], dist_reduce_fx="cat")

    def update(self, features: Float[Tensor, "images features"], real: bool) -> None:
        """Collect the features of one batch of real or of generated images."""
        (self.real if real else self.fake).append(features)

    def compute(self) -> dict[str, Tensor]:
        """Return the scores by name."""
        real, fake = dim_zero_cat(self.real), dim_zero_cat(self.fake)
        scores = {
            "fid": frechet_distance(real, fake),
            "kid": kernel_distance(real, fake),
            **manifold_scores(real, fake, self.num_neighbors),
        }
        return {name: torch.tensor(value) for name, value in scores.items()}
