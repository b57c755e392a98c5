"""Traversal grids: what is in them, and that drawing them changes nothing."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from infogan.callbacks.traversal import LatentTraversal
from infogan.latents import BernoulliCode, CategoricalCode, NormalCode, UniformCode
from infogan.metrics.codes import NEVER_READ
from infogan.modules import GANModule, VanillaGANModule
from infogan.pictures.grids import annotate, save_animation, save_png, side_by_side, tile, to_bytes

Build = Callable[..., GANModule]


class Recorded(LatentTraversal):
    """Keeps the latents that it draws, by title."""

    def picture(
        self, module: GANModule, latents: Tensor, title: str, labels: list[str]
    ) -> np.ndarray:
        self.drawn[title] = (latents, labels)
        return super().picture(module, latents, title, labels)

    drawn: dict[str, tuple[Tensor, list[str]]] = {}


@pytest.fixture
def traversal() -> Recorded:
    callback = Recorded(num_columns=5, num_values=3)
    callback.drawn = {}
    return callback


def test_only_the_traversed_code_changes_down_a_column(build: Build, traversal: Recorded) -> None:
    codes = [CategoricalCode(4), UniformCode(), NormalCode(), BernoulliCode()]
    module = build(codes=codes)
    assert list(traversal.grids(module)) == ["categorical0", "uniform1", "normal2", "bernoulli3"]
    shapes = {name: tuple(latents.shape) for name, (latents, _) in traversal.drawn.items()}
    dim = module.latents.dim
    assert shapes == {
        "categorical0": (4, 5, dim),
        "uniform1": (3, 5, dim),
        "normal2": (3, 5, dim),
        "bernoulli3": (2, 5, dim),
    }
    uniform, labels = traversal.drawn["uniform1"]
    column = 3 + 4  # three noise dimensions and the categories come first
    assert torch.equal(uniform[:, :, column], torch.tensor([[-1.0], [0.0], [1.0]]).expand(3, 5))
    assert labels == ["-1.00", "+0.00", "+1.00"]
    others = [i for i in range(dim) if i != column]
    assert torch.equal(uniform[0][:, others], uniform[2][:, others])
    assert not torch.equal(uniform[0, 0, :3], uniform[0, 1, :3])


def test_grids_repeat_and_leave_streams_and_networks_alone(build: Build) -> None:
    module = build().train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    state = torch.get_rng_state()
    first, second = (LatentTraversal().grids(module)["categorical0"] for _ in range(2))
    assert np.array_equal(first, second)
    assert torch.equal(torch.get_rng_state(), state)
    assert module.training
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    assert not np.array_equal(first, LatentTraversal(seed=1).grids(module)["categorical0"])


def test_rows_can_stand_in_the_order_of_their_classes(
    build: Build, traversal: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = build(codes=[CategoricalCode(4)])
    meanings = property(lambda self: {0: ["7", NEVER_READ, "2", "5"]})
    monkeypatch.setattr(type(module), "category_meanings", meanings)
    order = property(lambda self: {0: [2, 3, 0, 1]})
    monkeypatch.setattr(type(module), "category_order", order)
    traversal.grids(module, by_class=True)
    latents, labels = traversal.drawn["categorical0"]
    assert labels == ["2  (c=2)", "5  (c=3)", "7  (c=0)", "never read  (c=1)"]
    assert latents[:, 0, 3:].argmax(dim=1).tolist() == [2, 3, 0, 1]


def test_without_codes_there_are_samples(build: Build, traversal: Recorded) -> None:
    grids = traversal.grids(build(VanillaGANModule, codes=[]))
    assert list(grids) == ["samples"]
    assert tuple(traversal.drawn["samples"][0].shape[:2]) == (3, 5)


def test_pixels_are_scaled_tiled_and_labelled(tmp_path: Path) -> None:
    images = torch.zeros(2, 3, 1, 4, 4)
    images[1, 2, 0, 0, 0] = 0.5
    picture = tile(to_bytes(images), scale=2, gap=1)
    assert picture.shape == (2 * 8 + 1, 3 * 8 + 2, 3)
    assert picture[9, 18].tolist() == [128] * 3  # row 1, column 2, first pixel
    assert picture[8, 0].tolist() == [255] * 3  # the gap
    labelled = annotate(picture, "title", ["a", "b"])
    assert labelled.shape[0] > picture.shape[0] and labelled.shape[1] > picture.shape[1]
    wide = side_by_side([labelled, picture])
    assert wide.shape[1] == labelled.shape[1] + picture.shape[1]
    frames = [tmp_path / "a.png", tmp_path / "b.png"]
    save_png(frames[0], wide)
    save_png(frames[1], 255 - wide)
    save_animation(tmp_path / "c.gif", frames, seconds=1.0)
    assert getattr(Image.open(tmp_path / "c.gif"), "n_frames", 1) == 2
