"""What a module is given, checked: its data, a loader's batches, the weights of a checkpoint."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from infogan.data import RunData, check_batch_norm
from infogan.errors import ConfigurationError

# Interpolation may leave [0, 1] by rounding.
TOLERANCE = 1e-3


def images_and_factors(
    batch: Tensor | Sequence[Tensor], shape: tuple[int, int, int] | None = None
) -> tuple[Tensor, Tensor]:
    """Return a batch's images and factors, (batch, factors), of which there may be none.

    Args:
        batch: Images alone, `(images,)` as torch's TensorDataset has them, or `(images, labels)`.
        shape: Channels, height and width that the images are checked for; None for no check.

    Raises:
        ConfigurationError: If the images are not what the networks are made for.
    """
    images, *others = [batch] if isinstance(batch, Tensor) else batch
    if shape is not None:
        check_images(images, shape)
    factors = others[0] if others else torch.empty(len(images), 0, device=images.device)
    return images, factors.reshape(len(images), -1)


def check_images(images: Tensor, shape: tuple[int, int, int]) -> None:
    """Refuse images of another shape, type or range than the networks are made for.

    Args:
        images: A batch.
        shape: The module's channels, height and width.

    Raises:
        ConfigurationError: If they are not floats (batch, *shape) in [0, 1].
    """
    if images.ndim != 4 or tuple(images.shape[1:]) != shape:
        raise ConfigurationError(
            f"the loader's images have shape {tuple(images.shape)} and the module takes (batch, "
            f"{', '.join(map(str, shape))}): set image_channels and image_size to the data's"
        )
    if not images.is_floating_point():
        raise ConfigurationError(
            f"the loader's images are of {images.dtype} and the module takes floats in [0, 1]: "
            "divide bytes by 255"
        )
    low, high = torch.stack(images.detach().aminmax()).tolist()
    # NaN is another callback's matter.
    if low < -TOLERANCE or high > 1 + TOLERANCE:
        way_out = "take (x + 1) / 2" if low < 0 and max(-low, high) < 1.01 else "scale them"
        raise ConfigurationError(
            f"the loader's images lie in [{low:.4g}, {high:.4g}] and the module takes [0, 1]: "
            f"{way_out}"
        )


def check_data(data: RunData, shape: tuple[int, int, int]) -> None:
    """Refuse data that does not fit the networks, before anything is trained.

    Args:
        data: What is known of the trainer's data.
        shape: The module's channels, height and width.

    Raises:
        ConfigurationError: If its images are of another shape, or its batches hold one image.
    """
    check_batch_norm(data)
    if data.image_shape is not None and data.image_shape != shape:
        raise ConfigurationError(
            f"image_channels={shape[0]} and image_size={shape[1]} do not fit the data's images of "
            f"shape {data.image_shape}: set the model's to the data's"
        )


def check_architecture(own: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> None:
    """Refuse the weights of other networks.

    Args:
        own: The module's state.
        theirs: The state in a checkpoint.

    Raises:
        ConfigurationError: If a name or a shape differs.
    """
    for name in sorted(own.keys() | theirs.keys()):
        shapes = [tuple(s[name].shape) if name in s else "absent" for s in (own, theirs)]
        if shapes[0] != shapes[1]:
            raise ConfigurationError(
                f"checkpoint of another architecture: {name} is {shapes[1]} there and "
                f"{shapes[0]} in this model; use the config that the checkpoint was made with"
            )
