"""Judge generated images by the data's own inverse renderer, where there is one."""

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from infogan.modules.gan import GANModule


class SampleValidity(pl.Callback):
    """Log which share of generated images is a valid member of the data, and how many cells occur.

    It applies to data whose datamodule can read factors back from an image (`invert`, as
    BasicProp's can), and logs `val/valid_share`, in [0, 1], and `val/cells_covered`, the number of
    distinct combinations of factor values among the valid images. Other data it passes over.

    Args:
        num_images: Images to generate each time; 0 turns the callback off. To cover K equally
            likely cells by chance takes about K (ln K + 3): 800 for 100.
        batch_size: Images to generate at once.
        seed: Seed of their latents, so that epochs and runs compare.
    """

    def __init__(self, num_images: int = 1000, batch_size: int = 250, seed: int = 1) -> None:
        if num_images < 0:
            raise ValueError(f"num_images must be 0 (off) or more, got {num_images}")
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self.num_images = num_images
        self.batch_size = batch_size
        self.seed = seed

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the scores of validation."""
        self.log_scores("val", trainer, pl_module)

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the scores of testing."""
        self.log_scores("test", trainer, pl_module)

    def log_scores(self, stage: str, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Generate, invert and log; every process does the same, from the same seed."""
        data: Any = getattr(trainer, "datamodule", None)
        if not (self.num_images and hasattr(data, "invert") and isinstance(module, GANModule)):
            return
        factors, valid = data.invert(self.sample(module))
        module.log(f"{stage}/valid_share", valid.float().mean())
        module.log(f"{stage}/cells_covered", float(data.cells_covered(factors, valid)))

    def sample(self, module: GANModule) -> Tensor:
        """Return generated images, leaving the random streams alone."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            latents = module.latents.sample(self.num_images)
        with torch.no_grad():
            return torch.cat([module.generate(part) for part in latents.split(self.batch_size)])
