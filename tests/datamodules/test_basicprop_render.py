"""BasicProp as files: MNIST's readers read them, nothing is overwritten unasked."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.datasets import MNIST

from datamodules import DataError, MNISTDataModule
from datamodules.basicprop import VARIANTS, BasicPropDataModule, Noise
from datamodules.basicprop.render import render
from datamodules.basicprop.sources import Split, fixed_set

SIZES: dict[str, Any] = {"train_size": 150, "eval_size": 120}
GRAY = [name for name, variant in VARIANTS.items() if variant.num_channels == 1]


@pytest.mark.parametrize("continuous", [False, True])
@pytest.mark.parametrize("name", GRAY)
def test_torchvision_reads_the_images_with_their_cells(
    tmp_path: Path, name: Any, continuous: bool
) -> None:
    paths = render(str(tmp_path), name, continuous=continuous, **SIZES)
    assert sorted(paths) == sorted(path for path in tmp_path.rglob("*") if path.is_file())
    variant = VARIANTS[name].continuous() if continuous else VARIANTS[name]
    splits: list[tuple[bool, Split, int]] = [(True, "train", 150), (False, "test", 120)]
    for train, split, size in splits:
        dataset = MNIST(str(tmp_path), train=train)
        images, factors = fixed_set(variant, split, size, 0, Noise(foreground=True))
        assert dataset.data.equal(images[:, 0])
        assert dataset.targets.equal(variant.cell_index(factors))
        prefix = "train" if train else "t10k"
        table = np.genfromtxt(
            tmp_path / f"MNIST/raw/{prefix}-factors.csv", delimiter=",", names=True, ndmin=1
        )
        assert table.dtype.names == tuple(factor.name for factor in variant.factors)
        columns = np.stack([table[name] for name in table.dtype.names], axis=1)
        np.testing.assert_allclose(columns, factors, atol=1e-5)


def test_labels_are_the_position_or_both_heights(tmp_path: Path) -> None:
    render(str(tmp_path / "line"), "line", **SIZES)
    dataset = MNIST(str(tmp_path / "line"))
    left_edges = (dataset.data[:, 0] > 0).int().argmax(dim=1)
    assert dataset.targets.equal((left_edges - 3) // 2)
    render(str(tmp_path / "rectangles"), "rectangles", **SIZES)
    dataset = MNIST(str(tmp_path / "rectangles"))
    heights = (dataset.data > 0).sum(dim=1)
    assert dataset.targets.equal((heights[:, 5] - 3) // 2 * 10 + (heights[:, 20] - 3) // 2)


def test_mnist_datamodule_reads_them(tmp_path: Path) -> None:
    render(str(tmp_path), "rectangles", background_noise=True, seed=4, **SIZES)
    read = MNISTDataModule(str(tmp_path), verify=False, val_size=0)
    read.prepare_data()
    rendered = BasicPropDataModule("rectangles", background_noise=True, data_seed=4, **SIZES)
    for datamodule in (read, rendered):
        datamodule.setup("fit")
        datamodule.setup("test")
    assert read.image_shape == rendered.image_shape
    batches = [next(iter(datamodule.train_dataloader())) for datamodule in (read, rendered)]
    assert isinstance(batches[0], torch.Tensor)
    assert isinstance(batches[1], torch.Tensor)
    assert batches[0].equal(batches[1])
    images, labels = next(iter(read.test_dataloader()))
    assert len(images) == 120
    assert rendered.variant_spec.cell_index(rendered.invert(images)[0]).equal(labels[:, 0].long())


def test_settings_lie_beside_the_files(tmp_path: Path) -> None:
    render(str(tmp_path), "line", foreground_noise=False, background_noise=True, seed=2, **SIZES)
    assert json.loads((tmp_path / "MNIST/raw/basicprop.json").read_text()) == {
        "variant": "line",
        "foreground_noise": False,
        "background_noise": True,
        "seed": 2,
        **SIZES,
        "factors": [
            {"name": "position", "low": 3, "high": 21, "num_values": 10, "has_continuous": True}
        ],
    }


@pytest.mark.parametrize("taken", ["train-images-idx3-ubyte", "t10k-factors.csv"])
def test_existing_files_are_replaced_only_on_demand(tmp_path: Path, taken: str) -> None:
    path = tmp_path / "MNIST/raw" / taken
    path.parent.mkdir(parents=True)
    path.write_text("precious")
    with pytest.raises(DataError, match=f"{taken} exists; set overwrite to true"):
        render(str(tmp_path), "line", **SIZES)
    assert path.read_text() == "precious"
    assert list(path.parent.iterdir()) == [path]
    render(str(tmp_path), "line", overwrite=True, **SIZES)
    assert len(MNIST(str(tmp_path), train=False)) == 120


def test_rgb_variants_become_archives(tmp_path: Path) -> None:
    paths = render(str(tmp_path), "colorings", **SIZES)
    assert [path.name for path in paths] == ["train.npz", "t10k.npz", "basicprop.json"]
    assert sorted(paths) == sorted(tmp_path.iterdir())
    images, factors = fixed_set(VARIANTS["colorings"], "train", 150, 0, Noise(foreground=True))
    with np.load(tmp_path / "train.npz") as archive:
        np.testing.assert_array_equal(archive["images"], images.permute(0, 2, 3, 1))
        np.testing.assert_array_equal(archive["factors"], factors)
        assert archive["factor_names"].tolist() == ["left_hue", "right_hue"]
        expected = 10 * factors[:, 0] + factors[:, 1]
        np.testing.assert_array_equal(archive["labels"], expected)
    with pytest.raises(DataError, match="train.npz exists"):
        render(str(tmp_path), "colorings", **SIZES)


@pytest.mark.parametrize("wrong", [{"train_size": 0}, {"eval_size": 0}, {"seed": -1}])
def test_impossible_numbers_are_refused(tmp_path: Path, wrong: dict[str, int]) -> None:
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=f"^{name}={value} must be at least {value + 1}"):
        render(str(tmp_path), **{**SIZES, **wrong})
    assert not list(tmp_path.iterdir())
