"""Read the factors back from an image, and judge whether it is a BasicProp image at all.

A member is a sum of its shapes and its background, each at one brightness, plus pixel noise. So
the nearest member is found by least squares over templates of all factor values, with the
brightness of every shape and of the background left free; continuous factors are then refined by
Gauss-Newton steps. `Tolerance` says how near is near enough.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from datamodules.basicprop.geometry import Layers
from datamodules.basicprop.scales import Scales, grid_rows, values_of

Draw = Callable[[Tensor], Layers]

CHUNK_SIZE = 500  # bounds memory: 500 images with 361 templates of 3 levels make 6 MB a product
CONTINUOUS_POINTS = 19  # a pixel apart for positions and heights; fewer confuse small shapes
NUM_REFINEMENTS = 4
RIDGE = 1e-4  # keeps the normal equations solvable for images without any contrast


@dataclass(frozen=True)
class Tolerance:
    """How far a valid image may be from the nearest member; each test rejects what another lets by.

    Real images have a mean brightness of 0.76 or 1 in a shape and of 0.12 or 0 in the background,
    and no noise carries a pixel past the middle of the two. The rest of the room is for the soft
    edges and uneven surfaces of generated ones: real images blurred over 3x3 pixels pass.

    Args:
        min_foreground: Least mean brightness of every shape, in [0, 1]. A missing shape has that
            of the background; the average of two distant members, even clean ones, 0.5.
        max_background: Greatest mean brightness of the background, in [0, 1].
        max_wrong_pixels: How many pixels may be nearer the opposite brightness. The smallest
            rectangle a pixel aside makes 6, a row too many 10, half a line missing 56.
        max_mixture: How much of the way from the nearest member towards another the image may lie.
            Halfway, at 0.5, are the average of the two and a bar one pixel off the grid; real
            images stay below 0.25.
        min_difference: Members whose shapes differ by fewer whole pixels than this do not count as
            another: noise would hide it. Those of the discrete variants differ by 7 or more.
    """

    min_foreground: float = 0.55
    max_background: float = 0.3
    max_wrong_pixels: int = 5
    max_mixture: float = 0.4
    min_difference: float = 7.0


@torch.no_grad()
def invert(
    images: Tensor, draw: Draw, scales: Scales, tolerance: Tolerance
) -> tuple[Float[Tensor, "batch factors"], Bool[Tensor, " batch"]]:
    """Return the factors of the nearest member of each image, and whether the image is valid.

    Args:
        images: (B, C, 28, 28), bytes or floats in [0, 1].
        draw: The variant's geometry, from the factors' values.
        scales: The variant's factors.
        tolerance: How far a valid image may be from the nearest member.
    """
    templates = _templates(draw, scales, images.device)
    rows, valid = [torch.empty(0, len(scales), device=images.device)], []
    # Half precision, in which a training step may run, would blur the small differences.
    with torch.autocast(images.device.type, enabled=False):
        for chunk in images.split(CHUNK_SIZE):
            pixels = chunk.flatten(1).float() / (1 if images.is_floating_point() else 255)
            nearest = _refine(pixels, _nearest(pixels, templates), draw, scales)
            fit = _Fit.of(pixels, draw(values_of(nearest, scales)).basis())
            rows.append(nearest)
            valid.append(
                fit.has_levels(tolerance)
                & (fit.wrong_pixels(images.shape[1]) <= tolerance.max_wrong_pixels)
                & (fit.mixture(templates, tolerance.min_difference) <= tolerance.max_mixture)
            )
    return torch.cat(rows), torch.cat(valid)


@dataclass(frozen=True)
class _Templates:
    """The members at all factor values, continuous ones at `CONTINUOUS_POINTS`."""

    rows: Float[Tensor, "grid factors"]
    basis: Float[Tensor, "grid levels pixels"]
    gram: Float[Tensor, "grid levels levels"]

    def project(
        self, images: Float[Tensor, "*batch pixels"]
    ) -> Float[Tensor, "*batch grid levels"]:
        """Return the inner products of images with the basis of every member."""
        return (images @ self.basis.flatten(0, 1).T).unflatten(-1, self.basis.shape[:2])


@lru_cache(maxsize=32)
def _templates(draw: Draw, scales: Scales, device: torch.device) -> _Templates:
    rows = grid_rows(scales, CONTINUOUS_POINTS).to(device)
    basis = draw(values_of(rows, scales)).basis()
    return _Templates(rows, basis, basis @ basis.mT)


@dataclass(frozen=True)
class _Fit:
    """Images, and a member for each at the brightness (level) of its parts that suits it best."""

    images: Float[Tensor, "batch pixels"]
    basis: Float[Tensor, "batch levels pixels"]
    levels: Float[Tensor, "batch levels"]
    member: Float[Tensor, "batch pixels"]

    @classmethod
    def of(
        cls, images: Float[Tensor, "batch pixels"], basis: Float[Tensor, "batch levels pixels"]
    ) -> "_Fit":
        levels = _solve(basis @ basis.mT, torch.einsum("bp,blp->bl", images, basis))
        return cls(images, basis, levels, torch.einsum("bl,blp->bp", levels, basis))

    @property
    def contrast(self) -> Float[Tensor, " batch"]:
        return self.levels[:, :-1].mean(dim=1) - self.levels[:, -1]

    def has_levels(self, tolerance: Tolerance) -> Bool[Tensor, " batch"]:
        """Tell where the shapes are bright and the background is dark."""
        foreground, background = self.levels[:, :-1].amin(dim=1), self.levels[:, -1]
        return (foreground >= tolerance.min_foreground) & (background <= tolerance.max_background)

    def wrong_pixels(self, num_channels: int) -> Int[Tensor, " batch"]:
        """Count the pixels more than half the contrast from the member."""
        error = (self.images - self.member).unflatten(1, (num_channels, -1))
        return (error.square().mean(dim=1).sqrt() > self.contrast[:, None] / 2).sum(dim=1)

    def mixture(self, templates: _Templates, min_difference: float) -> Float[Tensor, " batch"]:
        """Return the largest share of another member in the image.

        With another member o at the levels of m, and d the part of o that no levels of m can
        explain, the share is <x - m, d> / |d|^2 = <x - m, o> / |d|^2.
        """
        inner = torch.einsum("bikl,bl->bki", templates.project(self.basis), self.levels)
        explained = (_solve((self.basis @ self.basis.mT)[:, None], inner) * inner).sum(dim=-1)
        norm = torch.einsum("bl,klm,bm->bk", self.levels, templates.gram, self.levels)  # |o|^2
        difference = norm - explained  # |d|^2, (B, K)
        residual = templates.project(self.images - self.member)
        share = torch.einsum("bkl,bl->bk", residual, self.levels) / difference
        is_other = difference >= min_difference * self.contrast[:, None].square()
        return share.where(is_other, share.new_zeros(())).amax(dim=1)


def _nearest(
    images: Float[Tensor, "batch pixels"], templates: _Templates
) -> Float[Tensor, "batch factors"]:
    """Return the member of least squared error; that is, which explains most of |x|^2."""
    inner = templates.project(images)
    explained = (_solve(templates.gram.expand(len(images), -1, -1, -1), inner) * inner).sum(dim=-1)
    return templates.rows[explained.argmax(dim=1)]


def _refine(
    images: Float[Tensor, "batch pixels"],
    rows: Float[Tensor, "batch factors"],
    draw: Draw,
    scales: Scales,
) -> Float[Tensor, "batch factors"]:
    """Improve continuous factors by Gauss-Newton steps on the squared error, levels left free.

    Slopes are central differences over one grid spacing, a pixel: narrower ones would see only the
    pixel that an edge lies in.
    """
    free = [i for i, scale in enumerate(scales) if scale.num_values is None]
    if not free:
        return rows
    low = rows.new_tensor([scales[i].low for i in free])
    high = rows.new_tensor([scales[i].high for i in free])
    half_spacing = (high - low) / (CONTINUOUS_POINTS - 1) / 2
    shifts = rows.new_zeros(len(free), len(scales))
    shifts[range(len(free)), free] = half_spacing
    rows = rows.clone()
    for _ in range(NUM_REFINEMENTS):
        fit = _Fit.of(images, draw(values_of(rows, scales)).basis())
        slopes = [_slope(fit, rows, shift, draw, scales) for shift in shifts]
        design = torch.cat([torch.stack(slopes, dim=1), fit.basis], dim=1)
        inner = torch.einsum("bp,bdp->bd", images - fit.member, design)
        steps = _solve(design @ design.mT, inner)[:, : len(free)].clamp(-2, 2)
        rows[:, free] = (rows[:, free] + steps * half_spacing).clamp(low, high)
    return rows


def _slope(
    fit: _Fit, rows: Tensor, shift: Float[Tensor, " factors"], draw: Draw, scales: Scales
) -> Float[Tensor, "batch pixels"]:
    """Return the change of the member by `shift`, at the levels of the fit."""
    ahead = draw(values_of(rows + shift, scales)).basis()
    behind = draw(values_of(rows - shift, scales)).basis()
    return torch.einsum("bl,blp->bp", fit.levels, ahead - behind) / 2


def _solve(
    gram: Float[Tensor, "*#batch size size"], inner: Float[Tensor, "*batch size"]
) -> Float[Tensor, "*batch size"]:
    """Solve the normal equations of a least-squares fit."""
    ridge = RIDGE * torch.eye(gram.shape[-1], device=gram.device)
    return torch.linalg.solve_ex(gram + ridge, inner[..., None])[0][..., 0]
