"""Compare how ways to compute the updates learn: `python benchmarks/paths.py [--help]`.

Trains the paper's recipe on MNIST by the module's own updates, by the same ones written out
plainly, and by its own in bf16-mixed, from the same weights, on the same batches and latents, and
writes `OUT/paths.csv` and `OUT/paths.png`: the curves laid over one another. They part by rounding
alone.
"""

import multiprocessing
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import chain, repeat
from pathlib import Path

import torch
from machine import machine, options_of, save
from torch import Tensor
from turns import autocast
from updates import UPDATES, paper_module

from datamodules import MNISTDataModule
from infogan.data import DataFactor
from infogan.files import as_csv, write_file
from infogan.metrics.codes import CodeScores
from infogan.modules import InfoGANModule
from infogan.objectives import mutual_information_lower_bound

EVERY = 25
# By name: the updates, their precision, how they are drawn.
PATHS = {
    "ours": ("bare", "32-true", "-"),
    "written plainly": ("plain", "32-true", "o"),
    "ours, bf16-mixed": ("bare", "bf16-mixed", ":"),
}
CURVES = {"code_accuracy": "code accuracy, test images", "mi": "L_I in nats, 1,000 latents"}
Row = dict[str, float | str]


def train(path_and_seed: tuple[str, int], num_batches: int) -> list[Row]:
    """Train on one path from one seed; return its curve."""
    path, seed = path_and_seed
    kind, precision, _ = PATHS[path]
    torch.set_num_threads(1)
    data = MNISTDataModule(seed=seed)
    data.setup("fit")
    module = paper_module(seed=seed)
    step = UPDATES[kind](module)
    curve: list[Row] = []
    for number, real in zip(range(1, num_batches + 1), training_images(data), strict=False):
        # Whatever the updates have drawn, the latents are a function of the batch's number.
        torch.manual_seed(seed * num_batches + number)
        with autocast(precision):
            step(real)
        if number % EVERY == 0:
            curve.append({"updates": path, "seed": seed, "batch": number, **scores(module, data)})
    return curve


def training_images(data: MNISTDataModule) -> Iterator[Tensor]:
    """Yield batches of images in [0, 1], epoch after epoch."""
    for batch in chain.from_iterable(repeat(data.train_dataloader())):
        images = data.on_after_batch_transfer(batch, 0)
        assert isinstance(images, Tensor)
        yield images


@torch.no_grad()
def scores(module: InfoGANModule, data: MNISTDataModule) -> dict[str, float]:
    """Return the accuracy on real images and the bound on generated ones."""
    module.eval()
    accuracy = CodeScores({0: 10}, {0: DataFactor("digit", 10)})
    for batch in data.val_dataloader():
        images, factors = data.on_after_batch_transfer(batch, 0)
        accuracy.update([p.argmax(dim=1) for p in module.recognize(images)], factors)
    torch.manual_seed(0)
    latent = module.latents.sample(1000, "cpu")
    (features,) = module.discriminator.trunk(module.generate(latent))
    read = module.recognition_head(features)
    module.train()
    return {
        "code_accuracy": float(accuracy.compute()["code_accuracy"]),
        "mi": float(mutual_information_lower_bound(module.latents, latent, read)),
    }


def draw(rows: list[Row], path: Path) -> None:
    """Draw all curves of every seed, the plain path's as dots on ours."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    for axes, (name, title) in zip(figure.subplots(1, 2), CURVES.items(), strict=True):
        for seed in sorted({row["seed"] for row in rows}):
            for name_of_path, (*_, style) in PATHS.items():
                curve = [r for r in rows if (r["updates"], r["seed"]) == (name_of_path, seed)]
                label = f"seed {seed}, {name_of_path}"
                axes.plot(
                    [row["batch"] for row in curve],
                    [row[name] for row in curve],
                    style,
                    color=f"C{seed}",
                    markersize=3.5,
                    markerfacecolor="none",
                    linewidth=1,
                    label=label,
                )
        axes.set_xlabel("batches")
        axes.set_title(title, fontsize=10)
        axes.grid(alpha=0.25)
    axes.legend(fontsize=6)
    figure.savefig(path, dpi=130)


def main() -> None:
    """Train every kind from every seed, a process of one thread each, as many at once."""
    parser = options_of(__doc__, "paths")
    parser.add_argument("--batches", type=int, default=300)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    where = machine(threads=1)
    start = time.perf_counter()
    MNISTDataModule().prepare_data()
    runs = [(path, seed) for seed in options.seeds for path in PATHS]
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.threads, spawn) as pool:
        rows = list(chain(*pool.map(partial(train, num_batches=options.batches), runs)))
    write_file(options.out / "paths.csv", as_csv(rows, list(rows[0])))
    draw(rows, options.out / "paths.png")
    about = {
        "machine": where,
        "processes": options.threads,
        "minutes": round((time.perf_counter() - start) / 60, 1),
    }
    save(options.out, "paths", about)


if __name__ == "__main__":
    main()
