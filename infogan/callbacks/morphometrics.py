"""What each continuous code sets: correlations with slant, thickness and the like of strokes."""

import math
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from infogan.callbacks.generation import fixed_latents, generated
from infogan.data import Evaluated, RunData, data_of
from infogan.errors import check_at_least
from infogan.metrics.morphometrics import CodeMorphometrics, captions
from infogan.modules.gan import GANModule
from infogan.modules.infogan import InfoGANModule


class Morphometrics(pl.Callback):
    """Correlate the continuous codes with the morphometrics of strokes (Castro et al. 2019).

    `test/morpho_generative_MEASURE_CODE` is the partial correlation, the other codes held fixed, on
    samples with the codes that made them; `test/morpho_inferential_MEASURE_CODE` is that on test
    images with what Q reads. The measures are area, length, thickness, slant, width and height. It
    applies to gray images of strokes, such as MNIST's; other data it passes over. At the end of
    `fit` the overview says of each code which measure it sets most.

    Args:
        num_images: Samples and test images that a `test` measures; 0 turns that off. 2,000 of each
            take some 15 s on one core.
        num_val_images: Samples and validation images that every validation measures, as `val/...`;
            0 for none. 1,000 of each take some 7 s on one core.
        num_end_images: Samples that are measured at the end of `fit`, for the captions and, unless
            every validation does, the curves; 0 for none.
        batch_size: Images to generate at once.
        seed: Seed of the samples' latents, so that epochs and runs compare.

    Raises:
        ValueError: If a number is out of range.
    """

    def __init__(
        self,
        num_images: int = 2000,
        num_val_images: int = 0,
        num_end_images: int = 500,
        batch_size: int = 500,
        seed: int = 2,
    ) -> None:
        check_at_least(
            num_images=(num_images, 0),
            num_val_images=(num_val_images, 0),
            num_end_images=(num_end_images, 0),
            batch_size=(batch_size, 1),
        )
        self.num_images = num_images
        self.num_val_images = num_val_images
        self.num_end_images = num_end_images
        self.batch_size = batch_size
        self.seed = seed
        self.inferential: CodeMorphometrics | None = None

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start to collect validation images."""
        self.start(trainer, pl_module, 0 if trainer.sanity_checking else self.num_val_images)

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start to collect test images."""
        self.start(trainer, pl_module, self.num_images)

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, *n: int
    ) -> None:
        """Measure some images of a batch."""
        self.read(trainer, pl_module, outputs, batch, trainer.num_val_batches, n[0])

    def on_test_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, *n: int
    ) -> None:
        """Measure some images of a batch."""
        self.read(trainer, pl_module, outputs, batch, trainer.num_test_batches, n[0])

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the correlations of validation."""
        self.log_correlations("val", trainer, pl_module)

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the correlations of testing."""
        self.log_correlations("test", trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Find what each code sets most, for the overview, and tell the loggers."""
        if not (self.num_end_images and trainer.is_global_zero and applies(trainer, pl_module)):
            return
        assert isinstance(pl_module, GANModule)
        was_training = pl_module.training
        pl_module.eval()
        correlations = of_samples(pl_module, self.num_end_images, self.seed, self.batch_size)
        pl_module.train(was_training)
        pl_module.code_captions = captions(pl_module.latents.codes, correlations)
        # Validations that measure have logged it already, on samples of their own number.
        for logger in trainer.loggers if not self.num_val_images else ():
            named = {f"val/morpho_generative_{k}": float(v) for k, v in correlations.items()}
            logger.log_metrics(named, step=trainer.global_step)

    def start(self, trainer: pl.Trainer, module: pl.LightningModule, num_images: int) -> None:
        """Prepare to measure so many held-out images, and later as many samples."""
        self.inferential, self.num_now = None, num_images
        if num_images and applies(trainer, module):
            assert isinstance(module, GANModule)
            self.inferential = CodeMorphometrics(module.latents.codes).to(module.device)

    def read(
        self,
        trainer: pl.Trainer,
        module: pl.LightningModule,
        outputs: Evaluated,
        batch: Any,
        num_batches: list[int | float],
        number: int,
    ) -> None:
        """Measure a share of a batch, drawn by the batch's number, and read its codes."""
        if self.inferential is None or not isinstance(module, InfoGANModule):
            return
        features = outputs["features"]
        each = math.ceil(self.num_now / sum(num_batches) / trainer.world_size)
        stream = torch.Generator().manual_seed(number)
        chosen = torch.randperm(len(batch[0]), generator=stream)[:each].to(features.device)
        modes = module.posterior_modes(module.recognize_features(features[chosen]))
        self.inferential.update(batch[0][chosen], modes)

    def log_correlations(self, stage: str, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Generate this process's share, correlate, and log."""
        if self.inferential is None:
            return
        assert isinstance(module, GANModule)
        latents = fixed_latents(module.latents, self.num_now, self.seed)
        generative = CodeMorphometrics(module.latents.codes).to(module.device)
        share = latents[trainer.global_rank :: trainer.world_size]
        measure_samples(module, share, generative, self.batch_size)
        metrics = {"generative": generative}
        if isinstance(module, InfoGANModule):
            metrics["inferential"] = self.inferential
        for kind, metric in metrics.items():
            values = metric.compute().items()
            module.log_dict({f"{stage}/morpho_{kind}_{name}": value for name, value in values})
        self.inferential = None


def of_samples(
    module: GANModule, num_images: int, seed: int = 2, batch_size: int = 500
) -> dict[str, Tensor]:
    """Return the correlations of samples by `MEASURE_CODE`, without other processes.

    Args:
        module: The module, in evaluation mode.
        num_images: Images to generate.
        seed: Seed of their latents.
        batch_size: Images to generate at once.
    """
    metric = CodeMorphometrics(module.latents.codes, sync_on_compute=False)
    latents = fixed_latents(module.latents, num_images, seed)
    measure_samples(module, latents, metric, batch_size)
    return metric.compute()


def measure_samples(
    module: GANModule, latents: Tensor, metric: CodeMorphometrics, batch_size: int
) -> None:
    """Generate images and measure them with the codes that made them."""
    for part, images in generated(module, latents, batch_size):
        metric.update(images, module.latents.split_codes(part))


def applies(trainer: pl.Trainer, module: pl.LightningModule) -> bool:
    """Return whether the data shows strokes and the module has a continuous code."""
    return isinstance(module, GANModule) and can_be_measured(data_of(trainer), module)


def can_be_measured(data: RunData, module: GANModule) -> bool:
    """Return whether the data shows strokes and the module has a continuous code."""
    return data.shows_strokes and any(not code.is_discrete for code in module.latents.codes)
