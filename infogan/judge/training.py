"""Train a judge on the labelled training images of a datamodule."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from torch.optim import Adam
from torch.optim.lr_scheduler import OneCycleLR

from infogan.data import told_by
from infogan.judge.networks import NETWORKS, FeatureClassifier
from infogan.seeding import seeded

EVAL_BATCH_SIZE = 1000


@dataclass(frozen=True)
class JudgeRecipe:
    """How a judge is trained; another recipe makes another judge, kept beside the first.

    Args:
        network: `small`: two convolutions; `trunk`: the discriminator's trunk and Q's head.
        num_steps: Optimizer steps. On one core, 600 take about a minute for `small` and two for
            `trunk`.
        batch_size: Images a step.
        learning_rate: Peak of Adam's learning rate, which rises and falls in one cycle.
        held_out_share: Share of the training images that the judge does not learn from. Their
            features, compared to those of the test images, tell what real images score.
        seed: Seed of the weights, the held-out images and the order of the others.

    Raises:
        ValueError: If a value is out of range.
    """

    network: Literal["small", "trunk"] = "small"
    num_steps: int = 600
    batch_size: int = 128
    learning_rate: float = 5e-3
    held_out_share: float = 1 / 6
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be trained with."""
        if self.network not in NETWORKS:
            raise ValueError(f"network must be {' or '.join(NETWORKS)}, got {self.network!r}")
        # OneCycleLR needs two steps, batch normalisation two images.
        for name, value in (("num_steps", self.num_steps), ("batch_size", self.batch_size)):
            if value < 2:
                raise ValueError(f"{name} must be at least 2, got {value}")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate must be positive, got {self.learning_rate}")
        if not 0 < self.held_out_share < 1:
            raise ValueError(f"held_out_share must lie in (0, 1), got {self.held_out_share}")


class LabelledData(NamedTuple):
    """Labelled training images as they are stored, and what turns them into floats."""

    images: Tensor
    labels: Int[Tensor, " images"]
    num_classes: int
    data: pl.LightningDataModule

    def floats(self, chosen: Tensor) -> Float[Tensor, "chosen channels side side"]:
        """Return some of the images, by number, in [0, 1]."""
        stored = self.images.index_select(0, chosen), self.labels.index_select(0, chosen)
        return self.data.on_after_batch_transfer(stored, 0)[0]


@dataclass(frozen=True)
class Judge:
    """A trained judge.

    Args:
        network: The classifier, in evaluation mode.
        held_out_features: Features of the held-out training images, (images, 128).
        held_out_accuracy: Its accuracy on them, in [0, 1].
    """

    network: FeatureClassifier
    held_out_features: Float[Tensor, "images features"]
    held_out_accuracy: float

    @torch.no_grad()
    def judge(
        self, images: Float[Tensor, "batch channels side side"]
    ) -> tuple[Float[Tensor, "batch features"], Int[Tensor, " batch"]]:
        """Return the features and the class of each image."""
        features = self.network.features(images)
        return features, self.network.logits(features).argmax(dim=1)

    def to(self, device: torch.device) -> "Judge":
        """Return the judge on a device."""
        features = self.held_out_features.to(device)
        return Judge(self.network.to(device), features, self.held_out_accuracy)

    @property
    def digest(self) -> str:
        """Return the first 12 digits of the SHA-256 of the weights' bytes, in the names' order."""
        state = self.network.state_dict()
        sha256 = hashlib.sha256()
        for name in sorted(state):
            sha256.update(name.encode() + state[name].cpu().numpy().tobytes())
        return sha256.hexdigest()[:12]


def train_judge(data: LabelledData, recipe: JudgeRecipe) -> Judge:
    """Train a judge on the CPU: the same weights for the same recipe and images.

    On one thread, since the rounding of a sum depends on how many threads share it.
    """
    rng = np.random.default_rng(np.random.SeedSequence(recipe.seed))
    order = torch.from_numpy(rng.permutation(len(data.images)))
    num_held_out = max(2, round(recipe.held_out_share * len(order)))
    held_out, learning = order[:num_held_out], order[num_held_out:]
    with _ordinary_training(recipe.seed):
        shape = data.floats(order[:1]).shape[1:]
        network = NETWORKS[recipe.network]((shape[0], shape[1], shape[2]), data.num_classes)
        _fit(network, data, learning, recipe)
        judge = Judge(network.eval(), torch.empty(0, 0), 0.0)
        judged = [judge.judge(data.floats(part)) for part in held_out.split(EVAL_BATCH_SIZE)]
    features, classes = (torch.cat(parts) for parts in zip(*judged, strict=True))
    return Judge(network, features, float((classes == data.labels[held_out]).float().mean()))


def _fit(
    network: FeatureClassifier, data: LabelledData, learning: Tensor, recipe: JudgeRecipe
) -> None:
    """Minimise the cross entropy, epoch after epoch in a new order."""
    optimizer = Adam(network.parameters(), lr=recipe.learning_rate, fused=True)
    schedule = OneCycleLR(optimizer, recipe.learning_rate, recipe.num_steps)
    batches: Iterator[Tensor] = iter(())
    for _ in range(recipe.num_steps):
        chosen = next(batches, None)
        if chosen is None or (len(chosen) < recipe.batch_size and len(chosen) < len(learning)):
            batches = iter(learning[torch.randperm(len(learning))].split(recipe.batch_size))
            chosen = next(batches)
        loss = F.cross_entropy(network(data.floats(chosen)), data.labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


@contextmanager
def _ordinary_training(seed: int) -> Iterator[None]:
    """Train with gradients on one thread, also from within a test; restore everything after."""
    threads = torch.get_num_threads()
    with torch.inference_mode(False), torch.enable_grad(), seeded(seed):
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


class JudgedFactor(NamedTuple):
    """The factor whose values are the classes that a judge tells apart."""

    column: int
    name: str
    num_classes: int


def judged_factor(data: Any) -> JudgedFactor | None:
    """Return a datamodule's first discrete factor; None if no judge can learn it.

    For that the datamodule must be able to deliver labelled training images and name its data.
    """
    if not (hasattr(data, "with_all_labels") and hasattr(data, "fingerprint")):
        return None
    for column, factor in told_by(data).discrete_factors.items():
        if factor.num_values is not None and factor.num_values > 1:
            return JudgedFactor(column, factor.name, factor.num_values)
    return None


def labelled_training_images(data: Any, factor: JudgedFactor) -> LabelledData:
    """Return all images but the test images, with the classes that one of their factors makes."""
    labelled = data.with_all_labels()
    labelled.setup("fit")
    source = labelled.train_source
    images, factors = source.fetch(torch.arange(len(source)), np.random.default_rng(0))
    return LabelledData(images, factors[:, factor.column].long(), factor.num_classes, labelled)
