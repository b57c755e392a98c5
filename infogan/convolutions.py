"""Strided convolutions for mixed precision on CPUs, as matrix products of patches.

For speed alone: there torch takes much longer for the gradient of a convolution's weight than for
the same sums as a matrix product. Elsewhere, and where gradients are differentiated again,
these are torch's own convolutions.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

KERNEL, STRIDE, PADDING = 4, 2, 1


class PatchConv2d(nn.Conv2d):
    """A convolution that halves the side, without bias."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, KERNEL, STRIDE, PADDING, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return images half as high and as wide."""
        dtype = mixed_dtype(images)
        if dtype is None:
            return super().forward(images)
        return PatchConvolution.apply(images.to(dtype), self.weight.to(dtype))


class PatchConvTranspose2d(nn.ConvTranspose2d):
    """A transposed convolution that doubles the side, without bias."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, KERNEL, STRIDE, PADDING, bias=False)

    def forward(self, images: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Return images twice as high and as wide."""
        dtype = mixed_dtype(images)
        if dtype is None:
            return super().forward(images, output_size)
        return PatchConvolutionTranspose.apply(images.to(dtype), self.weight.to(dtype))


def mixed_dtype(images: Tensor) -> torch.dtype | None:
    """Return autocast's type on CPUs; None without autocast and on other devices."""
    if images.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
        return torch.get_autocast_dtype("cpu")
    return None


class PatchConvolution(torch.autograd.Function):
    """The convolution, by images (batch, in, height, width) and weight (out, in, 4, 4)."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor) -> Tensor:
        """Return images (batch, out, height / 2, width / 2)."""
        patches = to_patches(images)
        ctx.save_for_backward(images, weight, patches if ctx.needs_input_grad[1] else None)
        rows = patches @ kernels_as_rows(weight).t()
        return rows_as_images(rows, len(images), images.shape[2] // STRIDE)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Return the gradients of the images and of the weight."""
        images, weight, patches = ctx.saved_tensors
        to_images, to_weight = ctx.needs_input_grad
        if torch.is_grad_enabled():
            return torch_gradients(gradient, images, weight, False, (to_images, to_weight))
        of_images = of_weight = None
        if to_images:
            of_images, _ = torch_gradients(gradient, images, weight, False, (True, False))
        if to_weight:
            of_weight = rows_as_kernels(images_as_rows(gradient).t() @ patches)
        return of_images, of_weight


class PatchConvolutionTranspose(torch.autograd.Function):
    """The transposed one, by images (batch, in, height, width) and weight (in, out, 4, 4)."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor) -> Tensor:
        """Return images (batch, out, 2 height, 2 width)."""
        ctx.save_for_backward(images, weight)
        return torch.conv_transpose2d(images, weight, None, STRIDE, PADDING)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Return the gradients of the images and of the weight."""
        images, weight = ctx.saved_tensors
        to_images, to_weight = ctx.needs_input_grad
        if torch.is_grad_enabled():
            return torch_gradients(gradient, images, weight, True, (to_images, to_weight))
        patches = to_patches(gradient)
        of_images = of_weight = None
        if to_images:
            rows = patches @ kernels_as_rows(weight).t()
            of_images = rows_as_images(rows, len(images), images.shape[2])
        if to_weight:
            of_weight = rows_as_kernels(images_as_rows(images).t() @ patches)
        return of_images, of_weight


def torch_gradients(
    gradient: Tensor, images: Tensor, weight: Tensor, transposed: bool, wanted: tuple[bool, bool]
) -> tuple[Tensor | None, Tensor | None]:
    """Return torch's own gradients of images and weight, which can be differentiated again."""
    geometry = ([STRIDE, STRIDE], [PADDING, PADDING], [1, 1], transposed, [0, 0], 1)
    of_images, of_weight, _ = torch.ops.aten.convolution_backward(
        gradient, images, weight, None, *geometry, [*wanted, False]
    )
    return of_images, of_weight


# ---- images and weights as matrices ------------------------------------------------------------


def to_patches(
    images: Float[Tensor, "batch channels height width"],
) -> Float[Tensor, "positions patch"]:
    """Return what a convolution sees at each position of its output, a row each."""
    batch, channels, height, width = images.shape
    padded = images.new_zeros(batch, height + 2 * PADDING, width + 2 * PADDING, channels)
    padded[:, PADDING:-PADDING, PADDING:-PADDING] = images.permute(0, 2, 3, 1)
    image, row, pixel, _ = padded.stride()
    # The pixels under a row of the kernel lie side by side, each with its channels.
    patches = padded.as_strided(
        (batch, height // STRIDE, width // STRIDE, KERNEL, KERNEL * channels),
        (image, STRIDE * row, STRIDE * pixel, row, 1),
    )
    return patches.reshape(-1, KERNEL * KERNEL * channels)


def kernels_as_rows(
    weight: Float[Tensor, "channels others 4 4"],
) -> Float[Tensor, "channels patch"]:
    """Return a weight in the order of `to_patches`."""
    return weight.permute(0, 2, 3, 1).reshape(len(weight), -1)


def rows_as_kernels(
    rows: Float[Tensor, "channels patch"],
) -> Float[Tensor, "channels others 4 4"]:
    """Return the weight of `kernels_as_rows`."""
    return rows.view(len(rows), KERNEL, KERNEL, -1).permute(0, 3, 1, 2)


def images_as_rows(
    images: Float[Tensor, "batch channels height width"],
) -> Float[Tensor, "pixels channels"]:
    """Return every pixel as a row."""
    return images.permute(0, 2, 3, 1).reshape(-1, images.shape[1])


def rows_as_images(
    rows: Float[Tensor, "pixels channels"], batch: int, height: int
) -> Float[Tensor, "batch channels height width"]:
    """Return the images of `images_as_rows`."""
    return rows.view(batch, height, -1, rows.shape[1]).permute(0, 3, 1, 2)
