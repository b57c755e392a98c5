"""The page that `compare` writes: curves, pictures, and nothing from outside."""

import base64
import io
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from infogan.commands.compare.chart import MOST_POINTS, Series, chart, running_mean, thinned, ticks
from infogan.commands.runs import Point
from tests.conftest import TINY, Outcome
from tests.support.run_folders import make_run

__all__ = ["make_run"]  # a fixture

Command = Callable[..., Outcome]


# ---- curves ------------------------------------------------------------------------------------


def line(*values: float) -> list[Point]:
    return [Point(10 * i, value) for i, value in enumerate(values)]


def test_a_chart_draws_what_is_finite() -> None:
    series = [Series("a<b", 0, line(1, float("nan"), 3)), Series("c", 1, line(float("inf")))]
    svg = chart("loss", series)
    assert svg.count("<polyline") == 1 and "a&lt;b: 3 at 20" in svg
    (points,) = re.findall(r'points="([^"]*)"', svg)
    assert len(points.split()) == 2
    assert "no finite value" in chart("loss", series[1:])
    assert "<circle" in chart("loss", [Series("a", 0, line(5.0))])


def test_a_higher_value_is_drawn_higher_and_a_later_one_further_right() -> None:
    (points,) = re.findall(r'points="([^"]*)"', chart("x", [Series("a", 0, line(1, 2, 3))]))
    x, y = zip(*(map(float, point.split(",")) for point in points.split()), strict=True)
    assert list(x) == sorted(x) and list(y) == sorted(y, reverse=True)


def test_a_noisy_curve_is_drawn_faintly_with_its_mean() -> None:
    noisy = line(*(1.0 + (-1) ** i for i in range(1000)))
    assert len(thinned(noisy)) <= MOST_POINTS + 2
    assert {point.value for point in thinned(noisy)} == {0.0, 2.0}
    mean = running_mean(noisy)
    assert [point.step for point in mean] == [point.step for point in noisy]
    assert all(abs(point.value - 1) < 0.1 for point in mean[50:])
    assert 'class="faint"' in chart("x", [Series("a", 0, noisy)])
    assert running_mean(line(1, 2, 3)) == line(1, 2, 3)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (-0.7, 1.9, [-0.5, 0, 0.5, 1, 1.5]), (3, 3.04, None)],
)
def test_ticks_are_round(low: float, high: float, expected: list[float] | None) -> None:
    found = ticks(low, high, 6)
    assert 2 <= len(found) <= 6 and all(low <= tick <= high for tick in found)
    assert expected is None or found == pytest.approx(expected)


# ---- the page ----------------------------------------------------------------------------------


class Page(HTMLParser):
    """Collects a page's elements; a page that is not well-formed fails."""

    VOID = {"meta", "input", "img", "line", "polyline", "circle"}

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def test_two_trained_runs_are_compared(command: Command, trained: Callable[..., Path]) -> None:
    trained()
    other = ("--name=other<b>", "--model.init_args.mi_weight=0.5")
    assert command("fit", "--config", "infogan_mnist.yaml", *TINY, *other).code == 0
    outcome = command("compare", "infogan_mnist", "runs/other<b>/version_0")
    assert outcome.code == 0, outcome.err
    table = dict(re.findall(r"^(\S[^ ]*(?: \S+)?) {2,}(\S.*)$", outcome.out, flags=re.MULTILINE))
    assert table["outcome"].split() == ["finished", "finished"]
    assert table["model.mi_weight"].split() == ["1.0", "0.5"]
    assert not {"name", "save_dir", "trainer.logger", "seed_everything"} & set(table)
    assert "page  compare.html" in outcome.out
    text = Path("compare.html").read_text()
    page = Page(text)
    # Nothing is fetched and nothing is run.
    assert "http" not in text and "url(" not in text and "@import" not in text
    assert not page.all("script") and not page.all("link") and not page.all("a")
    pictures = page.all("img")
    shown = {re.sub(" of .*", "", str(attributes["alt"])) for attributes in pictures}
    assert shown == {"categorical0", "uniform1", "uniform2", "confusion_categorical0"}
    assert len(pictures) == 8 and "other&lt;b&gt;" in text and "other<b>" not in text
    # The pictures are those of the run folder, pixel for pixel.
    data = str(pictures[0]["src"]).removeprefix("data:image/png;base64,")
    saved = Path("runs/infogan_mnist/version_0/traversals/step_00000002/categorical0.png")
    embedded = Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")
    assert np.array_equal(np.asarray(embedded), np.asarray(Image.open(saved)))
    # Every box has its rule, and every rule something to hide.
    boxes = {attributes["id"] for attributes in page.all("input")}
    rules = re.findall(r"body:has\(#(\w+):not\(:checked\)\) \.(\w+)\{display:none\}", text)
    assert {box for box, _ in rules} == boxes and all(box == hidden for box, hidden in rules)
    classes = {name for _, a in page.elements for name in str(a.get("class")).split()}
    assert boxes <= classes and {"run0", "run1"} <= boxes
    with Path("runs/infogan_mnist/version_0/metrics.csv").open() as file:
        logged = set(file.readline().strip().split(",")) - {"step", "epoch"}
    assert {f"{name} over batches" for name in logged} == {
        attributes["aria-label"] for attributes in page.all("svg") if "aria-label" in attributes
    }


def test_an_existing_page_is_kept_unless_asked_for(
    command: Command, make_run: Callable[..., Path]
) -> None:
    make_run()
    Path("compare.html").write_text("mine")
    refused = command("compare", "a")
    assert refused.code == 2 and Path("compare.html").read_text() == "mine"
    assert refused.errors == [
        "error: out=compare.html exists; give another name with --out, or --overwrite true"
    ]
    assert command("compare", "a", "--out=null").code == 0
    assert command("compare", "a", "--overwrite", "true").code == 0
    assert Path("compare.html").read_text().startswith("<!DOCTYPE html>")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nothing", "runs=nothing is neither a folder nor a run in runs, which has a"),
        ("foreign", "runs=foreign is no run folder: it has no config.yaml, nor has a folder in it"),
    ],
)
def test_what_is_no_run_is_named_in_one_line(
    command: Command, make_run: Callable[..., Path], name: str, said: str
) -> None:
    make_run()
    Path("foreign").mkdir()
    outcome = command("compare", "a", name)
    assert outcome.code == 2 and outcome.errors == [f"error: {said}"]
    assert not Path("compare.html").exists()


def test_a_picture_that_is_none_is_named(command: Command, make_run: Callable[..., Path]) -> None:
    grids = make_run() / "traversals/step_00000010"
    grids.mkdir(parents=True)
    (grids / "uniform1.png").write_text("no picture")
    (error,) = command("compare", "a").errors
    assert "uniform1.png cannot be read as a picture" in error


def test_correlations_with_shape_are_folded(
    make_run: Callable[..., Path], command: Command
) -> None:
    names = [f"test/morpho_generative_uniform{i}_slant" for i in (1, 2)]
    make_run("a/version_0", f"step,train/mi,test/fid,{','.join(names)}\n10,0.5,2,0.25,0.75\n")
    outcome = command("compare", "a")
    assert outcome.code == 0, outcome.err
    assert "morpho" not in outcome.out and "last test/fid" in outcome.out
    assert "page  compare.html, with 2 correlations with shape\n" in outcome.out
    text = Path("compare.html").read_text()
    assert len(Page(text).all("details")) == 2  # of the table, and of the boxes of curves
    folded = "".join(re.findall("<details>.*?</details>", text))
    outside = re.sub("<details>.*?</details>", "", text)
    for name in names:
        assert f"last {name}" in folded and f"last {name}" not in outside
    assert "last test/fid" in outside and "last test/fid" not in folded
    assert all(name in command("compare", "a", "--out=null").out for name in names)
