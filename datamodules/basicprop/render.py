"""Write BasicProp to files: in MNIST's format if it is gray, as NumPy archives if it is RGB."""

import io
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from pytorch_lightning.utilities import rank_zero_info
from torch import Tensor

from datamodules.basicprop.geometry import Noise
from datamodules.basicprop.sources import Split, fixed_set
from datamodules.basicprop.variant import Variant
from datamodules.basicprop.variants import VariantName, get_variant
from datamodules.errors import DataError, check_at_least
from datamodules.idx import write_atomically, write_idx

_PREFIXES: dict[Split, str] = {"train": "train", "test": "t10k"}


def render(
    out_dir: str,
    variant: VariantName = "line",
    foreground_noise: bool = True,
    background_noise: bool = False,
    continuous: bool = False,
    train_size: int = 100_000,
    eval_size: int = 10_000,
    seed: int = 0,
    overwrite: bool = False,
) -> list[Path]:
    """Write the training and the test set of a BasicProp variant and return the files' paths.

    Gray variants become MNIST's four files in OUT_DIR/MNIST/raw, so that
    torchvision.datasets.MNIST(OUT_DIR) and MNISTDataModule with `verify: false` read them. The
    label is the position, or the combination of factor values (rectangles: 10 * left + right).
    Beside them lie train-factors.csv and t10k-factors.csv, and basicprop.json with the settings.
    RGB variants do not fit MNIST's format and become OUT_DIR/train.npz and OUT_DIR/t10k.npz.

    Args:
        out_dir: Folder to write to; made if it does not exist.
        variant: line, rectangles, single_rectangle, translation, diameters, colorings or shapes.
        foreground_noise: Whether the pixels of the shapes are drawn uniformly from 150..239 instead
            of all 255.
        background_noise: Whether the other pixels are drawn uniformly from 0..59 instead of all 0.
        continuous: Whether factors take every value between the first and the last, too; labels
            then number ten bins of each.
        train_size: Training images; the authors' number is 100,000.
        eval_size: Test images; the authors' number is 10,000.
        seed: Fixes the images; they are those of BasicPropDataModule with this `data_seed`.
        overwrite: Whether to replace files that exist.

    Raises:
        ValueError: If the variant is unknown, a size is below 1 or the seed negative.
        DataError: If a file exists already or cannot be written.
    """
    check_at_least(1, train_size=train_size, eval_size=eval_size)
    check_at_least(0, seed=seed)
    spec = get_variant(variant, continuous)
    noise = Noise(foreground_noise, background_noise)
    file_format = _FORMATS[spec.num_channels]
    folder = Path(out_dir).expanduser() / file_format.subfolder
    paths = {split: file_format.paths(folder, prefix) for split, prefix in _PREFIXES.items()}
    written = [*paths["train"], *paths["test"], folder / "basicprop.json"]
    existing = [path for path in written if path.exists()]
    if existing and not overwrite:
        raise DataError(
            f"{existing[0]} exists; set overwrite to true to replace it, or choose another out_dir"
        )
    sizes: dict[Split, int] = {"train": train_size, "test": eval_size}
    for split, size in sizes.items():
        file_format.write(paths[split], spec, *fixed_set(spec, split, size, seed, noise))
    settings = {"seed": seed, "train_size": train_size, "eval_size": eval_size}
    write_atomically(written[-1], [_describe(spec, noise, settings)])
    rank_zero_info(
        f"{spec.name}: {train_size} training and {eval_size} test images in {folder}"
        f" ({file_format.explanation})."
    )
    return written


def _describe(spec: Variant, noise: Noise, settings: dict[str, int]) -> bytes:
    description = {
        "variant": spec.name,
        "foreground_noise": noise.foreground,
        "background_noise": noise.background,
        **settings,
        "factors": [asdict(scale) for scale in spec.scales],
    }
    return (json.dumps(description, indent=2) + "\n").encode()


def _write_mnist(paths: list[Path], spec: Variant, images: Tensor, factors: Tensor) -> None:
    write_idx(paths[0], images.squeeze(1).numpy())
    write_idx(paths[1], _labels(spec, factors))
    table = io.StringIO()
    header = ",".join(factor.name for factor in spec.factors)
    formats = ["%.6f" if factor.num_values is None else "%d" for factor in spec.factors]
    np.savetxt(table, factors.numpy(), formats, delimiter=",", header=header, comments="")
    write_atomically(paths[2], [table.getvalue().encode()])


def _write_archive(paths: list[Path], spec: Variant, images: Tensor, factors: Tensor) -> None:
    archive = io.BytesIO()
    np.savez_compressed(
        archive,
        images=images.permute(0, 2, 3, 1).numpy(),
        labels=_labels(spec, factors),
        factors=factors.numpy(),
        factor_names=[factor.name for factor in spec.factors],
    )
    write_atomically(paths[0], [archive.getbuffer()])


def _labels(spec: Variant, factors: Tensor) -> np.ndarray:
    return spec.cell_index(factors).numpy().astype(np.uint8)


@dataclass(frozen=True)
class _Format:
    subfolder: str
    names: tuple[str, ...]
    write: Callable[[list[Path], Variant, Tensor, Tensor], None]
    explanation: str

    def paths(self, folder: Path, prefix: str) -> list[Path]:
        return [folder / f"{prefix}{name}" for name in self.names]


_FORMATS = {
    1: _Format(
        "MNIST/raw",
        ("-images-idx3-ubyte", "-labels-idx1-ubyte", "-factors.csv"),
        _write_mnist,
        "MNIST's format; the factors are in the .csv files",
    ),
    3: _Format(
        "",
        (".npz",),
        _write_archive,
        "NumPy archives, because MNIST's format has no colours: images (N, 28, 28, 3)",
    ),
}
