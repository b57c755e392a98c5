"""Data for the report, with numbers that tell the seeds apart."""

import csv
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.report.data import Gaps, Runs
from infogan.commands.study.definition import load_study
from infogan.commands.study.table import CURVES
from infogan.files import as_csv

DATA = Path("benchmarks/studies")
MEASURES = {
    "test/code_accuracy": 0.9,
    "val/code_accuracy": 0.9,
    "test/majority_accuracy": 0.91,
    "test/nmi": 0.8,
    "train/mi": 1.9,
    "train/mi_gaussian_prior": 2.5,
    "train/generator_loss": 0.7,
    "train/d_fake": 0.45,
    "test/probe_kmeans_pixels": 0.5,
    "test/probe_kmeans_features": 0.8,
    "test/probe_linear": 0.98,
    "test/fid": 2.0,
    "test/recall": 0.7,
    "test/fid_real": 0.2,
    "test/coverage": 0.8,
    "test/coverage_real": 0.95,
    "test/class_consistency": 0.97,
    "test/mig": 0.95,
    "test/mi_real_categorical": -0.1,
    "test/joint_information": 4.5,
    "test/cells_covered": 100.0,
    "test/valid_share": 0.99,
    "steps": 5000,
    "duration_seconds": 3600,
}
MORPHO = {
    f"test/morpho_{way}_{measure}_{code}": value if code == owner else 0.1
    for way, value in (("generative", 0.85), ("inferential", 0.88))
    for measure, owner in (("slant", "uniform1"), ("thickness", "uniform2"), ("width", "uniform2"))
    for code in ("uniform1", "uniform2")
}
WITHOUT_Q = ("vanilla_gan_mnist", "vanilla_gan_sgd_mnist", "vanilla_gan_codes_mnist")
NEED_Q = ("mi", "accuracy", "nmi")


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    names = list(dict.fromkeys(name for row in rows for name in row))
    path.write_text(as_csv([{k: str(v) for k, v in row.items()} for row in rows], names))


def curve(seed: int) -> list[dict[str, Any]]:
    steps = range(40, 5001, 40)
    return [
        {"step": step, **{name: math.exp(-step / 900) + 0.1 * seed for name in CURVES}}
        for step in steps
    ]


def write_study(name: str, cells: Mapping[str, str] | None = None) -> None:
    """Write the table, curves and pictures of a study."""
    rows: list[dict[str, Any]] = []
    for member in load_study(f"{name}.yaml").members:
        measures = {k: value + member.seed / 1000 for k, value in (MEASURES | MORPHO).items()}
        if member.setting in WITHOUT_Q:
            measures = {k: v for k, v in measures.items() if not any(q in k for q in NEED_Q)}
        facts = {"study": name, "setting": member.setting, "seed": member.seed, **(cells or {})}
        end = {"config_hash": "0", "outcome": "finished", "cause": ""}
        if member.setting == "infogan_rectangles" and member.seed == 0:
            end |= {"outcome": "collapsed", "cause": "discriminator_won"}
        rows.append({**facts, **end, **measures})
        write_rows(DATA / name / "curves" / f"{member.name}.csv", curve(member.seed))
        for title in member.pictures:
            path = DATA / name / "pictures" / f"{member.name}_{title}.png"
            path.parent.mkdir(exist_ok=True)
            Image.new("L", (300, 40), 128).save(path)
    write_rows(DATA / f"{name}.csv", rows)


def change(path: Path, setting: str, **cells: str) -> None:
    """Change cells of a setting's rows."""
    with path.open(newline="") as file:
        rows = [r | cells if r["setting"] == setting else r for r in csv.DictReader(file)]
    write_rows(path, rows)


def runs(*rows: dict[str, Any], draft: bool = False) -> Runs:
    base = {"setting": "a", "config_hash": "0", "outcome": "finished"}
    return Runs([{**base, **{k: str(v) for k, v in r.items()}} for r in rows], "T", Gaps(draft))
