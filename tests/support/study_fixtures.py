"""Fixtures of the tests of studies: tiny study files, and the verb with pretended members."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from infogan.commands.study import command as study_command
from tests import ROOT
from tests.conftest import Outcome
from tests.support.study_program import StudyRunner

Command = Callable[..., Outcome]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Return a writer of a study file of acts, and of the config that its members share."""

    def write_study(*acts: str, name: str = "acts", **keys: Any) -> Path:
        Path("line.yaml").write_text("# a comment\nmodel: {class_path: Some}\n")
        variants = {"act": {act: {"act": act} for act in acts or ("finish",)}}
        content = {"seeds": [0], "variants": variants, "members": ["line.yaml"], **keys}
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(content, sort_keys=False))
        return path

    return write_study


@pytest.fixture
def study(command: Command, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Return a function that runs the verb with members that only pretend to train."""
    monkeypatch.setattr(study_command, "Runner", StudyRunner)
    monkeypatch.setattr("infogan.commands.study.runner.POLL_SECONDS", 0.02)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return lambda *arguments: command("study", *arguments)
