"""Score generated images in a test: against real ones, and against the codes that made them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torchmetrics.aggregation import CatMetric

from infogan.callbacks.generation import fixed_latents, generated
from infogan.callbacks.judging import factor_to_judge, ready_judge
from infogan.errors import ConfigurationError, check_at_least
from infogan.judge import Judge, JudgedFactor, JudgeRecipe
from infogan.metrics.consistency import SelfConsistency, class_agreement
from infogan.metrics.matching import name_categories
from infogan.metrics.samples import SampleScores, class_balance
from infogan.modules.gan import GANModule
from infogan.modules.infogan import InfoGANModule


class SampleQuality(pl.Callback):
    """Score generated images in `test`, as a judge and as Q see them.

    The judge is a small classifier of the real images, trained at the first need and kept in the
    user's cache. By its features FID, KID, precision, recall, density and coverage compare the
    generated images to the test images; beside each, as `..._real`, stands what as many real
    images score that the judge has not learned from. By its classes there are the balance of the
    classes and `class_consistency`: the share of images that show the class that their category
    names. Data without a discrete factor, or with an inverse renderer, which judges better, does
    without all this.

    Of any data, `self_consistency_CODE` tells how well Q reads the codes back (a share; R^2 of
    continuous codes), and `mi` is the lower bound of the mutual information, in nats.

    Args:
        num_images: Images to generate; 0 turns the callback off. 10,000 take about a minute on one
            core, of which 20 s are distances between images.
        batch_size: Images to generate at once.
        seed: Seed of their latents, so that runs compare.
        num_neighbors: Neighbours that the balls of precision and the like reach to.
        judge: How the judge is trained.
        judge_folder: Folder of trained judges; null for the user's cache.

    Raises:
        ValueError: If a value is out of range.
    """

    def __init__(
        self,
        num_images: int = 10_000,
        batch_size: int = 500,
        seed: int = 1,
        num_neighbors: int = 5,
        judge: JudgeRecipe | None = None,
        judge_folder: Path | None = None,
    ) -> None:
        check_at_least(
            num_images=(num_images, 0),
            batch_size=(batch_size, 1),
            num_neighbors=(num_neighbors, 1),
        )
        self.num_images = num_images
        self.batch_size = batch_size
        self.seed = seed
        self.num_neighbors = num_neighbors
        self.recipe = judge or JudgeRecipe()
        self.judge_folder = judge_folder
        self.judge: Judge | None = None
        self.factor: JudgedFactor

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Have the judge ready."""
        self.judge = None
        if stage == "test" and self.num_images and isinstance(pl_module, GANModule):
            factor = factor_to_judge(trainer)
            if factor is not None:
                self.factor = factor
                self.judge = ready_judge(trainer, factor, self.recipe, self.judge_folder)

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the scores, say which judge it is, and put it on the module's device."""
        if self.judge is None:
            return
        device = pl_module.device
        self.judge = self.judge.to(device)
        self.scores, self.scores_of_real = (
            SampleScores(self.num_neighbors).to(device) for _ in range(2)
        )
        self.real_classes, self.labels = collector(device), collector(device)
        if trainer.is_global_zero:
            print(
                f"judge       weights {self.judge.digest}, accuracy "
                f"{self.judge.held_out_accuracy:.4f} on {len(self.judge.held_out_features)} "
                "training images that it has not learned from",
                flush=True,
            )
            for logger in trainer.loggers:
                logger.log_hyperparams({"judge_sha256": self.judge.digest})

    def on_test_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, *_: int
    ) -> None:
        """Judge a batch of real images."""
        if self.judge is not None:
            features, classes = self.judge.judge(batch[0])
            self.scores.update(features, real=True)
            self.scores_of_real.update(features, real=True)
            self.real_classes.update(classes)
            self.labels.update(batch[1][:, self.factor.column])

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Generate, judge and log; every process generates its share."""
        if not self.num_images or not isinstance(pl_module, GANModule):
            return
        self.check_enough_images()
        rank, world_size = trainer.global_rank, trainer.world_size
        latents = fixed_latents(pl_module.latents, self.num_images, self.seed)[rank::world_size]
        made, seen = collector(pl_module.device), collector(pl_module.device)
        reader = pl_module if isinstance(pl_module, InfoGANModule) else None
        consistency = SelfConsistency(pl_module.latents).to(pl_module.device)
        for latent, images in generated(pl_module, latents, self.batch_size):
            if reader is not None:
                consistency.update(latent, reader.recognize(images))
            if self.judge is not None:
                features, classes = self.judge.judge(images)
                self.scores.update(features, real=False)
                seen.update(classes)
                made.update(latent)
        if reader is not None:
            log(pl_module, consistency.compute())
        if self.judge is not None:
            held_out = self.judge.held_out_features[: self.num_images]
            self.scores_of_real.update(held_out[rank::world_size], real=False)
            self.log_judgement(pl_module, made.compute(), seen.compute().long())

    def check_enough_images(self) -> None:
        """Refuse to score too few images by their neighbours."""
        if self.judge is None:
            return
        num_real = sum(len(features) for features in self.scores.real)
        num_held_out = len(self.judge.held_out_features)
        if min(num_real, num_held_out, self.num_images) <= self.num_neighbors:
            raise ConfigurationError(
                f"sample_quality.num_images={self.num_images} with {num_real} test images and "
                f"{num_held_out} that the judge has not learned from is too few for "
                f"{self.num_neighbors} neighbours; give more of each, or 0 to leave it out"
            )

    def log_judgement(self, module: GANModule, latents: Tensor, classes: Tensor) -> None:
        """Log what the judge's features and classes say, each beside what real images score."""
        real, labels = self.real_classes.compute().long(), self.labels.compute().long()
        for suffix, scores, judged in (
            ("", self.scores, classes),
            ("_real", self.scores_of_real, real),
        ):
            balance = class_balance(judged, self.factor.num_classes)
            log(module, {f"{name}{suffix}": value for name, value in balance.items()})
            log(module, {f"{name}{suffix}": value for name, value in scores.compute().items()})
        log(module, {"judge_accuracy": (real == labels).float().mean()})
        named = self.named_categories(module)
        if named is not None:
            code, names = named
            categories = module.latents.split_codes(latents)[code].argmax(dim=1)
            log(module, {"class_consistency": class_agreement(categories, classes, names)})

    def named_categories(self, module: GANModule) -> tuple[int, Tensor] | None:
        """Return the code that was matched to the judged factor, and its categories' classes.

        They are matched on the real test images, one to one; categories beyond the number of
        classes take the class that they mostly read.
        """
        if module.code_scores is None:
            return None
        module.code_scores.compute()
        for position, (factor, counts) in module.code_scores.confusions.items():
            if factor.name == self.factor.name:
                names = name_categories(torch.from_numpy(counts).float())
                return position, names.to(module.device)
        return None


def log(module: pl.LightningModule, scores: Mapping[str, Tensor | float]) -> None:
    """Log scores of the test, which are the same on every process."""
    module.log_dict({f"test/{name}": value for name, value in scores.items()})


def collector(device: torch.device) -> CatMetric:
    """Return a metric that joins values over batches and processes."""
    return CatMetric(nan_strategy="disable").to(device)
