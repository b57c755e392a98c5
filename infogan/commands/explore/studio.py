"""Pictures of a trained module at any place of its latent space; nothing here knows the page."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from infogan.commands.explore.controls import Control, controls_of
from infogan.commands.explore.preparation import border_colour
from infogan.modules.gan import GANModule
from infogan.modules.infogan import InfoGANModule
from infogan.pictures.grids import annotate, tile, to_bytes
from infogan.seeding import seeded

# Noise draws that one seed stands for: the picture's own and 24 others.
NUM_DRAWS = 25
# Grids are enlarged to about this many screen pixels across, a pixel to at most four.
GRID_WIDTH = 720
MAX_SCALE = 4
# Values at which Q's density of a continuous code is evaluated.
NUM_READ_VALUES = 61

# Share of the side by which the centre of mass of most figures may be off the middle.
CENTRE_TOLERANCE = 0.08

# torch's global stream is one for all threads: seeding and drawing must not be interrupted.
STREAM = threading.Lock()


@dataclass(frozen=True)
class Place:
    """One place of the latent space.

    Args:
        positions: Where each code's control stands.
        seed: Seed of the noise draws.
    """

    positions: tuple[float, ...]
    seed: int


@dataclass(frozen=True)
class Reading:
    """What Q(c|x) says about one code of one image.

    Args:
        control: The code's control.
        labels: Names of the values at which Q was evaluated.
        weights: Q(c|x) at these values: probabilities of a discrete code, densities otherwise.
        position: The position nearest to the most probable value.
    """

    control: Control
    labels: list[str]
    weights: list[float]
    position: float


class Studio:
    """Draws a module's pictures and reads images with its Q.

    Args:
        module: The trained module, put into evaluation mode.
        meanings: By position of a code, the class that each of its categories names.
        real: Real images, (N, channels, height, width), from which it is seen how drawings and
            uploads are to be prepared; None looks at generated ones.
    """

    def __init__(
        self,
        module: GANModule,
        meanings: dict[int, list[str]] | None = None,
        real: Tensor | None = None,
    ) -> None:
        self.module = module.eval()
        self.real = real
        self.controls = controls_of(module.latents)
        self.meanings = meanings or {}

    @property
    def has_noise(self) -> bool:
        """Whether the generator has noise beside the codes."""
        return self.module.latents.noise_dim > 0

    @property
    def has_recognition(self) -> bool:
        """Whether there is a Q to read images with."""
        return isinstance(self.module, InfoGANModule)

    @cached_property
    @torch.no_grad()
    def samples(self) -> Tensor:
        """Some images as the module knows them, (N, channels, height, width)."""
        if self.real is not None:
            return self.real
        places = [Place(tuple(self.draw_positions(seed)), seed) for seed in range(NUM_DRAWS)]
        return self.module.generate(torch.stack([self.latents(place)[0] for place in places])).cpu()

    @property
    def paper(self) -> float:
        """Brightness of the images' background, in [0, 1]: the median at the border."""
        return border_colour(self.samples.mean(dim=1)).median().item()

    @property
    def is_centred(self) -> bool:
        """Whether every figure has its centre of mass in the middle, as MNIST has it."""
        ink = (self.samples.mean(dim=1) - self.paper).abs()
        ink = ink / ink.sum(dim=(1, 2), keepdim=True).clamp_min(1e-6)
        side = ink.shape[-1]
        steps = torch.arange(side) + 0.5 - side / 2
        off = torch.stack([(ink.sum(dim=axis) * steps).sum(dim=1) for axis in (1, 2)])
        return bool(off.norm(dim=0).quantile(0.9) < CENTRE_TOLERANCE * side)

    # ---- latents -------------------------------------------------------------------------------

    def noise(self, seed: int) -> Tensor:
        """Return the noise draws of a seed, (NUM_DRAWS, noise_dim), leaving all streams alone."""
        with STREAM, seeded(seed):
            return self.module.latents.sample_noise(NUM_DRAWS)

    def latents(self, place: Place) -> Tensor:
        """Return (z, c) with the codes of a place on each of its noise draws, (NUM_DRAWS, dim)."""
        values = [c.value(p) for c, p in zip(self.controls, place.positions, strict=True)]
        codes = [value.expand(NUM_DRAWS, -1) for value in values]
        return torch.cat([self.noise(place.seed), *codes], dim=1)

    def draw_positions(self, seed: int) -> list[float]:
        """Draw every code from its prior."""
        with STREAM, seeded(seed):
            return [control.position(control.code.sample(1)[0]) for control in self.controls]

    @torch.no_grad()
    def generate(self, latents: Tensor) -> np.ndarray:
        """Return G(z, c) of latents (..., dim) as bytes, (..., height, width, 3)."""
        images = self.module.generate(latents.flatten(0, -2))
        return to_bytes(images.unflatten(0, latents.shape[:-1]))

    # ---- pictures ------------------------------------------------------------------------------

    def picture(self, place: Place) -> np.ndarray:
        """Return the picture at a place, pixel by pixel."""
        return self.generate(self.latents(place)[:1])[0]

    def enlarged(self, images: np.ndarray, width: int = GRID_WIDTH) -> np.ndarray:
        """Join images (rows, columns, height, width, 3), a pixel to a whole number of pixels.

        Args:
            images: The images by row and column.
            width: Screen pixels across that the picture may take.
        """
        scale = width // (images.shape[1] * images.shape[3])
        return tile(images, min(max(1, scale), MAX_SCALE))

    def draws(
        self, place: Place, rows: int = 3, columns: int = 8, width: int = GRID_WIDTH
    ) -> np.ndarray:
        """Return a grid of the same codes on the other noise draws."""
        images = self.generate(self.latents(place)[1 : 1 + rows * columns])
        return self.enlarged(images.reshape(rows, columns, *images.shape[1:]), width)

    def traversal(
        self, place: Place, down: int, across: int | None = None, num_values: int = 10
    ) -> np.ndarray:
        """Return a labelled grid in which one code changes down the rows.

        Args:
            place: The other codes and the noise.
            down: Number of the code that changes from row to row.
            across: Number of the code that changes from column to column; None for noise draws.
            num_values: Values of a continuous code, and noise draws.
        """
        latents = self.module.latents
        base = self.latents(place)
        columns = "noise draws"
        if across is None:
            base = base[: min(num_values, NUM_DRAWS) if self.has_noise else 1]
        else:
            base = latents.traverse(base[:1], across, num_values)[:, 0]
            columns = f"{self.controls[across].name}, {self.ends(across)}"
        grid = latents.traverse(base, down, num_values)
        values = self.controls[down].code.traverse(num_values)
        labels = [self.label(down, row, value) for row, value in enumerate(values)]
        title = f"rows: {self.controls[down].name}"
        if len(base) > 1:
            title += f"; columns: {columns}"
        return annotate(self.enlarged(self.generate(grid)), title, labels)

    def label(self, index: int, row: int, value: Tensor) -> str:
        """Name one value of a code, with the class it stands for where that is known."""
        name = self.controls[index].code.label(value)
        return f"{name} ({self.meanings[index][row]})" if index in self.meanings else name

    def choices(self, index: int) -> list[str]:
        """Name the values of a discrete code as in a traversal."""
        return [self.label(index, i, stop) for i, stop in enumerate(self.controls[index].stops)]

    def ends(self, index: int) -> str:
        """Name the first and the last value of a code."""
        control = self.controls[index]
        return f"{control.label(control.low)} to {control.label(control.high)}"

    def interpolation(self, start: Place, end: Place, num_steps: int) -> np.ndarray:
        """Return a row of pictures from one place to another.

        Codes and uniform noise go straight; normal noise goes on a great circle, so that every
        step is as long as a draw is.
        """
        first, last = self.latents(start)[0], self.latents(end)[0]
        steps = torch.linspace(0, 1, num_steps).unsqueeze(1)
        path = torch.lerp(first, last, steps)
        if self.module.latents.noise_distribution == "normal":
            dim = self.module.latents.noise_dim
            path[:, :dim] = on_great_circle(first[:dim], last[:dim], steps)
        return self.enlarged(self.generate(path.unsqueeze(0)))

    # ---- Q -------------------------------------------------------------------------------------

    @torch.no_grad()
    def read(self, image: Tensor) -> list[Reading]:
        """Return what Q reads from an image (channels, side, side) in [0, 1], code by code."""
        assert isinstance(self.module, InfoGANModule)
        parameters = self.module.recognize(image.unsqueeze(0).to(self.module.device))
        readings = []
        for control, own in zip(self.controls, parameters, strict=True):
            values = control.code.traverse(NUM_READ_VALUES)
            log_weights = control.code.posterior_log_prob(values, own.expand(len(values), -1).cpu())
            readings.append(
                Reading(
                    control,
                    [control.code.label(value) for value in values],
                    log_weights.exp().tolist(),
                    control.position(control.code.posterior_mode(own)[0].cpu()),
                )
            )
        return readings


def on_great_circle(first: Tensor, last: Tensor, steps: Tensor) -> Tensor:
    """Interpolate two vectors (dim,) spherically at steps (n, 1): (n, dim)."""
    cosine = torch.dot(first, last) / (first.norm() * last.norm()).clamp_min(1e-12)
    angle = cosine.clamp(-1, 1).acos()
    if angle < 1e-4:
        return torch.lerp(first, last, steps)
    return (((1 - steps) * angle).sin() * first + (steps * angle).sin() * last) / angle.sin()


def positions_of(readings: Sequence[Reading]) -> tuple[float, ...]:
    """Return the positions that readings name."""
    return tuple(reading.position for reading in readings)
