"""Compare the morphometrics with published ones: `python benchmarks/agreement.py FILE.csv`.

Measures MNIST's 10,000 test images, and writes how far that agrees with the table of Castro et al.
(2019), `t10k-morpho.csv` of their data set Morpho-MNIST, to `benchmarks/studies/morphometrics.csv`.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from datamodules import MNISTDataModule
from infogan.files import Row, as_csv, read_rows, write_file
from infogan.metrics.morphometrics import MEASURES, morphometrics

COLUMNS = ("measure", "images", "correlation", "median_error", "published_sd")


def agreement(measured: np.ndarray, published: np.ndarray) -> list[Row]:
    """Return a row a measure, of values (images, measures) in the order of `MEASURES`."""
    rows = []
    for name, ours, theirs in zip(MEASURES, measured.T, published.T, strict=True):
        correlation = np.corrcoef(ours, theirs)[0, 1]
        numbers = (correlation, np.median(np.abs(ours - theirs)), theirs.std())
        cells = (name, str(len(ours)), *(f"{number:.6g}" for number in numbers))
        rows.append(dict(zip(COLUMNS, cells, strict=True)))
    return rows


def test_images() -> torch.Tensor:
    """Return MNIST's test images, (10000, 28, 28), in [0, 1]."""
    data = MNISTDataModule()
    data.prepare_data()
    data.setup("test")
    assert data.test_source is not None
    images, _ = data.test_source.fetch(torch.arange(10_000), np.random.default_rng(0))
    return images[:, 0].float() / 255


def main() -> None:
    """Measure, compare and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("published", type=Path, help="t10k-morpho.csv of Morpho-MNIST")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/studies/morphometrics.csv"))
    arguments = parser.parse_args()
    rows = read_rows(arguments.published)
    published = np.array([[float(row[name]) for name in MEASURES] for row in rows])
    measured = [morphometrics(batch).double().numpy() for batch in test_images().split(500)]
    table = as_csv(agreement(np.concatenate(measured), published), COLUMNS)
    write_file(arguments.out, table)
    print(table, end="")


if __name__ == "__main__":
    main()
