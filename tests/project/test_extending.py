"""The examples run, and docs/extending.md shows them as they are."""

import ast
import csv
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image

from infogan.callbacks.predictions import as_column
from tests import ROOT
from tests.conftest import TINY, Outcome

EXAMPLES = ROOT / "examples"
PAGE = (ROOT / "docs" / "extending.md").read_text()
EXCERPTS = re.findall(r"<!-- from (\S+) -->\n```\w+\n(.*?)```", PAGE, flags=re.DOTALL)
BLOCKS = re.findall(r"<!-- run(?: in (\S+))? -->\n```\n(.*?)```", PAGE, flags=re.DOTALL)
COMMANDS = {
    folder: [shlex.split(line.removeprefix("python cli.py ")) for line in block.splitlines()]
    for folder, block in BLOCKS
}


@pytest.fixture
def enter(
    command: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], list[list[str]]]]:
    """Return a function that copies an example here and returns the page's commands for it."""
    monkeypatch.setattr(sys, "path", list(sys.path))

    def copy(folder: str) -> list[list[str]]:
        shutil.copytree(ROOT / folder, Path.cwd(), dirs_exist_ok=True)
        return COMMANDS[folder]

    yield copy
    for path in EXAMPLES.rglob("*.py"):
        sys.modules.pop(path.stem, None)


def test_excerpts_are_those_of_the_files() -> None:
    assert {name for name, _ in EXCERPTS if name.startswith("examples")} == {
        str(path.relative_to(ROOT)) for path in EXAMPLES.rglob("*.*") if path.suffix != ".pyc"
    }
    for name, excerpt in EXCERPTS:
        assert unindented(excerpt) in unindented((ROOT / name).read_text()), name


def unindented(text: str) -> str:
    """Return a text without indentation and empty lines, which an excerpt need not keep."""
    return "\n".join(line.strip() for line in text.splitlines() if line.strip())


def test_the_table_names_all_that_a_code_overrides() -> None:
    tree = ast.parse((EXAMPLES / "angle" / "my_codes.py").read_text())
    (kind,) = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    methods = {node.name for node in kind.body if isinstance(node, ast.FunctionDef)}
    table = PAGE.partition("| part |")[2].partition("\n\n")[0]
    first_cells = " ".join(re.findall(r"^\| (`.*?) \|", table, flags=re.MULTILINE))
    assert methods | {"is_discrete"} == set(re.findall(r"`(\w+)`", first_cells))


def test_an_experiment(command: Callable[..., Outcome]) -> None:
    ((fit),) = COMMANDS[""]
    outcome = command(*fit, "--print_config")
    assert outcome.code == 0, outcome.err
    assert "mi_weight: 0.5" in outcome.out


def test_a_data_set_and_a_metric(
    command: Callable[..., Outcome], enter: Callable[[str], list[list[str]]]
) -> None:
    (fit,) = enter("examples/digits")
    outcome = command(*fit, *TINY)
    assert outcome.code == 0, outcome.err
    with Path("runs/digits/version_0/metrics.csv").open(newline="") as file:
        scores = [row["val/homogeneity"] for row in csv.DictReader(file) if row["val/nmi"]]
    assert len(scores) == 1 and 0 <= float(scores[0]) <= 1


def test_a_code(command: Callable[..., Outcome], enter: Callable[[str], list[list[str]]]) -> None:
    fit, sample = enter("examples/angle")
    trained = command(*fit, *TINY, "--traversal.num_values=10")
    assert trained.code == 0, trained.err
    run = Path("runs/my_angles/version_0")
    with Image.open(run / "traversals/step_00000002/angle1.png") as picture:
        # Ten angles down, two noise draws across, at twice 28 pixels and 2 between.
        assert picture.height > 10 * 58 and picture.width < 10 * 58
    with (run / "metrics.csv").open(newline="") as file:
        assert any(row["train/mi_continuous"] for row in csv.DictReader(file))
    code = runpy.run_path("check_my_codes.py")["code"]
    modes = code.posterior_mode(torch.tensor([[0.0, 3.0], [-2.0, 0.0]]))
    assert as_column(code, modes) == ["0 1", "-1 0"]
    # As a user has it: a process of its own, that finds the class in the working directory.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    result = subprocess.run(
        [sys.executable, str(ROOT / "cli.py"), *sample],
        env={**environment, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    with Path("upwards/codes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 16 and {row["angle1"] for row in rows} == {"0 1"}
    assert Path("upwards/15.png").is_file()
