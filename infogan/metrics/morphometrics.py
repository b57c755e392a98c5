"""What strokes look like, and which code sets it: Morpho-MNIST (Castro et al., JMLR 20, 2019)."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torchmetrics import Metric

from infogan.latents import LatentCode
from infogan.metrics.variables import Variable, as_variables, describe_codes, read_codes

# In pixels, area in square pixels; slant in radians, positive for strokes that lean right.
MEASURES = ("area", "length", "thickness", "slant", "width", "height")

SCALE = 4
# The share of the mass that the bounding parallelogram leaves out on each of its four sides.
LEFT_OUT = 0.01
# Bounds the memory: 250 enlarged images of 28x28 take 25 MB in float64.
CHUNK_SIZE = 250


# ---- the measures ------------------------------------------------------------------------------


def morphometrics(images: Float[Tensor, "images side side"]) -> Float[Tensor, "images 6"]:
    """Measure the strokes of gray images, bright on dark.

    An image is enlarged four times (cubic, then a Gaussian), cut at half of its range, and thinned
    to its medial axis: 3 ms an image of 28x28 on one core. Area, slant, width and height equal the
    authors' own; which of several equal pixels the axis takes is chance, there as here.

    Args:
        images: Gray images in [0, 1].

    Returns:
        The columns of MEASURES; NaN where an image has no stroke.
    """
    parts = images.detach().cpu().double().numpy()
    measured = [
        _measure(parts[start : start + CHUNK_SIZE]) for start in range(0, len(parts), CHUNK_SIZE)
    ]
    return torch.from_numpy(np.concatenate([np.empty((0, 6)), *measured])).float()


def _measure(images: np.ndarray) -> np.ndarray:
    """Return the measures of a chunk, (images, 6)."""
    gray = enlarge(images)
    low, high = extremes(gray)
    inked = (gray >= (low + high) / 2) & (high > low)
    skeleton, distance = medial_axes(inked)
    # An image of one gray has no stroke to measure: 0 / 0 is NaN.
    with np.errstate(invalid="ignore", divide="ignore"):
        area = inked.sum(axis=(1, 2)) / SCALE**2
        thickness = 2 * (distance * skeleton).sum(axis=(1, 2)) / skeleton.sum(axis=(1, 2)) / SCALE
        shear, middle = horizontal_shear(gray)
        width, height = (extent / SCALE for extent in parallelogram(gray, shear, middle))
    measured = (area, skeleton_length(skeleton), thickness, np.arctan(-shear), width, height)
    return np.where(inked.any(axis=(1, 2))[:, None], np.stack(measured, axis=1), np.nan)


def enlarge(images: Float[np.ndarray, "images side side"]) -> Float[np.ndarray, "images four four"]:
    """Return images in [0, 1] four times as large, in whole gray levels from 0 to 255."""
    cubic, gaussian = _enlargement(images.shape[1])
    low, high = extremes(images)
    # Cubic interpolation overshoots beside edges.
    enlarged = (cubic @ images @ cubic.T).clip(low, high)
    return np.floor(255 * (gaussian @ enlarged @ gaussian.T) + 1e-9)


def extremes(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each image's least and greatest value, (images, 1, 1)."""
    return images.min(axis=(1, 2), keepdims=True), images.max(axis=(1, 2), keepdims=True)


@lru_cache(maxsize=8)
def _enlargement(side: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the matrices of cubic convolution (Keys 1981) and of the Gaussian that follows."""
    # Here, since training, which imports this file, does not need it.
    from scipy.ndimage import gaussian_filter1d

    # Distance of each of the large image's pixels from each of the small one's, which is mirrored.
    position = (np.arange(SCALE * side)[:, None] + 0.5) / SCALE - 0.5
    pixel = np.arange(-2, side + 2)
    d = np.abs(position - pixel)
    near, far = 1.5 * d**3 - 2.5 * d**2 + 1, -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2
    weights = np.where(d <= 1, near, np.where(d < 2, far, 0.0))
    cubic = np.zeros((SCALE * side, side))
    mirrored = side - 1 - np.abs(side - 1 - np.abs(pixel))
    for column, target in enumerate(mirrored):
        cubic[:, target] += weights[:, column]
    return cubic, gaussian_filter1d(np.eye(SCALE * side), SCALE / 3, axis=0, mode="reflect")


def medial_axes(inked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the medial axes of binary images and each pixel's distance to the background.

    Args:
        inked: Binary images, (images, height, width).

    Returns:
        Both of the images' shape, the distance in pixels.
    """
    from skimage.morphology import medial_axis

    # One tall picture, with background between the images: the library's preparation takes 20 ms
    # a call.
    padded = np.pad(inked, ((0, 0), (1, 1), (1, 1)))
    tall = padded.reshape(-1, padded.shape[2])
    skeleton, distance = medial_axis(tall, return_distance=True, rng=0)
    inner = (slice(None), slice(1, -1), slice(1, -1))
    return skeleton.reshape(padded.shape)[inner], distance.reshape(padded.shape)[inner]


def skeleton_length(skeleton: np.ndarray) -> np.ndarray:
    """Return the length of skeletons in pixels: 1 a straight step, sqrt(2) a diagonal one."""
    straight = skeleton[:, :, 1:] & skeleton[:, :, :-1], skeleton[:, 1:] & skeleton[:, :-1]
    upper, lower = skeleton[:, :-1], skeleton[:, 1:]
    diagonal = upper[:, :, 1:] & lower[:, :, :-1], upper[:, :, :-1] & lower[:, :, 1:]
    num_straight, num_diagonal = (
        sum(steps.sum(axis=(1, 2)) for steps in kind) for kind in (straight, diagonal)
    )
    return (num_straight + np.sqrt(2) * num_diagonal) / SCALE


def horizontal_shear(gray: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return u11 / u02 of each image's central moments, and the row of its centre of mass."""
    y, x = np.arange(gray.shape[1]), np.arange(gray.shape[2])
    mass = gray.sum(axis=(1, 2))
    of_rows, of_columns = gray.sum(axis=2), gray.sum(axis=1)
    mean_y, mean_x = of_rows @ y / mass, of_columns @ x / mass
    u11 = np.einsum("nyx,y,x->n", gray, y, x) / mass - mean_x * mean_y
    u02 = of_rows @ y**2 / mass - mean_y**2
    return u11 / u02, mean_y


def parallelogram(
    gray: np.ndarray, shear: np.ndarray, middle: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return width and height of the sheared boxes that leave out LEFT_OUT on each side."""
    num_images, height, width = gray.shape
    y, x = np.arange(height), np.arange(width)
    # Columns after the shear is undone; a pixel's mass counts from the next whole column on.
    upright = (
        x
        + 0.5
        - np.nan_to_num(shear)[:, None, None] * (y[:, None] - np.nan_to_num(middle)[:, None, None])
    )
    column = np.clip(np.floor(upright) + 1, 0, width).astype(np.int64)
    index = column + (width + 1) * np.arange(num_images)[:, None, None]
    size = num_images * (width + 1)
    of_columns = np.bincount(index.ravel(), gray.ravel(), size).reshape(num_images, -1)
    before = of_columns.cumsum(axis=1)[:, :width]
    above = gray.sum(axis=2).cumsum(axis=1) - gray.sum(axis=2)
    mass = gray.sum(axis=(1, 2))[:, None]
    return _spread(before / mass), _spread(above / mass)


def _spread(distributions: np.ndarray) -> np.ndarray:
    """Return the distance between the two quantiles of each cumulative distribution."""
    places = np.arange(distributions.shape[1])
    quantiles = [np.interp((LEFT_OUT, 1 - LEFT_OUT), row, places) for row in distributions]
    return np.diff(np.reshape(quantiles, (-1, 2)), axis=1)[:, 0]


# ---- which code sets them ----------------------------------------------------------------------


def partial_correlations(
    codes: Sequence[Variable], measures: Float[Tensor, "images measures"]
) -> dict[str, Float[Tensor, " measures"]]:
    """Return the partial correlation of each continuous code with each measure.

    The other codes are held fixed, categories as one-hot columns: it is the correlation of what
    linear regression on them leaves of the code and of the measure, which equals
    -P[0, j] / sqrt(P[0, 0] P[j, j]) of the inverse covariance P of (measure, codes). Images with a
    measure that is not finite are left out; 0 where a code or a measure does not vary.

    Args:
        codes: All codes of the images.
        measures: Such as `morphometrics` returns.

    Returns:
        By the continuous code's name, in [-1, 1].
    """
    kept = measures.isfinite().all(dim=1)
    targets = measures[kept].double()
    columns = [code.columns()[kept].double() for code in codes]
    constant = torch.ones(len(targets), 1, dtype=torch.float64)
    correlations = {}
    for index, code in enumerate(codes):
        if code.num_values is None:
            others = torch.cat([constant, *columns[:index], *columns[index + 1 :]], dim=1)
            left = _residuals(others, torch.cat([columns[index], targets], dim=1))
            correlations[code.name] = _correlations(left[:, 0], left[:, 1:]).float()
    return correlations


def _residuals(others: Tensor, values: Tensor) -> Tensor:
    """Return what linear regression on other columns leaves of the values' columns."""
    # One-hot columns and the constant are linearly dependent, which the driver "gelsd" can bear.
    return values - others @ torch.linalg.lstsq(others, values, driver="gelsd").solution


def _correlations(code: Tensor, measures: Tensor) -> Tensor:
    """Return the correlation of centred values with each column of others."""
    scale = code.norm() * measures.norm(dim=0)
    # What rounding leaves of a constant is not a direction.
    return torch.where(scale > 1e-9, code @ measures / scale.clamp(min=1e-9), 0.0)


class CodeMorphometrics(Metric):
    """Partial correlations of continuous codes with the strokes' measures, over all batches.

    Args:
        codes: The latent codes.
        **kwargs: See torchmetrics.Metric.
    """

    full_state_update = False
    measures: list[Tensor]
    values: list[Tensor]

    def __init__(self, codes: Sequence[LatentCode], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.codes = tuple(codes)
        self.add_state("measures", default=[], dist_reduce_fx="cat")
        self.add_state("values", default=[], dist_reduce_fx="cat")

    def update(self, images: Float[Tensor, "batch 1 side side"], codes: Sequence[Tensor]) -> None:
        """Measure a batch.

        Args:
            images: Gray images in [0, 1].
            codes: Value of each code, (batch, code.dim) each: those that generated the images, or
                those that Q reads from them.
        """
        self.measures.append(morphometrics(images[:, 0]).to(images.device))
        self.values.append(read_codes(self.codes, codes).float())

    def compute(self) -> dict[str, Tensor]:
        """Return the correlations by `MEASURE_CODE`, such as `slant_uniform1`."""
        measures, values = (
            torch.cat(state).cpu() if isinstance(state, list) else state.cpu()
            for state in (self.measures, self.values)
        )
        codes = as_variables(describe_codes(self.codes), values)
        return {
            f"{measure}_{code}": value
            for code, of_code in partial_correlations(codes, measures).items()
            for measure, value in zip(MEASURES, of_code, strict=True)
        }


def captions(codes: Sequence[LatentCode], correlations: Mapping[str, Tensor]) -> dict[str, str]:
    """Say of each continuous code which measure it sets most, such as `slant, r = 0.94`.

    Args:
        codes: The latent codes.
        correlations: By `MEASURE_CODE`, as CodeMorphometrics returns them.
    """
    said = {}
    for code, num_values in describe_codes(codes):
        if num_values is None:
            of_code = {measure: float(correlations[f"{measure}_{code}"]) for measure in MEASURES}
            measure = max(of_code, key=lambda name: abs(of_code[name]))
            said[code] = f"{measure}, r = {of_code[measure]:.2f}"
    return said
