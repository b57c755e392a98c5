"""BasicPropDataModule: BasicProp rendered in memory, without files."""

import hashlib
from typing import Any

from jaxtyping import Bool, Float
from torch import Tensor

from datamodules.base import ImageDataModule
from datamodules.basicprop.geometry import Noise
from datamodules.basicprop.sources import RenderSource, Split, fixed_set
from datamodules.basicprop.variants import VariantName, get_variant
from datamodules.errors import check_at_least
from datamodules.loader import BatchSource, TensorSource

_PROBE_SIZE = 1000


class BasicPropDataModule(ImageDataModule):
    """Deliver BasicProp: synthetic 28x28 images of which every factor is known.

    Validation and test each have a fixed set of their own, drawn independently of the training
    images and with equally many images of every combination of factor values.

    Args:
        variant: line: a vertical bar at one of 10 positions; rectangles: two bars of 10 heights
            each; single_rectangle: the left one alone. Of BasicProp++ (appendix A): translation:
            a short bar at (x, y); diameters: two circles whose diameters have 10 ratios;
            colorings: a circle and a square of 10 hues each, in RGB; shapes: a circle, a triangle
            or a square of 10 sizes.
        foreground_noise: Whether the pixels of the shapes are drawn uniformly from 150..239 instead
            of all 255. The paper needed it to stabilise training.
        background_noise: Whether the other pixels are drawn uniformly from 0..59 instead of all 0.
        continuous: Whether positions, heights, ratios, hues and sizes take every value between
            the first and the last of the 10, too; edges within a pixel are then gray.
        on_the_fly: Whether every training batch is rendered afresh and no image comes twice. If
            not, a fixed training set is kept in memory: 78 MB in gray, 235 MB in RGB.
        train_size: Images in the training set; on the fly, in an epoch. The authors' number is
            100,000: of `line` 10,000 a position, of `rectangles` 1,000 a combination.
        eval_size: Images in the test set; the authors' number is 10,000.
        data_seed: Fixes the validation and test sets and the fixed training set, so that runs with
            other seeds see the same data.
        val_size: Images in the validation set; 0 for no validation.
        **kwargs: See ImageDataModule; on the fly `seed` fixes the images, too.

    Raises:
        ValueError: If the variant is unknown, a size is too small or a seed negative.
    """

    def __init__(
        self,
        variant: VariantName = "line",
        foreground_noise: bool = True,
        background_noise: bool = False,
        continuous: bool = False,
        on_the_fly: bool = False,
        train_size: int = 100_000,
        eval_size: int = 10_000,
        data_seed: int = 0,
        val_size: int = 5_000,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if on_the_fly and self.predict_split in ("train", "all"):
            raise ValueError(
                f"predict_split={self.predict_split} with on_the_fly=true: there is no training"
                " set to read, as no image comes twice; choose val or test"
            )
        check_at_least(1, train_size=train_size, eval_size=eval_size)
        check_at_least(0, data_seed=data_seed, val_size=val_size)
        self.variant_spec = get_variant(variant, continuous)
        self.factors = self.variant_spec.factors
        self.image_shape = self.variant_spec.image_shape
        self.noise = Noise(foreground_noise, background_noise)
        self.on_the_fly = on_the_fly
        self.train_size = train_size
        self.eval_size = eval_size
        self.data_seed = data_seed
        self.val_size = val_size

    @property
    def num_cells(self) -> int:
        """Return the number of combinations of factor values; a continuous factor has ten bins."""
        return self.variant_spec.num_cells

    def invert(
        self, images: Tensor
    ) -> tuple[Float[Tensor, "batch factors"], Bool[Tensor, " batch"]]:
        """Return the factors read from real or generated images, and which images are valid.

        Args:
            images: (B, C, 28, 28), bytes or floats in [0, 1].

        Raises:
            ValueError: If the images have another shape.
        """
        return self.variant_spec.invert(images)

    def cells_covered(
        self, factors: Float[Tensor, "batch factors"], valid: Bool[Tensor, " batch"]
    ) -> int:
        """Count the distinct combinations among the valid images that `invert` found."""
        return self.variant_spec.cells_covered(factors, valid)

    def fingerprint(self) -> str:
        """Return `basicprop-`, the variant's name, and a hash of settings and sample images."""
        images, factors = self._fixed_set("test", _PROBE_SIZE)
        settings = (
            self.variant_spec.name,
            self.factors,
            self.noise,
            self.on_the_fly,
            self.train_size,
            self.eval_size,
            self.data_seed,
        )
        digest = hashlib.sha256(repr(settings).encode())
        digest.update(images.numpy().tobytes() + factors.numpy().tobytes())
        return f"basicprop-{self.variant_spec.name}-{digest.hexdigest()[:12]}"

    @property
    def val_split(self) -> str:
        """Return what validation looks at, such as `5000 drawn apart`."""
        return f"{self.val_size} drawn apart" if self.val_size else "none"

    def leave_out_validation(self) -> None:
        """Draw no validation set; the training set is drawn apart from it in any case."""
        self.val_size = 0

    def setup(self, stage: str) -> None:
        """Render what the stage needs: the training and validation sets, or the test set."""
        splits = self.splits_of(stage)
        if "train" in splits and self.train_source is None:
            self.train_source = self._training_source()
        if "val" in splits and self.val_source is None:
            self.val_source = TensorSource(*self._fixed_set("val", self.val_size))
        if "test" in splits and self.test_source is None:
            self.test_source = TensorSource(*self._fixed_set("test", self.eval_size))

    def _training_source(self) -> BatchSource:
        if self.on_the_fly:
            return RenderSource(self.variant_spec, self.noise, self.train_size, self.labelled)
        images, factors = self._fixed_set("train", self.train_size)
        return TensorSource(images, factors if self.labelled else None)

    def _fixed_set(self, split: Split, size: int) -> tuple[Tensor, Tensor]:
        return fixed_set(self.variant_spec, split, size, self.data_seed, self.noise)
