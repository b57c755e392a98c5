"""Runs compared without an account: what is read, what differs, and a page that stands alone."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infogan.commands.compare.settings import differing_settings
from infogan.commands.compare.table import (
    Fact,
    as_duration,
    as_text_table,
    measure_facts,
    run_labels,
)
from infogan.commands.runs import read_run
from tests.support.run_folders import METRICS, make_run

__all__ = ["make_run"]  # a fixture


# ---- settings ----------------------------------------------------------------------------------


def adam(lr: float) -> dict[str, Any]:
    return {"class_path": "torch.optim.Adam", "init_args": {"lr": lr, "fused": True, "eps": None}}


def test_only_differences_are_shown_under_short_names() -> None:
    first = {"name": "a", "model": {"class_path": "x.M", "init_args": {"w": 1, "o": adam(0.1)}}}
    second = {"name": "b", "model": {"class_path": "x.M", "init_args": {"w": 1, "o": adam(0.2)}}}
    assert differing_settings([first, second]) == {"model.o.lr": ["0.1", "0.2"]}
    assert differing_settings([first, first]) == {} == differing_settings([first])


def test_another_class_is_shown_with_what_only_it_takes() -> None:
    first = {"data": {"class_path": "d.MNIST", "init_args": {"size": 8, "verify": True}}}
    second = {"data": {"class_path": "d.Prop", "init_args": {"size": 9}}, "new": [1, {"a": None}]}
    assert differing_settings([first, second]) == {
        "data": ["MNIST (verify=true)", "Prop"],
        "data.size": ["8", "9"],
        "new": ["-", "[1, ]"],
    }


def test_an_object_against_none_and_lists_of_other_lengths_are_one_line() -> None:
    first = {"o": adam(0.1), "codes": [adam(1), adam(2)], "betas": [0.5, 0.9]}
    second = {"o": None, "codes": [adam(1)], "betas": [0.5, 0.8]}
    assert differing_settings([first, second]) == {
        "o": ["Adam (lr=0.1, fused=true)", "null"],
        "codes": [
            "[Adam (lr=1, fused=true), Adam (lr=2, fused=true)]",
            "[Adam (lr=1, fused=true)]",
        ],
        "betas.1": ["0.9", "0.8"],
    }


# ---- table -------------------------------------------------------------------------------------


def test_scores_of_a_test_are_compared_as_that(make_run: Callable[..., Path]) -> None:
    scores = "step,test/fid,test/nmi\n0,{},0.5\n"
    runs = [read_run(make_run(f"{n}/test/version_0", scores.format(n))) for n in (3, 2)]
    facts = {fact.name: fact for fact in measure_facts(runs)}
    assert facts["outcome"].values == ["tested", "tested"]
    assert facts["last test/fid"].values == ["3", "2"] and facts["last test/fid"].best == {1}


def test_the_best_is_marked_where_better_is_known(make_run: Callable[..., Path]) -> None:
    runs = [read_run(make_run("a/v")), read_run(make_run("b/v", METRICS.replace("0.8", "0.9")))]
    facts = {fact.name: fact for fact in measure_facts(runs)}
    assert facts["best val/code_accuracy"].values == ["0.8000 at 20", "0.9000 at 20"]
    assert facts["best val/code_accuracy"].best == {1}
    assert facts["last val/code_accuracy"].best == facts["last train/mi"].best == frozenset()


@pytest.mark.parametrize(
    ("places", "labels"),
    [
        (["a/v0", "b/v0"], ["a", "b"]),
        (["a/v0", "a/v1"], ["v0", "v1"]),
        (["a/v0", "a/v1", "b/v0"], ["a/v0", "a/v1", "b/v0"]),
    ],
)
def test_runs_are_named_as_short_as_tells_them_apart(
    make_run: Callable[..., Path], places: list[str], labels: list[str]
) -> None:
    assert run_labels([read_run(make_run(place)) for place in places]) == labels


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (0.4, "0 s"), (61, "1 min 1 s"), (3599.7, "1 h 0 min"), (90061, "25 h 1 min")],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert as_duration(seconds) == text


def test_the_text_table_fits_the_terminal() -> None:
    lines = [Fact("outcome", ["finished"] * 5), Fact("reason", ["so many words " * 6] * 5)]
    text = as_text_table([f"run{i}" for i in range(5)], lines, width=70)
    assert max(map(len, text.splitlines())) <= 70
    assert re.findall(r"run\d", text) == [f"run{i}" for i in range(5)]
    assert text.count("so many words") >= 5 and len(text.split("\n\n")) > 1
