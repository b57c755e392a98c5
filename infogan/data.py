"""What a run is told about its data: a datamodule tells as much of it as it likes."""

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypedDict, runtime_checkable

import pytorch_lightning as pl
from torch import Tensor

from infogan.errors import ConfigurationError


@runtime_checkable
class Invertible(Protocol):
    """Data whose true factors can be read back from an image, as BasicProp's can."""

    def invert(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the images' factors, (batch, factors), and which images are valid, (batch,)."""
        ...

    def cells_covered(self, factors: Tensor, valid: Tensor) -> int:
        """Count the distinct combinations of factor values among the valid images."""
        ...


class DataFactor(NamedTuple):
    """One column of the factors (batch, factors) that come with evaluation images.

    Args:
        name: What varies, such as `digit`.
        num_values: How many values a discrete factor takes; None for a continuous one.
        value_names: What the values of a discrete factor are called, by index; empty for the index.
    """

    name: str
    num_values: int | None
    value_names: tuple[str, ...] = ()

    def called(self, value: int) -> str:
        """Return what a value of a discrete factor is called."""
        return self.value_names[value] if self.value_names else str(value)


class Evaluated(TypedDict):
    """What a validation or test step hands to the callbacks.

    Args:
        features: The trunk's features of the batch's images, (batch, feature_dim).
    """

    features: Tensor


@dataclass(frozen=True)
class RunData:
    """A trainer's data, with defaults for what its datamodule does not tell.

    Args:
        datamodule: The datamodule; None where the trainer was given loaders.
        factors: The columns of the factors; empty for data without any.
        image_shape: Channels, height and width; None if not told.
        batch_size: Training images a batch and process; None if not told.
        val_split: What validation looks at, such as `5000 of train`; None if not told.
        shows_strokes: Whether the images are bright strokes on dark.
    """

    datamodule: Any = None
    factors: tuple[DataFactor, ...] = ()
    image_shape: tuple[int, ...] | None = None
    batch_size: int | None = None
    val_split: str | None = None
    shows_strokes: bool = False

    @property
    def fingerprint(self) -> str | None:
        """Return the short name of the data, equal exactly for equal data; None if not told."""
        told = getattr(self.datamodule, "fingerprint", None)
        return None if told is None else told()

    @property
    def predicted_images(self) -> list[tuple[str, str]] | None:
        """Return split and name of every image that `predict` reads, in order; None if not told."""
        return getattr(self.datamodule, "predicted_images", None)

    @property
    def discrete_factors(self) -> dict[int, DataFactor]:
        """Return the discrete factors by their column."""
        return {i: f for i, f in enumerate(self.factors) if f.num_values is not None}


def check_batch_norm(data: RunData) -> None:
    """Refuse training batches of one image, of which batch normalisation has no variance.

    Raises:
        ConfigurationError: If the data's batches hold one image.
    """
    if data.batch_size is not None and data.batch_size < 2:
        raise ConfigurationError(
            f"batch_size={data.batch_size} of the data: the networks' batch normalisation needs at "
            "least 2 images a batch; choose 2 or more"
        )


def data_of(trainer: pl.Trainer) -> RunData:
    """Return what is known about a trainer's data."""
    return told_by(getattr(trainer, "datamodule", None))


def told_by(datamodule: Any) -> RunData:
    """Return what a datamodule, or nothing, tells about its data."""
    shape = getattr(datamodule, "image_shape", None)
    return RunData(
        datamodule=datamodule,
        factors=tuple(
            DataFactor(factor.name, factor.num_values, tuple(getattr(factor, "value_names", ())))
            for factor in getattr(datamodule, "factors", ())
        ),
        image_shape=None if shape is None else tuple(shape),
        batch_size=getattr(datamodule, "batch_size", None),
        val_split=getattr(datamodule, "val_split", None),
        shows_strokes=getattr(datamodule, "shows_strokes", False),
    )
