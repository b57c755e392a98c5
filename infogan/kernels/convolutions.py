"""Strided convolutions on CPUs as matrix products of what their kernel sees.

For speed alone: there torch takes much longer for convolutions of images of few channels and, in
mixed precision, for the gradient of any convolution's weight than for the same sums as a matrix
product. Elsewhere, in compiled and exported graphs, and where gradients are differentiated again,
these are torch's own convolutions.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from infogan.runtime.precision import at_least_float32

KERNEL, STRIDE, PADDING = 4, 2, 1


class ImageConv2d(nn.Conv2d):
    """A convolution that halves the side of images of few channels."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, KERNEL, STRIDE, PADDING)

    def forward(self, images: Tensor) -> Tensor:
        """Return images half as high and as wide."""
        if not has_products(images):
            return super().forward(images)
        return ImageConvolution.apply(*in_one_dtype(images, self.weight, self.bias))


class ImageConvTranspose2d(nn.ConvTranspose2d):
    """A transposed convolution to images of few channels, that doubles the side."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, KERNEL, STRIDE, PADDING)

    def forward(self, images: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Return images twice as high and as wide."""
        if not has_products(images):
            return super().forward(images, output_size)
        return ImageConvolutionTranspose.apply(*in_one_dtype(images, self.weight, self.bias))


class PatchConv2d(nn.Conv2d):
    """A convolution that halves the side, without bias."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, KERNEL, STRIDE, PADDING, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return images half as high and as wide."""
        if not (has_products(images) and torch.is_autocast_enabled("cpu")):
            return super().forward(images)
        return PatchConvolution.apply(*in_one_dtype(images, self.weight))


class PatchConvTranspose2d(nn.ConvTranspose2d):
    """A transposed convolution that doubles the side, without bias."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, KERNEL, STRIDE, PADDING, bias=False)

    def forward(self, images: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Return images twice as high and as wide."""
        if not (has_products(images) and torch.is_autocast_enabled("cpu")):
            return super().forward(images, output_size)
        return PatchConvolutionTranspose.apply(*in_one_dtype(images, self.weight))


def has_products(images: Tensor) -> bool:
    """Return whether products may stand for convolutions: on CPUs, in no compiled graph."""
    return images.device.type == "cpu" and not torch.compiler.is_compiling()


def in_one_dtype(*tensors: Tensor | None) -> list[Tensor | None]:
    """Return the tensors in autocast's type where that is on, else as they are."""
    if not torch.is_autocast_enabled("cpu"):
        return list(tensors)
    dtype = torch.get_autocast_dtype("cpu")
    return [None if tensor is None else tensor.to(dtype) for tensor in tensors]


class ImageConvolution(torch.autograd.Function):
    """The convolution of few channels, by images, weight (out, in, 4, 4) and bias (out)."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Return images (batch, out, height / 2, width / 2)."""
        # The bias is the weight of one more tap, which is always 1.
        taps = F.pad(to_taps(images), (0, 0, 0, 1), value=1.0)
        kernels = torch.cat([weight.flatten(1), bias[:, None]], 1)
        ctx.save_for_backward(images, weight, taps if any(ctx.needs_input_grad[1:]) else None)
        return product_as_images(taps.t(), kernels.t(), len(images), images.shape[2] // STRIDE)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of the images, of the weight and of the bias."""
        images, weight, taps = ctx.saved_tensors
        to_images, to_weight, to_bias = ctx.needs_input_grad
        if torch.is_grad_enabled():
            return torch_gradients(gradient, images, weight, False, ctx.needs_input_grad)
        rows = images_as_rows(gradient)
        of_images = of_weight = of_bias = None
        if to_images:
            of_images = from_taps(weight.flatten(1).t() @ rows.t(), images.shape)
        if to_weight or to_bias:
            of_kernels = (taps @ rows).t()
            of_weight, of_bias = of_kernels[:, :-1].reshape(weight.shape), of_kernels[:, -1]
        return of_images, of_weight if to_weight else None, of_bias if to_bias else None


class ImageConvolutionTranspose(torch.autograd.Function):
    """The transposed one to few channels, by images, weight (in, out, 4, 4) and bias (out)."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Return images (batch, out, 2 height, 2 width)."""
        ctx.save_for_backward(images, weight)
        batch, _, height, width = images.shape
        shape = (batch, weight.shape[1], STRIDE * height, STRIDE * width)
        taps = weight.flatten(1).t() @ images_as_rows(images).t()
        return from_taps(taps, shape) + bias.view(-1, 1, 1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of the images, of the weight and of the bias."""
        images, weight = ctx.saved_tensors
        to_images, to_weight, to_bias = ctx.needs_input_grad
        if torch.is_grad_enabled():
            return torch_gradients(gradient, images, weight, True, ctx.needs_input_grad)
        taps = to_taps(gradient)
        of_images = of_weight = None
        if to_images:
            kernels = weight.flatten(1).t()
            of_images = product_as_images(taps.t(), kernels, len(images), images.shape[2])
        if to_weight:
            of_weight = (taps @ images_as_rows(images)).t().view_as(weight)
        return of_images, of_weight, gradient.sum((0, 2, 3)) if to_bias else None


class PatchConvolution(torch.autograd.Function):
    """The convolution, by images (batch, in, height, width) and weight (out, in, 4, 4)."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor) -> Tensor:
        """Return images (batch, out, height / 2, width / 2)."""
        patches = to_patches(images)
        ctx.save_for_backward(images, weight, patches if ctx.needs_input_grad[1] else None)
        kernels = kernels_as_rows(weight).t()
        return product_as_images(patches, kernels, len(images), images.shape[2] // STRIDE)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of the images and of the weight."""
        images, weight, patches = ctx.saved_tensors
        to_images, to_weight = ctx.needs_input_grad
        if torch.is_grad_enabled():
            return torch_gradients(gradient, images, weight, False, ctx.needs_input_grad)
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
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of the images and of the weight."""
        images, weight = ctx.saved_tensors
        to_images, to_weight = ctx.needs_input_grad
        if torch.is_grad_enabled():
            return torch_gradients(gradient, images, weight, True, ctx.needs_input_grad)
        patches = to_patches(gradient)
        of_images = of_weight = None
        if to_images:
            kernels = kernels_as_rows(weight).t()
            of_images = product_as_images(patches, kernels, len(images), images.shape[2])
        if to_weight:
            of_weight = rows_as_kernels(images_as_rows(images).t() @ patches)
        return of_images, of_weight


def torch_gradients(
    gradient: Tensor, images: Tensor, weight: Tensor, transposed: bool, wanted: Sequence[bool]
) -> tuple[Tensor | None, ...]:
    """Return torch's own gradients, which can be differentiated again, of the wanted inputs."""
    geometry = ([STRIDE, STRIDE], [PADDING, PADDING], [1, 1], transposed, [0, 0], 1)
    bias_shape = [gradient.shape[1]] if len(wanted) > 2 else None
    mask = [*wanted, False][:3]
    gradients = torch.ops.aten.convolution_backward(
        gradient, images, weight, bias_shape, *geometry, mask
    )
    return gradients[: len(wanted)]


# ---- images and weights as matrices ------------------------------------------------------------


def to_taps(
    images: Float[Tensor, "batch channels height width"],
) -> Float[Tensor, "taps positions"]:
    """Return what each entry of a convolution's kernel sees over all positions, a row each."""
    batch, channels, height, width = images.shape
    padded = images.new_zeros(channels, batch, height + 2 * PADDING, width + 2 * PADDING)
    padded[..., PADDING:-PADDING, PADDING:-PADDING] = images.transpose(0, 1)
    channel, image, row, pixel = padded.stride()
    taps = padded.as_strided(
        (channels, KERNEL, KERNEL, batch, height // STRIDE, width // STRIDE),
        (channel, row, pixel, image, STRIDE * row, STRIDE * pixel),
    )
    return taps.reshape(channels * KERNEL * KERNEL, -1)


def from_taps(
    taps: Float[Tensor, "taps positions"], shape: Sequence[int]
) -> Float[Tensor, "batch channels height width"]:
    """Return the transpose of `to_taps`: what each entry adds to images of a shape, summed."""
    batch, channels, height, width = shape
    rows, columns = height // STRIDE, width // STRIDE
    # Entry 2 i + j of a kernel's side adds to pixel j of each pair of pixels, i pairs on. Half
    # precision is slow to add to, and would round each sum.
    parts = at_least_float32(taps).view(channels, 2, 2, 2, 2, batch, rows, columns)
    pairs = parts.new_zeros(channels, 2, 2, batch, rows + 1, columns + 1)
    for i in range(2):
        for j in range(2):
            pairs[..., i : i + rows, j : j + columns] += parts[:, i, :, j]
    padded = pairs.permute(3, 0, 4, 1, 5, 2).reshape(batch, channels, 2 * rows + 2, 2 * columns + 2)
    return padded[..., PADDING : PADDING + height, PADDING : PADDING + width].to(taps.dtype)


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


def product_as_images(
    rows: Float[Tensor, "pixels taps"],
    kernels: Float[Tensor, "taps channels"],
    batch: int,
    height: int,
) -> Float[Tensor, "batch channels height width"]:
    """Return the images whose pixels, `images_as_rows`, are a product."""
    shape = (batch, kernels.shape[1], height, len(rows) // (batch * height))
    # No view of the product, which autograd would not let an activation change in place.
    images = torch.empty(shape, dtype=rows.dtype, memory_format=torch.channels_last)
    torch.mm(rows, kernels, out=images.permute(0, 2, 3, 1).view(-1, kernels.shape[1]))
    return images
