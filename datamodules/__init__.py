"""Images in [0, 1] and their true factors, for Lightning."""

from datamodules.base import ImageDataModule
from datamodules.basicprop import BasicPropDataModule
from datamodules.errors import DataError
from datamodules.factors import Factor
from datamodules.idx import read_idx, write_idx
from datamodules.image_folder import ImageFolderDataModule
from datamodules.loader import Batch, BatchLoader, BatchSource, TensorSource
from datamodules.mnist import MNISTDataModule
from datamodules.mnist_like import FashionMNISTDataModule, KMNISTDataModule

__all__ = [
    "BasicPropDataModule",
    "Batch",
    "BatchLoader",
    "BatchSource",
    "DataError",
    "Factor",
    "FashionMNISTDataModule",
    "ImageDataModule",
    "ImageFolderDataModule",
    "KMNISTDataModule",
    "MNISTDataModule",
    "TensorSource",
    "read_idx",
    "write_idx",
]
