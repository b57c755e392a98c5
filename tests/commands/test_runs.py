"""What is read from run folders: whole, cut off, damaged, of older code."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from infogan.commands.compare.page import comparison_page
from infogan.commands.compare.table import Fact, measure_facts
from infogan.commands.runs import Picture, Point, RunRecord, find_runs, newest_run, read_run
from infogan.errors import ConfigurationError
from tests.support.run_folders import CONFIG, METRICS, make_run

__all__ = ["make_run"]  # a fixture


def test_names_stand_for_folders_and_for_all_runs_of_an_experiment(
    make_run: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("a/version_10", "a/version_9", "a/test/version_0", "b/version_0"):
        make_run(place)
    monkeypatch.chdir(tmp_path)
    runs = Path("runs")
    assert find_runs(["a"], runs) == [runs / "a/version_9", runs / "a/version_10"]
    assert find_runs(["b", "a/version_10", "runs/b"], runs) == [
        runs / "b/version_0",
        runs / "a/version_10",
    ]
    assert find_runs([str(tmp_path / "runs/b/version_0")], Path("elsewhere")) == [
        tmp_path / "runs/b/version_0"
    ]


def test_a_finished_run_is_read(make_run: Callable[..., Path]) -> None:
    folder = make_run(
        outcome="finished", steps=30, duration_seconds=61.0, val_split="5000 of train"
    )
    (folder / "hparams.yaml").write_text(
        "data_fingerprint: mnist-1\ntorch_version: !!python/object/new:os.system [echo]\nx: 1\n"
    )
    run = read_run(folder)
    assert run.val_split == "5000 of train"
    assert run.config == {**CONFIG, "data_fingerprint": "mnist-1", "torch_version": None}
    assert run.curves["train/mi"] == [Point(10, 0.5), Point(20, 1.0), Point(30, 1.5)]
    assert run.best("val/code_accuracy") == Point(20, 0.8)
    assert run.last("val/code_accuracy") == Point(30, 0.7)
    assert (run.outcome, run.steps, run.duration) == ("finished", 30, 61.0)


@pytest.mark.parametrize(
    ("metrics", "summary", "steps"),
    [
        (METRICS, {}, 30),
        (METRICS + "40,2.", {}, 30),  # killed while it wrote
        (None, {}, 0),
        (METRICS, {"outcome": "finished", "steps": 20, "duration_seconds": 9.0}, 30),  # resumed
    ],
)
def test_an_unfinished_run_is_shown_as_that(
    make_run: Callable[..., Path], metrics: str | None, summary: dict[str, Any], steps: int
) -> None:
    run = read_run(make_run(metrics=metrics, **summary))
    assert (run.outcome, run.steps, run.duration) == ("unfinished", steps, None)
    outcome, shown, duration, split = measure_facts([run])[:4]
    assert (outcome.values, shown.values, duration.values) == (["unfinished"], [str(steps)], ["-"])
    assert split == Fact("validated on", ["test images"])
    assert "<td" in comparison_page([run])


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("config.yaml", "a: [", "config.yaml cannot be read (ParserError)"),
        ("config.yaml", "lr: 1\n", "config.yaml has no model and trainer"),
        ("metrics.csv", "epoch,loss\n1,2\n", "no table of steps and numbers ('step')"),
        ("metrics.csv", "step,loss\n1,high\n", "could not convert string to float: 'high'"),
        ("summary.json", "{", "summary.json cannot be read (JSONDecodeError)"),
    ],
)
def test_a_damaged_or_foreign_file_is_named(
    make_run: Callable[..., Path], file: str, content: str, said: str
) -> None:
    folder = make_run()
    (folder / file).write_text(content)
    with pytest.raises(ConfigurationError, match=re.escape(said)) as caught:
        read_run(folder)
    assert str(folder) in str(caught.value) and "\n" not in str(caught.value)


def test_half_written_files_are_not_believed(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text('{"outcome": "finished", "st')
    (tmp_path / "metrics.csv").write_text("step,train/mi\n1,0.5\n2,0.7\n3,0.")
    run = RunRecord(tmp_path)
    assert not run.has_ended
    assert run.rows == [{"step": "1", "train/mi": "0.5"}, {"step": "2", "train/mi": "0.7"}]
    assert run.total_steps is None


@pytest.mark.parametrize(
    ("trainer", "steps"),
    [
        ({"max_epochs": 5, "limit_train_batches": 10, "max_steps": -1}, 50),
        ({"max_epochs": 5, "limit_train_batches": 10.0, "max_steps": -1}, 50),
        ({"max_epochs": 5, "limit_train_batches": 10, "max_steps": 20}, 20),
        ({"max_epochs": -1, "limit_train_batches": 10, "max_steps": 20}, 20),
        ({"max_epochs": 5, "limit_train_batches": 1, "max_steps": -1}, 5),
        ({"max_epochs": 5, "limit_train_batches": 1.0, "max_steps": -1}, None),
        ({"max_epochs": None, "limit_train_batches": None, "max_steps": -1}, None),
    ],
)
def test_the_length_of_a_run_is_read_from_its_config(
    tmp_path: Path, trainer: dict[str, Any], steps: int | None
) -> None:
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"trainer": trainer}))
    assert RunRecord(tmp_path).total_steps == steps


def test_values_are_of_one_validation(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text(
        "step,train/mi,val/code_accuracy,val/left,val/right,test/nmi\n"
        "1,0.1,,,,\n1,,0.5,0.9,,\n1,,,,0.8,\n2,0.2,,,,\n2,,0.6,,0.7,\n2,,,0.65,,\n3,0.3,,,,\n"
        "4,0.4,,,,\n4,,0.7,,0.6,\n"
    )
    run = RunRecord(tmp_path)
    # `val/left` of step 2 is of other weights.
    assert run.newest_values("val") == {"val/code_accuracy": "0.7", "val/right": "0.6"}
    assert run.newest_values("train") == {"train/mi": "0.4"}
    assert run.newest_values("test") == {} and run.last("test/nmi") is None
    assert run.last("val/left") is None and run.last("val/right") == Point(4, 0.6)
    assert list(run.curves) == ["train/mi", "val/code_accuracy", "val/left", "val/right"]


def test_pictures_are_the_newest_there_are(tmp_path: Path) -> None:
    assert RunRecord(tmp_path).pictures == {}
    for step in ("step_00000100", "step_00000200"):
        folder = tmp_path / "traversals" / step
        folder.mkdir(parents=True)
        (folder / "overview.png").touch()
        (folder / "uniform1.png").touch()
    newest = tmp_path / "traversals/step_00000200"
    assert RunRecord(tmp_path).pictures == {
        "overview": Picture(newest / "overview.png", 200),
        "uniform1": Picture(newest / "uniform1.png", 200),
    }
    (tmp_path / "overview.png").touch()
    assert RunRecord(tmp_path).pictures["overview"] == Picture(tmp_path / "overview.png", None)


def test_the_newest_run_is_the_one_of_the_highest_number(tmp_path: Path) -> None:
    assert newest_run(tmp_path) is None
    for name in ("version_9", "version_10", "version_x", "test"):
        (tmp_path / name).mkdir()
    assert newest_run(tmp_path) == RunRecord(tmp_path / "version_10")
