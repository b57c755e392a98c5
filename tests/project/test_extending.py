"""The walkthrough of docs/extending.md, done literally."""

import ast
import csv
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from infogan.callbacks.predictions import as_column
from tests import ROOT
from tests.conftest import TINY, Outcome

PAGE = (ROOT / "docs" / "extending.md").read_text()
FILES = dict(re.findall(r"<!-- file (\S+) -->\n```\w+\n(.*?)```", PAGE, flags=re.DOTALL))
COMMANDS = re.findall(r"^python cli\.py (.*)$", PAGE, flags=re.MULTILINE)


@pytest.fixture
def folder(command: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Write the page's files into the empty working directory, and forget them afterwards."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name, content in FILES.items():
        Path(name).write_text(content)
    yield Path.cwd()
    sys.modules.pop("my_codes", None)


def test_the_page_has_its_parts() -> None:
    assert list(FILES) == ["my_codes.py", "check_my_codes.py", "my_angles.yaml"]
    assert [command.split()[0] for command in COMMANDS] == ["fit", "sample"]
    # What it says of the class is all there is to override.
    (kind,) = [n for n in ast.parse(FILES["my_codes.py"]).body if isinstance(n, ast.ClassDef)]
    methods = {node.name for node in kind.body if isinstance(node, ast.FunctionDef)}
    table = PAGE.partition("| part |")[2].partition("\n\n")[0]
    first_cells = " ".join(re.findall(r"^\| (`.*?) \|", table, flags=re.MULTILINE))
    assert methods | {"is_discrete"} == set(re.findall(r"`(\w+)`", first_cells))


def test_the_walkthrough(command: Callable[..., Outcome], folder: Path) -> None:
    fit, sample = map(shlex.split, COMMANDS)
    trained = command(*fit, *TINY, "--traversal.num_values=10")
    assert trained.code == 0, trained.err
    run = folder / "runs/my_angles/version_0"
    with Image.open(run / "traversals/step_00000002/angle1.png") as picture:
        # Ten angles down, two noise draws across, at twice 28 pixels and 2 between.
        assert picture.height > 10 * 58 and picture.width < 10 * 58
    with (run / "metrics.csv").open(newline="") as file:
        assert any(row["train/mi_continuous"] for row in csv.DictReader(file))
    names: dict[str, Any] = {}
    exec(FILES["check_my_codes.py"], names)
    code = names["code"]
    assert as_column(code, code.posterior_mode(torch.tensor([[0.0, 3.0], [-2.0, 0.0]]))) == [
        "0 1",
        "-1 0",
    ]
    # As a user has it: a process of its own, that finds the class in the working directory.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    result = subprocess.run(
        [sys.executable, str(ROOT / "cli.py"), *sample],
        cwd=folder,
        env={**environment, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    with (folder / "upwards" / "codes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 16 and {row["angle1"] for row in rows} == {"0 1"}
    assert (folder / "upwards" / "15.png").is_file()
