"""The report: every number from committed data, none without, the same bytes again."""

import csv
import math
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks.report.command import TEMPLATE
from benchmarks.report.data import Gaps, MissingDataError, Runs, Studies
from benchmarks.report.figures import draw_curves, join_pictures
from infogan.commands.study.definition import load_study
from infogan.commands.study.table import CURVES, as_csv
from tests import ROOT
from tests.conftest import Outcome

Command = Callable[..., Outcome]
DATA = Path("benchmarks/studies")
MEASURES = {
    "test/code_accuracy": 0.9,
    "test/majority_accuracy": 0.91,
    "test/nmi": 0.8,
    "train/mi": 1.9,
    "train/mi_gaussian_prior": 2.5,
    "train/generator_loss": 0.7,
    "train/d_fake": 0.45,
    "val/valid_share": 0.99,
    "val/cells_covered": 10.0,
    "test/probe_kmeans_pixels": 0.5,
    "test/probe_kmeans_features": 0.8,
    "test/probe_linear": 0.98,
    "test/fid": 2.0,
    "test/fid_real": 0.2,
    "test/coverage": 0.8,
    "test/coverage_real": 0.95,
    "test/class_consistency": 0.97,
    "test/mig": 0.95,
    "test/joint_information": 4.5,
    "test/cells_covered": 100.0,
    "test/valid_share": 0.99,
    "steps": 5000,
    "duration_seconds": 3600,
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


@pytest.fixture
def data(report_command: Command) -> Path:
    """Write all that the shipped template needs, with numbers that tell the seeds apart."""
    rows: list[dict[str, Any]] = []
    for member in load_study("paper_table.yaml").members:
        measures = {name: value + member.seed / 1000 for name, value in MEASURES.items()}
        if member.setting in WITHOUT_Q:
            measures = {k: v for k, v in measures.items() if not any(q in k for q in NEED_Q)}
        facts = {"study": "paper_table", "setting": member.setting, "seed": member.seed}
        end = {"config_hash": "0", "outcome": "finished", "cause": ""}
        if member.setting == "infogan_rectangles" and member.seed == 0:
            end |= {"outcome": "collapsed", "cause": "discriminator_won"}
        rows.append({**facts, **end, **measures})
        write_rows(DATA / "paper_table/curves" / f"{member.name}.csv", curve(member.seed))
        for title in member.pictures:
            path = DATA / "paper_table/pictures" / f"{member.name}_{title}.png"
            path.parent.mkdir(exist_ok=True)
            Image.new("L", (300, 40), 128).save(path)
    write_rows(DATA / "paper_table.csv", rows)
    return DATA


def change(path: Path, setting: str, **cells: str) -> None:
    """Change cells of a setting's rows."""
    with path.open(newline="") as file:
        rows = [r | cells if r["setting"] == setting else r for r in csv.DictReader(file)]
    write_rows(path, rows)


def runs(*rows: dict[str, Any], draft: bool = False) -> Runs:
    base = {"setting": "a", "config_hash": "0", "outcome": "finished"}
    return Runs([{**base, **{k: str(v) for k, v in r.items()}} for r in rows], "T", Gaps(draft))


# ---- the shipped report ------------------------------------------------------------------------


def test_the_report_is_made_of_committed_data(report_command: Command, data: Path) -> None:
    outcome = report_command()
    assert outcome.code == 0, outcome.err
    text = Path("docs/results.md").read_text()
    # Five seeds of 0.900 to 0.904.
    every = "0.900, 0.901, 0.902, 0.903, 0.904"
    assert (
        "| InfoGAN with a clustering term and augmentation (ours) | `configs/infogan_mnist.yaml` "
        "| c_cat, c_cont1, c_cont2, z "
        f"| g = G(z, c) | 1 | 5,000 | test images | 5 finished | 0.902 ± 0.002 | {every} "
        "| 0.802 ± 0.002 | 1.90 ± 0.00 |"
    ) in text.splitlines()
    (vanilla,) = [line for line in text.splitlines() if "`configs/vanilla_gan_mnist.yaml`" in line]
    assert vanilla.endswith("| z | – | 0 | 5,000 | test images | 3 finished | – | – | – | – |")
    assert "1 collapsed (discriminator_won), 2 finished" in text
    assert "no data" not in text and "{{" not in text and "{%" not in text
    for figure in (2, 3, 4, 6):
        assert f"(images/results/figure_{figure}.png)" in text
        assert Image.open(f"docs/images/results/figure_{figure}.png").size[0] >= 300
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert len(tables) == 2 * 2 + 19 and {line.count("|") for line in tables} == {13}


def test_what_has_not_run_is_listed_and_answers_nothing(
    report_command: Command, data: Path
) -> None:
    with (data / "paper_table.csv").open(newline="") as file:
        rows = [
            r for r in csv.DictReader(file) if r["setting"] in ("infogan_line", "infogan_mnist")
        ]
    write_rows(data / "paper_table.csv", [r for r in rows if r["seed"] != "3"])
    outcome = report_command()
    assert outcome.code == 0, outcome.err
    text = Path("docs/results.md").read_text()
    assert "**How is InfoGAN any different" not in text and "**Why do the rectangles" not in text
    _, _, missing = text.partition("## Not run yet")
    assert "infogan_mnist (4 of 5 seeds), infogan_mnist_paper (0 of 3 seeds)" in missing
    assert "`python cli.py study rectangles`: infogan_rectangles_repaired (0 of 5" in missing
    (row,) = [line for line in text.splitlines() if "`configs/vanilla_gan_mnist.yaml`" in line]
    assert row.endswith("| z | – | 0 | | | not run | | | | |")


def test_the_rectangles_grid_is_a_table(report_command: Command, data: Path) -> None:
    rows: list[dict[str, Any]] = []
    for member in load_study("rectangles").members:
        facts = {"setting": member.setting, "seed": member.seed, "config": member.configs[0]}
        end = {"config_hash": "0", "outcome": "finished"}
        rows.append({**facts, **dict(member.labels), **end, **MEASURES})
    write_rows(data / "rectangles.csv", rows)
    (data / "rectangles/pictures").mkdir(parents=True)
    picture = data / "rectangles/pictures/infogan_rectangles_repaired_seed0_overview.png"
    Image.new("L", (300, 40), 128).save(picture)
    outcome = report_command()
    assert outcome.code == 0, outcome.err
    text = Path("docs/results.md").read_text()
    assert (
        "| with | two_10way | annealed | 0 | to 0 | 5,000 | test images "
        "| 5 finished | 0.900 ± 0.000 |" in text
    )
    assert (
        "| without | one_100way | annealed | 62 | to 0 | 5,000 | test images | 3 finished |" in text
    )
    assert "5 of 5 seeds end with a MIG of 0.9 or more" in text
    assert "`python cli.py study rectangles`" not in text.partition("## Not run yet")[2]
    assert "The runs took 60 minutes." in text


def test_the_committed_results_are_those_of_the_committed_data(report_command: Command) -> None:
    root = ROOT
    outcome = report_command("--data_dir", str(root / DATA))
    assert outcome.code == 0, outcome.err
    assert Path("docs/results.md").read_text() == (root / "docs/results.md").read_text()
    pictures = {path.name for path in Path("docs/images/results").iterdir()}
    assert {path.name for path in (root / "docs/images/results").iterdir()} == pictures


def test_the_same_data_gives_the_same_bytes(report_command: Command, data: Path) -> None:
    def files() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in Path("docs").rglob("*.*")}

    assert report_command().code == 0
    first = files()
    shutil.rmtree("docs")
    assert report_command().code == 0
    assert files() == first and len(first) == 5


def test_conclusions_follow_the_data(report_command: Command, data: Path) -> None:
    assert report_command().code == 0
    before = Path("docs/results.md").read_text()
    assert "That is more than the paper's account (5.6) lets one expect." in before
    path = data / "paper_table.csv"
    change(path, "vanilla_gan_codes_probed_mnist", **{"test/code_accuracy": "0.12"})
    change(path, "infogan_rectangles_two_codes", **{"test/code_accuracy": "0.995"})
    assert report_command().code == 0
    after = Path("docs/results.md").read_text()
    assert "Nothing in the adversarial game alone ties c to the picture" in after
    assert "The right codes are what was missing." in after


def test_studies_of_codes_have_sections_of_their_own(report_command: Command, data: Path) -> None:
    facts = {"config_hash": "0", "outcome": "finished", "steps": 300, "test/valid_share": 1.0}
    accuracies = {"test/majority_accuracy": 0.5, "test/code_accuracy": 0.4}
    rows = [
        {"setting": f"line-{k}", "categories": k, "seed": seed, **facts, **accuracies}
        for k in (5, 10, 20, 100)
        for seed in (0, 1)
    ]
    write_rows(data / "prior_knowledge.csv", rows)
    weights = {"lambda-0": ("0", 0.02), "lambda-1": ("1", 2.17)}
    rows = [
        {"setting": setting, "seed": 0, "mi_weight": weight, **facts, "train/mi_categorical": bound}
        for setting, (weight, bound) in weights.items()
    ]
    write_rows(data / "information.csv", rows)
    outcome = report_command()
    assert outcome.code == 0, outcome.err
    text = Path("docs/results.md").read_text()
    five = (
        "| 5 | 300 | test images | 2 finished | 0.400 ± 0.000 | 0.500 ± 0.000 "
        "| – | – | – | 1.000 ± 0.000 |"
    )
    assert five in text.splitlines()
    assert "with 5, 0.500 ± 0.000 of the images can be named" in text
    assert "share 0.02 nats by Q's bound; at λ = 1,\n2.17 of 2.30." in text
    assert "MNIST, by the paper's own recipe cut" not in text and "{%" not in text


def test_further_tables_are_shown(report_command: Command, data: Path) -> None:
    row = {"setting": "x-2", "config_hash": "0", "outcome": "nan", "steps": 9, "train/mi": 0.5}
    write_rows(data / "further.csv", [row])
    augment = [
        {"labels_per_class": 10, "seed": seed, "condition": condition, "accuracy": 0.8 + seed / 10}
        for condition in ("labelled", "geometric", "generated", "recognition")
        for seed in (0, 1)
    ]
    write_rows(data / "augment.csv", augment)
    outcome = report_command()
    assert outcome.code == 0, outcome.err
    text = Path("docs/results.md").read_text()
    assert "## Further study: further" in text and "study: augment" not in text
    assert "| x-2 | 9 | test images | 1 nan | – | – | – | – | 0.50 | – |" in text.splitlines()
    assert "a classifier gets 0.850 ± 0.071 from them alone" in text


@pytest.mark.parametrize(
    ("lost", "message"),
    [
        ("paper_table.csv", "there is no benchmarks/studies/paper_table.csv; run the study paper"),
        ("paper_table/curves", "there are no curves of infogan_mnist_paper in"),
        ("paper_table/pictures", "there is no picture overview of infogan_no_noise_mnist in"),
    ],
)
def test_missing_files_are_one_line(
    report_command: Command, data: Path, lost: str, message: str
) -> None:
    path = data / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    outcome = report_command()
    assert outcome.code == 2
    assert len(outcome.errors) == 1 and message in outcome.errors[0]
    assert outcome.errors[0].startswith(f"error: {TEMPLATE}, line ")
    assert not Path("docs/results.md").exists()
    draft = report_command("--draft", "true")
    assert draft.code == 0, draft.err
    assert f"no data  {message}" in draft.err
    text = Path("docs/results.md").read_text()
    assert text.startswith("> **Draft**: ")


def test_a_missing_number_is_one_line_with_its_place(report_command: Command, data: Path) -> None:
    change(data / "paper_table.csv", "infogan_line", **{"val/valid_share": ""})
    outcome = report_command()
    (line,) = [
        number
        for number, text in enumerate(TEMPLATE.read_text().splitlines(), start=1)
        if 'line.mean("val/valid_share")' in text
    ]
    assert outcome.errors == [
        f"error: {TEMPLATE}, line {line}: study paper_table, setting=infogan_line: "
        "no run has val/valid_share"
    ]
    assert report_command("--draft", "true").code == 0
    assert "generated images **(no data)** are valid lines" in Path("docs/results.md").read_text()


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ stuff }}", "line 1: 'stuff' is undefined"),
        ("a\n{{ study( }}", "line 2: unexpected"),
        ("\n\n{{ study('paper_table').of('x') }}", "line 3: study paper_table has no run with se"),
    ],
)
def test_a_wrong_template_is_one_line(
    report_command: Command, data: Path, template: str, message: str
) -> None:
    Path("own.md").write_text(template)
    outcome = report_command("--template", "own.md")
    assert outcome.code == 2
    assert len(outcome.errors) == 1 and f"own.md, {message}" in outcome.errors[0]
    assert report_command("--template", "none.md").code == 2


def test_what_is_not_installed_is_named(
    report_command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    outcome = report_command()
    assert outcome.code == 2
    assert "pip install -e '.[report]'" in outcome.errors[0]


# ---- the numbers -------------------------------------------------------------------------------


def test_numbers_over_seeds() -> None:
    own = runs({"x": 1}, {"x": 2}, {"x": 4.5}, {"y": 3, "outcome": "collapsed", "cause": "nobody"})
    assert own.mean("x") == "2.500"
    assert own.mean_sd("x", digits=2) == "2.50 ± 1.80"
    assert own.mean_sd("y") == "3.000"
    assert own.each("x", digits=1) == "1.0, 2.0, 4.5"
    assert (own.least("x"), own.largest("x", digits=0)) == ("1.000", "4")
    assert own.average("x") == 2.5
    assert (own.count("x", at_least=2), own.count("x", at_most=2)) == (2, 2)
    assert own.ended("finished") == 3 and len(own) == 4
    assert own.outcomes() == "3 finished, 1 collapsed (nobody)"
    assert own.settings() == ["a"]
    assert own.has("y") and not own.has("z")
    assert own.mean("z", absent="–") == "–"


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
