"""What templates ask: numbers over seeds, correlations of codes, pictures."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks.report.data import NO_DATA, Gaps, MissingDataError, Runs, Studies, spread
from benchmarks.report.figures import draw_curves, join_pictures
from tests.support.report import curve, runs, write_rows


def test_numbers_over_seeds() -> None:
    own = runs({"x": 1}, {"x": 2}, {"x": 4.5}, {"y": 3, "outcome": "collapsed", "cause": "nobody"})
    assert own.mean("x") == "2.500"
    assert own.mean_sd("x", digits=2) == "2.50 ± 1.80"
    assert own.mean_sd("y") == "3.000"
    assert own.each("x", digits=1) == "1.0, 2.0, 4.5"
    assert (own.least("x"), own.largest("x", digits=0)) == ("1.000", "4")
    assert own.average("x") == 2.5
    assert own.standard_error("x", digits=2) == "1.04"
    assert own.standard_error("y") == "–"
    assert spread([]) == NO_DATA
    assert (own.count("x", at_least=2), own.count("x", at_most=2)) == (2, 2)
    assert own.ended("finished") == 3 and len(own) == 4
    assert own.outcomes() == "3 finished, 1 collapsed (nobody)"
    assert own.settings() == ["a"]
    assert own.has("y") and not own.has("z")
    assert own.mean("z", absent="–") == "–"


def test_seeds_can_be_looked_at_alone() -> None:
    own = runs({"seed": 0, "x": 1}, {"seed": 1, "x": 2}, {"seed": 3, "x": 9})
    assert own.seeds(0, 1, 2).each("x", digits=0) == "1, 2"
    assert [run.mean("x", digits=0) for run in own.each_run()] == ["1", "2", "9"]


def test_crashed_runs_give_no_numbers() -> None:
    own = runs({"x": 1}, {"x": 9, "outcome": "crashed"})
    assert own.each("x") == "1.000"
    assert own.outcomes() == "1 finished, 1 crashed"


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda own: own.mean("z"), "T: no run has z"),
        (lambda own: own.count("z"), "T: no run has z"),
        (lambda own: own.of("b"), "T has no run with setting=b"),
        (lambda own: own.where(seed=3), "T has no run with seed=3"),
        (lambda own: own.of("a"), "T, setting=a: the seeds were run with 2 different configs"),
    ],
)
def test_no_number_without_data(ask: Callable[[Runs], Any], message: str) -> None:
    rows = ({"x": 1, "seed": 0}, {"x": 2, "seed": 1, "config_hash": "1"})
    with pytest.raises(MissingDataError, match=message):
        ask(runs(*rows))
    draft = runs(*rows, draft=True)
    ask(draft)
    assert len(draft.gaps.found) == 1 and message in draft.gaps.found[0]


def test_absent_is_not_for_rows_that_are_missing() -> None:
    with pytest.raises(MissingDataError):
        runs().mean("x", absent="–")


def test_names_are_those_of_studies(tmp_path: Path) -> None:
    write_rows(tmp_path / "b.csv", [{"setting": "a"}])
    write_rows(tmp_path / "a.csv", [{"accuracy": 1}])
    studies = Studies(tmp_path, Gaps())
    assert studies.names() == ["b"]
    assert studies.exists("a") and not studies.exists("c")


# ---- the pictures ------------------------------------------------------------------------------


def colored(path: Path, rgb: tuple[int, int, int]) -> np.ndarray:
    """Return where a picture is about of one colour."""
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    return np.abs(pixels - np.array(rgb)).max(axis=2) < 12


def test_every_panel_has_every_curve_and_marks_its_end(tmp_path: Path) -> None:
    groups = {}
    for index, (label, color) in enumerate((("a", "#ff0000"), ("b", "#0000ff"))):
        row = {"outcome": "nan" if label == "b" else "finished", "seed": "0"}
        points = [{k: str(v) for k, v in point.items()} for point in curve(index)]
        groups[label] = (color, [(row, points)])
    draw_curves(tmp_path / "marked.png", groups)
    # Lines are drawn with some transparency on white.
    lines = {
        name: colored(tmp_path / "marked.png", rgb)
        for name, rgb in {"a": (255, 64, 64), "b": (64, 64, 255)}.items()
    }
    for where in lines.values():
        height, width = where.shape
        for rows in (slice(height // 2), slice(height // 2, height)):
            for columns in (slice(width // 2), slice(width // 2, width)):
                assert where[rows, columns].sum() > 100
    marks = colored(tmp_path / "marked.png", (0, 0, 255))
    groups["b"][1][0][0]["outcome"] = "finished"
    draw_curves(tmp_path / "plain.png", groups)
    assert marks.sum() > colored(tmp_path / "plain.png", (0, 0, 255)).sum() + 4 * 10


def test_values_that_are_not_finite_are_left_out(tmp_path: Path) -> None:
    points = [{k: str(v) for k, v in point.items()} for point in curve(0)]
    points[-1]["train/generator_loss"] = "nan"
    points[-2]["train/generator_loss"] = "inf"
    draw_curves(tmp_path / "a.png", {"a": ("#ff0000", [({"outcome": "nan"}, points)])})
    assert colored(tmp_path / "a.png", (255, 64, 64)).sum() > 400


def test_pictures_are_joined_below_their_captions(tmp_path: Path) -> None:
    for name, size, value in (("a", (40, 30), 10), ("b", (60, 20), 200)):
        Image.new("L", size, value).save(tmp_path / f"{name}.png")
    path = tmp_path / "sub/joined.png"
    join_pictures(path, {"first": tmp_path / "a.png", "second": tmp_path / "b.png"}, gap=10)
    joined = np.asarray(Image.open(path))
    assert joined.shape[0] == 24 + 30 + 10 + 24 + 20
    assert (joined[24:54, :40] == 10).all() and (joined[88:108, :60] == 200).all()
    assert joined[:24].min() < 100 and (joined[24:54, 60:] == 255).all()


def test_runs_validated_on_the_test_images_leave_as_others_come() -> None:
    old, new = {"val_split": "test images"}, {"val_split": "5000 of train"}
    mixed = runs({"x": 1, "seed": 0, "config_hash": "1", **old}, {"x": 3, "seed": 1, **new})
    assert mixed.of("a").values("x") == [3.0] and mixed.of("a").val_split() == "5000 of train"
    crashed = runs({"x": 1, "seed": 0, **old}, {"seed": 1, **new, "outcome": "crashed"})
    assert crashed.of("a").values("x") == [1.0]
    assert runs({"x": 1}).of("a").val_split() == "test images"
