"""BasicProp: synthetic images with known factors, rendered, written to files, and read back."""

from datamodules.basicprop.datamodule import BasicPropDataModule
from datamodules.basicprop.geometry import Noise
from datamodules.basicprop.inverse import Tolerance
from datamodules.basicprop.variant import Variant
from datamodules.basicprop.variants import VARIANTS, get_variant

__all__ = ["VARIANTS", "BasicPropDataModule", "Noise", "Tolerance", "Variant", "get_variant"]
