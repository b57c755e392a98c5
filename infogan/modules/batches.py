"""What a data loader of any origin delivers, as the modules take it."""

from collections.abc import Sequence

import torch
from torch import Tensor

from infogan.errors import ConfigurationError

# Interpolation may leave [0, 1] by rounding.
TOLERANCE = 1e-3


def images_and_factors(batch: Tensor | Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Return a batch's images and factors, (batch, factors), of which there may be none.

    Args:
        batch: Images alone, `(images,)` as torch's TensorDataset has them, or `(images, labels)`.
    """
    images, *others = [batch] if isinstance(batch, Tensor) else batch
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
