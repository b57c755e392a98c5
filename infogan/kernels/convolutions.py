"""Convolutions from and to images of few channels as matrix products, faster than torch's on CPUs.

Torch's own convolutions stand in on other devices and in compiled and exported graphs.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

KERNEL, STRIDE, PADDING = 4, 2, 1
# Of more channels torch's own convolutions are as fast.
MOST_CHANNELS = 4


class ImageConv2d(nn.Conv2d):
    """A convolution that halves the side of images of few channels."""

    @staticmethod
    def replaces(layer: nn.Module) -> bool:
        """Return whether this can stand in for a layer."""
        return type(layer) is nn.Conv2d and halves_few(layer, layer.in_channels)

    def forward(self, images: Tensor) -> Tensor:
        """Return images half as high and as wide."""
        if not use_matmul(images):
            return super().forward(images)
        images, weight, bias = in_one_dtype(images, self.weight, self.bias)
        columns, kernels = Im2Col.apply(images), weight.flatten(1)  # (C * 16, B * H/2 * W/2)
        if bias is not None:  # The weight of one more tap, which is always 1.
            columns = F.pad(columns, (0, 0, 0, 1), value=1.0)
            kernels = torch.cat([kernels, bias[:, None]], 1)
        size = (len(images), images.shape[2] // STRIDE, images.shape[3] // STRIDE)
        return ImageProduct.apply(columns.t(), kernels.t(), size)


class ImageConvTranspose2d(nn.ConvTranspose2d):
    """A transposed convolution that doubles the side, to images of few channels."""

    @staticmethod
    def replaces(layer: nn.Module) -> bool:
        """Return whether this can stand in for a layer."""
        if type(layer) is not nn.ConvTranspose2d or layer.output_padding != (0, 0):
            return False
        return halves_few(layer, layer.out_channels)

    def forward(self, images: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Return images twice as high and as wide."""
        if output_size is not None or not use_matmul(images):
            return super().forward(images, output_size)
        images, weight, bias = in_one_dtype(images, self.weight, self.bias)
        batch, _, height, width = images.shape
        rows = images_as_rows(images)  # (B * H * W, C_in)
        columns = weight.flatten(1).t() @ rows.t()  # (C_out * 16, B * H * W)
        doubled = Col2Im.apply(columns, (batch, weight.shape[1], STRIDE * height, STRIDE * width))
        return doubled if bias is None else doubled + bias.view(-1, 1, 1)


def halves_few(layer: nn.Conv2d | nn.ConvTranspose2d, channels: int) -> bool:
    """Return whether a layer halves or doubles the side of images of few channels."""
    geometry = (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
    expected = ((KERNEL, KERNEL), (STRIDE, STRIDE), (PADDING, PADDING), (1, 1))
    is_plain = layer.groups == 1 and layer.padding_mode == "zeros"
    return geometry == expected and is_plain and channels <= MOST_CHANNELS


def use_matmul(images: Tensor) -> bool:
    """Return whether a product may stand in for a convolution: on CPUs, in no compiled graph."""
    return images.device.type == "cpu" and not torch.compiler.is_compiling()


def in_one_dtype(images: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Any, ...]:
    """Return the tensors in autocast's type where that is on, else as they are."""
    if not torch.is_autocast_enabled("cpu"):
        return images, weight, bias
    dtype = torch.get_autocast_dtype("cpu")
    return images.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)


# ---- images as matrices, and back ----------------------------------------------------------------


class Im2Col(torch.autograd.Function):
    """`im2col`, whose gradient is `col2im`: F.unfold's and F.fold's are slower than the product."""

    @staticmethod
    def forward(ctx: Any, images: Tensor) -> Tensor:
        """Return the columns of images (batch, channels, height, width)."""
        ctx.shape = images.shape
        return im2col(images)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """Return the gradient of the images."""
        return Col2Im.apply(gradient, ctx.shape)


class Col2Im(torch.autograd.Function):
    """`col2im`, whose gradient is `im2col`."""

    @staticmethod
    def forward(ctx: Any, columns: Tensor, shape: Sequence[int]) -> Tensor:
        """Return images of a shape."""
        return col2im(columns, shape)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """Return the gradient of the columns."""
        return Im2Col.apply(gradient), None


class ImageProduct(torch.autograd.Function):
    """A product whose rows are pixels, as images in new memory.

    Autograd lets no activation change a view of a product in place without copying all of it.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, kernels: Tensor, size: tuple[int, int, int]) -> Tensor:
        """Return images (batch, channels, height, width), channels last, of a size without them."""
        ctx.save_for_backward(rows, kernels)
        batch, height, width = size
        shape = (batch, kernels.shape[1], height, width)
        images = torch.empty(shape, dtype=rows.dtype, memory_format=torch.channels_last)
        torch.mm(rows, kernels, out=images.permute(0, 2, 3, 1).view(-1, kernels.shape[1]))
        return images

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of both factors."""
        rows, kernels = ctx.saved_tensors
        to_rows, to_kernels, _ = ctx.needs_input_grad
        gradient = images_as_rows(gradient)
        of_rows = gradient @ kernels.t() if to_rows else None
        return of_rows, rows.t() @ gradient if to_kernels else None, None


def images_as_rows(
    images: Float[Tensor, "batch channels height width"],
) -> Float[Tensor, "pixels channels"]:
    """Return every pixel as a row."""
    return images.permute(0, 2, 3, 1).reshape(-1, images.shape[1])


def im2col(
    images: Float[Tensor, "batch channels height width"],
) -> Float[Tensor, "taps positions"]:
    """Return what each entry of a convolution's kernel sees at every position, a row each."""
    batch, channels, height, width = images.shape
    padded = images.new_zeros(channels, batch, height + 2 * PADDING, width + 2 * PADDING)
    padded[..., PADDING:-PADDING, PADDING:-PADDING] = images.transpose(0, 1)
    # Overlapping windows as strides: (C, 4, 4, B, H/2, W/2)
    channel, image, row, pixel = padded.stride()
    windows = padded.as_strided(
        (channels, KERNEL, KERNEL, batch, height // STRIDE, width // STRIDE),
        (channel, row, pixel, image, STRIDE * row, STRIDE * pixel),
    )
    return windows.reshape(channels * KERNEL * KERNEL, -1)


def col2im(
    columns: Float[Tensor, "taps positions"], shape: Sequence[int]
) -> Float[Tensor, "batch channels height width"]:
    """Return the transpose of `im2col`: images of a shape, overlapping windows summed."""
    batch, channels, height, width = shape
    rows, cols = height // STRIDE, width // STRIDE
    # Half precision is slow to add to, and would round each sum.
    exact = columns.to(torch.promote_types(columns.dtype, torch.float32))
    parts = exact.view(channels, 2, 2, 2, 2, batch, rows, cols)
    # Kernel 4, stride 2: entry 2 i + j adds to pixel j of each pair of pixels, i pairs on.
    pairs = exact.new_zeros(channels, 2, 2, batch, rows + 1, cols + 1)
    for i in range(2):
        for j in range(2):
            pairs[..., i : i + rows, j : j + cols] += parts[:, i, :, j]
    # Interleave the pairs and cut the padding off.
    padded = pairs.permute(3, 0, 4, 1, 5, 2).reshape(batch, channels, 2 * rows + 2, 2 * cols + 2)
    images = padded[..., PADDING : PADDING + height, PADDING : PADDING + width]
    # No view, so that an activation can change it in place.
    return images.to(columns.dtype, copy=True)
