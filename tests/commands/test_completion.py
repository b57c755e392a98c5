"""The completion script, in a real bash."""

import contextlib
import io
import subprocess
from collections.abc import Callable

import pytest

from infogan.commands import main as cli
from tests.conftest import Outcome


@pytest.fixture(scope="module")
def script() -> str:
    with contextlib.redirect_stdout(io.StringIO()) as text:
        assert cli.main(["completion"]) == 0
    return text.getvalue()


@pytest.mark.parametrize(
    ("line", "first"),
    [
        ("infogan comp", "compare"),
        ("infogan fit --trainer.max_e", "--trainer.max_epochs"),
        ("infogan fit -c infogan_lin", "infogan_line.yaml"),
        ("infogan sample --num", "--num_samples"),
        ("infogan test --sample_quality.num", "--sample_quality.num_images"),
        ("infogan study --mo", "--mode"),
    ],
)
@pytest.mark.integration
def test_a_word_is_completed(line: str, first: str, script: str) -> None:
    words = line.split()
    ask = f"{script}\nCOMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _infogan"
    ask += '; printf "%s\\n" "${COMPREPLY[@]}"'
    done = subprocess.run(["bash", "-euc", ask], capture_output=True, text=True, check=True)
    assert done.stdout.split()[0] == first


def test_every_verb_has_its_options(script: str) -> None:
    for verb in cli.VERBS:
        if verb != "completion":
            (line,) = [row for row in script.splitlines() if row.strip().startswith(f"{verb})")]
            assert "--help" in line and len(line.split()) > 4


def test_it_takes_no_options(command: Callable[..., Outcome]) -> None:
    outcome = command("completion", "zsh")
    assert outcome.code == 2 and "zsh" in outcome.err and len(outcome.err.splitlines()) == 1
