"""The report: every number from committed data, none without, the same bytes again."""

import csv
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from benchmarks.report.command import SHIPPED
from infogan.commands.study.definition import load_study
from tests import ROOT
from tests.conftest import Outcome
from tests.support.report import DATA, MEASURES, change, write_rows

Command = Callable[..., Outcome]
RESULTS, QUESTIONS = Path("docs/results.md"), Path("docs/questions.md")
SHORT_RUNS = Path("docs/short_runs.md")


def test_the_report_is_made_of_committed_data(report_command: Command, data: Path) -> None:
    outcome = report_command()
    assert outcome.code == 0, outcome.err
    results, questions = RESULTS.read_text(), QUESTIONS.read_text()
    # Five seeds of 0.900 to 0.904.
    assert (
        "| InfoGAN (original) | `infogan_mnist_paper` | c_cat, c_cont1, c_cont2, z | g = G(z, c) "
        "| 1 | 5 finished | 0.902 ± 0.002 | 0.802 ± 0.002 | 1.90 ± 0.00 | 2.00 ± 0.00 |"
    ) in results.splitlines()
    vanilla = (
        "| Vanilla GAN | `vanilla_gan_mnist` | z | – | 0 | 3 finished | – | – | – | 2.00 ± 0.00 |"
    )
    assert vanilla in results.splitlines()
    assert "| 1 collapsed (discriminator_won), 2 finished |" in results
    assert "| Adam for both | 3 | 3 finished | 2.00 ± 0.00 | 0.45 ± 0.00 |" in questions
    seeds = ", ".join(f"0.90{seed}" for seed in range(5))
    repaired = f"| repaired | 5,000 | {seeds} | 100, 100, 100, 100, 100 |"
    assert repaired in SHORT_RUNS.read_text()
    for page, figures in {results: ("4",), questions: ("2", "3", "6")}.items():
        assert "no data" not in page and "{{" not in page and "{%" not in page
        for figure in figures:
            assert f"(images/results/figure_{figure}.png)" in page
            assert Image.open(f"docs/images/results/figure_{figure}.png").size[0] >= 300


def test_what_has_not_run_is_listed_and_answers_nothing(
    report_command: Command, data: Path
) -> None:
    with (data / "paper_table.csv").open(newline="") as file:
        rows = [r for r in csv.DictReader(file) if r["setting"] == "infogan_line"]
    write_rows(data / "paper_table.csv", rows)
    outcome = report_command()
    assert outcome.code == 0, outcome.err
    text = SHORT_RUNS.read_text()
    assert "The line, repaired" not in text and "What the trunk knows" not in text
    _, _, missing = text.partition("## Not run yet")
    settings = {member.setting for member in load_study("rectangles").members}
    assert f"| `python cli.py study rectangles` | {len(settings)} |" in missing.splitlines()


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
    text = SHORT_RUNS.read_text()
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
    for page in ("docs/results.md", "docs/short_runs.md", "docs/questions.md"):
        assert Path(page).read_text() == (root / page).read_text()
    pictures = {path.name for path in Path("docs/images/results").iterdir()}
    assert {path.name for path in (root / "docs/images/results").iterdir()} == pictures


def test_the_same_data_gives_the_same_bytes(report_command: Command, data: Path) -> None:
    def files() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in Path("docs").rglob("*.*")}

    assert report_command().code == 0
    first = files()
    shutil.rmtree("docs")
    assert report_command().code == 0
    assert files() == first and len(first) == 3 + 5


def test_conclusions_follow_the_data(report_command: Command, data: Path) -> None:
    path = data / "paper.csv"
    change(path, "vanilla_gan_codes_probed_mnist", **{"test/code_accuracy": "0.3"})
    assert report_command().code == 0
    before = QUESTIONS.read_text()
    assert "That is no more than a Q reads to which nothing gives a meaning" in before
    assert "For the samples. Without z the accuracy is the same" in before
    change(path, "infogan_thought_experiment_mnist", **{"test/code_accuracy": "0.12"})
    change(path, "infogan_no_noise_mnist", **{"test/code_accuracy": "0.5"})
    assert report_command().code == 0
    after = QUESTIONS.read_text()
    assert "That is more than a Q reads to which nothing gives a meaning" in after
    assert "Without z the accuracy differs (0.500 and 0.902)" in after


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
    text = SHORT_RUNS.read_text()
    five = (
        "| 5 | 300 | test images | 2 finished | 0.400 ± 0.000 | 0.500 ± 0.000 "
        "| – | – | – | 1.000 ± 0.000 |"
    )
    assert five in text.splitlines()
    assert "share 0.02 nats without it and 2.17 at λ = 1, of\nat most 2.30." in text
    assert "MNIST has ten digits" not in text and "{%" not in text


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
    text = SHORT_RUNS.read_text()
    assert "## Further study: further" in text and "study: augment" not in text
    assert "| x-2 | 9 | test images | 1 nan | – | – | – | – | 0.50 | – |" in text.splitlines()
    assert "| the labelled ones | 0.850 ± 0.071 |" in QUESTIONS.read_text()


@pytest.mark.parametrize(
    ("lost", "page", "message"),
    [
        ("paper.csv", 0, "there is no benchmarks/studies/paper.csv; run the study paper first"),
        ("paper/curves", 0, "there are no curves of infogan_mnist_paper in"),
        ("paper/pictures", 0, "there is no picture overview of infogan_mnist_paper in"),
        ("ablation.csv", 0, "there is no benchmarks/studies/ablation.csv; run the study ablation"),
        ("paper_table.csv", 1, "there is no benchmarks/studies/paper_table.csv; run the study"),
    ],
)
def test_missing_files_are_one_line(
    report_command: Command, data: Path, lost: str, page: int, message: str
) -> None:
    path = data / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    outcome = report_command()
    assert outcome.code == 2
    assert len(outcome.errors) == 1 and message in outcome.errors[0]
    assert outcome.errors[0].startswith(f"error: {SHIPPED[page]}, line ")
    assert not Path("docs/results.md").exists()
    draft = report_command("--draft", "true")
    assert draft.code == 0, draft.err
    assert f"no data  {message}" in draft.err
    for name in ("results", "short_runs", "questions"):
        assert Path(f"docs/{name}.md").read_text().startswith("> **Draft**: ")


def test_a_missing_number_is_one_line_with_its_place(report_command: Command, data: Path) -> None:
    change(data / "paper.csv", "infogan_line", **{"test/valid_share": ""})
    outcome = report_command()
    (line,) = [
        number
        for number, text in enumerate(SHIPPED[2].read_text().splitlines(), start=1)
        if 'line.mean("test/valid_share")' in text
    ]
    assert outcome.errors == [
        f"error: {SHIPPED[2]}, line {line}: study paper, setting=infogan_line: "
        "no run has test/valid_share"
    ]
    assert report_command("--draft", "true").code == 0
    assert "on the rectangles, but **(no data)** of\nthe lines are valid" in QUESTIONS.read_text()


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
    outcome = report_command("--templates", "[own.md]")
    assert outcome.code == 2
    assert len(outcome.errors) == 1 and f"own.md, {message}" in outcome.errors[0]
    assert report_command("--templates", "[none.md]").code == 2


def test_what_is_not_installed_is_named(
    report_command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    outcome = report_command()
    assert outcome.code == 2
    assert "pip install -e '.[report]'" in outcome.errors[0]
