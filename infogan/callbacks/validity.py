"""Judge generated images by the data's own inverse renderer, where there is one."""

import pytorch_lightning as pl
import torch
from torch import Tensor

from infogan.callbacks.generation import fixed_latents, generated
from infogan.callbacks.information import described_factors, save_information
from infogan.data import Invertible, data_of
from infogan.errors import check_at_least
from infogan.metrics.disentanglement import mutual_information_gap
from infogan.metrics.variables import as_variables, describe_codes, information_matrix, read_codes
from infogan.modules.gan import GANModule

# From 1,000 images the information of two independent ten-valued variables is 0.04 nats, not 0.
INFORMATION_FACTOR = 10


class SampleValidity(pl.Callback):
    """Log which share of generated images is a valid member of the data, and how many cells occur.

    It applies to data whose datamodule can read factors back from an image (`invert`, as
    BasicProp's can), and logs `val/valid_share`, in [0, 1], and `val/cells_covered`, the number of
    distinct combinations of factor values among the valid images. Other data it passes over.

    A test adds the mutual information of each code with each factor read from the valid images of
    ten times as many, in nats, as `test/generated_mi_CODE_FACTOR` and a picture,
    `information_generated.png`, and MIG from these factors, `test/generated_mig`.

    Args:
        num_images: Images to generate each time; 0 turns the callback off. To cover K equally
            likely cells by chance takes about K (ln K + 3): 800 for 100.
        batch_size: Images to generate at once.
        seed: Seed of their latents, so that epochs and runs compare.
        cell: Side of a cell of the picture in screen pixels; 0 draws none.
    """

    def __init__(
        self,
        num_images: int = 1000,
        batch_size: int = 250,
        seed: int = 1,
        cell: int = 60,
    ) -> None:
        check_at_least(num_images=(num_images, 0), cell=(cell, 0), batch_size=(batch_size, 1))
        self.num_images = num_images
        self.batch_size = batch_size
        self.seed = seed
        self.cell = cell
        self.information: Tensor | None = None

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the scores of validation."""
        self.log_scores("val", trainer, pl_module)

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the scores of testing."""
        self.log_scores("test", trainer, pl_module)
        self.log_information(trainer, pl_module)

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw the mutual information of codes and factors."""
        if self.information is None or not self.cell:
            return
        assert isinstance(pl_module, GANModule)
        codes = describe_codes(pl_module.latents.codes)
        factors = described_factors(trainer)
        save_information(trainer, "generated", self.information, codes, factors, self.cell)

    def log_scores(self, stage: str, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Generate, invert and log; every process does the same, from the same seed."""
        data = data_of(trainer).datamodule
        if not (self.num_images and isinstance(data, Invertible) and isinstance(module, GANModule)):
            return
        factors, valid = data.invert(self.sample(module))
        module.log(f"{stage}/valid_share", valid.float().mean())
        module.log(f"{stage}/cells_covered", float(data.cells_covered(factors, valid)))

    def sample(self, module: GANModule) -> Tensor:
        """Return generated images, leaving the random streams alone."""
        latents = fixed_latents(module.latents, self.num_images, self.seed)
        return torch.cat([images for _, images in generated(module, latents, self.batch_size)])

    def log_information(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Log the mutual information of the codes with the factors of valid images."""
        self.information = None
        data = data_of(trainer).datamodule
        if not (self.num_images and isinstance(data, Invertible) and isinstance(module, GANModule)):
            return
        num_images = self.num_images * INFORMATION_FACTOR
        latents = fixed_latents(module.latents, num_images, self.seed)
        parts = generated(module, latents, self.batch_size)
        inverted = [data.invert(images) for _, images in parts]
        table, valid = (torch.cat(part).cpu() for part in zip(*inverted, strict=True))
        codes = module.latents.codes
        if not codes or valid.sum() < 2:
            return
        values = read_codes(codes, module.latents.split_codes(latents[valid]))
        made = as_variables(describe_codes(codes), values)
        read = as_variables(described_factors(trainer), table[valid])
        self.information = information_matrix(made, read)
        for code, row in zip(made, self.information, strict=True):
            for factor, nats in zip(read, row, strict=True):
                module.log(f"test/generated_mi_{code.name}_{factor.name}", nats)
        module.log("test/generated_mig", mutual_information_gap(made, read))
