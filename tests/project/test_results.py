"""The page of the results: its tables, and conclusions that follow them."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.report.codes import Codes, assigned, highest, lowest
from benchmarks.report.data import NO_DATA
from tests.conftest import Outcome
from tests.support.report import change, runs, write_rows

Command = Callable[..., Outcome]


def page(report_command: Command) -> list[str]:
    """Write the report; return the lines of the results, each sentence and item on one."""
    outcome = report_command()
    assert outcome.code == 0, outcome.err
    text = Path("docs/results.md").read_text()
    assert NO_DATA not in text and "{{" not in text and "{%" not in text
    return text.splitlines()


def prose(lines: list[str]) -> str:
    return " ".join(" ".join(lines).split())


def test_every_question_has_its_table(report_command: Command, data: Path) -> None:
    lines = page(report_command)
    rows = [
        # Five seeds of the paper's recipe, sd 0.0016, standard error 0.0007.
        "| 4 | 5000 of train | 5,000 | 0.904 | 0.904 | 0.804 | 2.00 |",
        "| standard error | | | 0.001 | 0.001 | 0.001 | 0.00 |",
        # Generative; inferential, of slant, thickness, width, for each of the two codes.
        "| 0 | 0.85; 0.88 | 0.10; 0.10 | 0.10; 0.10 | 0.85; 0.88 | 0.10; 0.10 | 0.85; 0.88 |",
        "| + falling rates, augmentation | 3 | 0.901 ± 0.001 | 0.001 | 0.901 "
        "| 2.00 ± 0.00 | 0.85 ± 0.00 | 0.85 ± 0.00 | 0.10 ± 0.00 |",
        # Own and other's measure, of both codes.
        "| 3 | 0.85; 0.88 | 0.10; 0.10 | 0.85; 0.88 | 0.10; 0.10 | 0.903 | 0.903 | 2.00 |",
    ]
    assert [row for row in rows if row not in lines] == []
    for name in ("figure_4", "overview"):
        assert any(f"(images/results/{name}.png)" in line for line in lines)
        assert Image.open(f"docs/images/results/{name}.png").size[0] >= 300


def test_tables_have_as_many_cells_as_their_heads(report_command: Command, data: Path) -> None:
    block: list[str] = []
    for line in [*page(report_command), ""]:
        if line.startswith("|"):
            block.append(line.replace("\\|", "").strip())
        elif block:
            assert len({row.count("|") for row in block}) == 1, block[0]
            assert len(block) > 2
            block = []


def test_goals_that_are_missed_are_said_and_those_met_are_not(
    report_command: Command, data: Path
) -> None:
    text = prose(page(report_command))
    assert "Nearly. By what G draws, each code has an |r| of at least 0.85" in text
    assert "0 of 5 seeds reach the goal of 0.9 and 0.2. By what Q reads" in text
    assert "≤ 0.2 with the other's: missed in 5 of 5 seeds." in text
    assert "0.985 for the flagship's accuracy**: missed, at 0.902; 5 of 5 seeds lie" in text

    met = {
        "test/morpho_generative_slant_uniform1": "0.93",
        "test/morpho_generative_thickness_uniform2": "0.92",
        "test/code_accuracy": "0.99",
    }
    change(data / "paper.csv", "infogan_mnist", **met)
    text = prose(page(report_command))
    assert "Yes. By what G draws, each code has an |r| of at least 0.92" in text
    assert "5 of 5 seeds reach the goal" in text
    assert "The goal for the flagship's codes" not in text
    assert "0.985 for the flagship's accuracy" not in text


def test_rows_that_lack_seeds_are_listed(report_command: Command, data: Path) -> None:
    assert "Not run yet" not in prose(page(report_command))
    with (data / "ablation.csv").open(newline="") as file:
        rows = [r for r in csv.DictReader(file) if r["setting"] != "both" or r["seed"] == "0"]
    write_rows(data / "ablation.csv", rows)
    missing = prose(page(report_command)).partition("## Not run yet")[2]
    assert missing.strip() == "- `python cli.py study ablation`: both (1 of 3 seeds)."


def test_runs_of_the_old_protocol_stay_out(report_command: Command, data: Path) -> None:
    before = page(report_command)
    for setting in ("infogan_mnist_paper", "infogan_mnist"):
        change(data / "paper_table.csv", setting, **{"test/code_accuracy": "0.123"})
    assert page(report_command) == before
    assert "0.123" in Path("docs/short_runs.md").read_text()
    assert "0.123" not in Path("docs/questions.md").read_text()


# ---- correlations of codes ---------------------------------------------------------------------


def codes_of(*tables: tuple[float, float, float, float]) -> Codes:
    """Return the codes of runs by r: slant with codes 1 and 2, thickness with codes 1 and 2."""
    names = [f"{measure}_uniform{code}" for measure in ("slant", "thickness") for code in (1, 2)]
    return Codes(
        runs(
            *(
                {f"test/morpho_generative_{n}": r for n, r in zip(names, table, strict=True)}
                for table in tables
            )
        )
    )


def test_each_measure_has_a_code_of_its_own() -> None:
    codes = codes_of((-0.1, 0.7, 0.5, 0.0), (0.8, -0.8, 0.1, 0.3))
    assert [assigned(row) for row in codes.rows] == [
        ("uniform2", "uniform1"),
        ("uniform1", "uniform2"),
    ]
    assert codes.own("slant") == [0.7, 0.8] and codes.own("thickness") == [0.5, 0.3]
    assert codes.other() == [0.1, 0.8]
    assert codes.strongest("slant") == [0.7, 0.8] and codes.strongest("thickness") == [0.5, 0.3]
    assert codes.misses(0.3, 0.8) == 0 and codes.misses(0.4, 0.8) == 1
    assert codes.misses(0.3, 0.5) == 1


def test_pairs_are_two_codes_and_not_one_that_does_both() -> None:
    codes = codes_of((0.9, 0.1, 0.9, 0.1), (0.6, 0.1, 0.1, -0.6))
    assert codes.pairs(0.5, ("thickness",)) == 1
    assert codes.pairs(0.61, ("thickness",)) == 0


@pytest.mark.parametrize(("text", "expected"), [(lowest, "0.12"), (highest, "0.99")])
def test_extremes_are_texts(text: Callable[..., str], expected: str) -> None:
    assert text([0.5, 0.123, 0.99], 2) == expected
    assert text([]) == NO_DATA
