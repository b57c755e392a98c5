"""Checkpoints survive kills and full disks; damaged and foreign files are named, never run."""

import csv
import os
import pickle
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from infogan.errors import ConfigurationError
from infogan.loggers import RunFolder
from infogan.loggers.metrics_file import MetricsFile, read_rows
from infogan.runtime import checkpoints
from infogan.runtime.checkpoints import (
    AtomicCheckpointIO,
    CheckpointError,
    keep_as_previous,
    newest_usable,
    read_checkpoint,
)
from tests.cluster.job import prepare
from tests.conftest import Outcome
from tests.support.resumable import (
    BATCHES_AN_EPOCH,
    Stop,
    assert_equal,
    die,
    in_child,
    result,
    run,
)

Command = Callable[..., Outcome]
IO = AtomicCheckpointIO()
PREVIOUS = "last-previous"
FIT = ("fit", "--config=tiny.yaml", "--name=tiny", "--trainer.max_epochs=2")


def content(number: int) -> dict[str, Any]:
    return {
        "state_dict": {"weight": torch.full((5000,), float(number))},
        "pytorch-lightning_version": "2.6.0",
        "global_step": number,
    }


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "folder" / "last.ckpt"
    IO.save_checkpoint(content(1), path)
    return path


# ---- writing -----------------------------------------------------------------------------------


def write_half(thing: Any, file: Any) -> None:
    file.write(b"PK half of it")
    file.flush()
    die()


def rename_and_die(part: Path, path: Path) -> None:
    part.rename(path)
    die()


@pytest.mark.parametrize(
    ("where", "name", "function", "newest"),
    [
        (checkpoints.torch, "save", write_half, 1),
        (os, "fsync", die, 1),
        (Path, "replace", die, 1),
        (Path, "replace", rename_and_die, 2),
    ],
    ids=["half written", "not on the disk", "not renamed", "renamed"],
)
@pytest.mark.integration
def test_a_kill_while_writing_leaves_a_whole_checkpoint(
    saved: Path, where: Any, name: str, function: Any, newest: int
) -> None:
    def save_and_die() -> None:
        setattr(where, name, function)
        IO.save_checkpoint(content(2), saved)

    assert in_child(save_and_die) == -signal.SIGKILL
    assert read_checkpoint(saved)["global_step"] == newest
    # What is left over is used up by the next write.
    IO.save_checkpoint(content(3), saved)
    assert read_checkpoint(saved)["global_step"] == 3
    assert [path.name for path in saved.parent.iterdir()] == ["last.ckpt"]


def limit_file_size(num_bytes: int = 10_000) -> None:
    """Let writes fail after so many bytes, as on a disk that is full."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, resource.RLIM_INFINITY))


@pytest.mark.integration
def test_a_full_disk_leaves_the_older_one_and_says_what_to_do(saved: Path) -> None:
    def fill() -> None:
        limit_file_size()
        with pytest.raises(OSError, match=r"last\.ckpt cannot be written \(.* too large\).*make r"):
            IO.save_checkpoint(content(2), saved)

    assert in_child(fill) == 0
    assert read_checkpoint(saved)["global_step"] == 1
    assert [path.name for path in saved.parent.iterdir()] == ["last.ckpt"]


def test_an_error_that_is_not_the_disks_is_not_hidden(saved: Path) -> None:
    with pytest.raises(AttributeError, match="local object"):
        IO.save_checkpoint({"state_dict": lambda: None}, saved)
    assert read_checkpoint(saved)["global_step"] == 1


def test_stores_that_are_no_local_files_work_as_before() -> None:
    IO.save_checkpoint(content(1), "memory://folder/last.ckpt")
    assert IO.load_checkpoint("memory://folder/last.ckpt")["global_step"] == 1


def test_the_previous_one_is_kept_with_its_time(saved: Path, monkeypatch: Any) -> None:
    os.utime(saved, (1000, 1000))
    keep_as_previous(saved)
    IO.save_checkpoint(content(2), saved)
    previous = saved.with_name("last-previous.ckpt")
    assert read_checkpoint(previous)["global_step"] == 1
    assert previous.stat().st_mtime == 1000

    def refuse(*_: Any) -> None:
        raise OSError("no hard links here")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    keep_as_previous(saved)
    assert read_checkpoint(previous)["global_step"] == 2


# ---- reading -----------------------------------------------------------------------------------


class Bomb:
    """An object whose loading would run code."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("exploded",)


def damage(path: Path, how: str) -> None:
    whole = path.read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    others: dict[str, Callable[[], Any]] = {
        "empty": lambda: path.write_bytes(b""),
        "picture": lambda: path.write_bytes(b"\x89PNG" + whole),
        "pickle": lambda: path.write_bytes(pickle.dumps(Bomb())),
        "half": lambda: path.write_bytes(whole[:middle]),
        "one byte short": lambda: path.write_bytes(whole[:-1]),
        "one bit": lambda: path.write_bytes(flipped),
        "bomb": lambda: torch.save({**content(1), "callbacks": Bomb()}, path),
        "tensor": lambda: torch.save(torch.ones(2), path),
        "weights": lambda: torch.save(content(1)["state_dict"], path),
        "folder": lambda: path.rename(path.with_name("moved")),
    }
    others[how]()
    if how == "folder":
        path.mkdir()


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("empty", "it is empty"),
        ("picture", "it is another kind of file"),
        ("pickle", "it is another kind of file"),
        ("half", "it is truncated or damaged (10"),
        ("one byte short", "it is truncated or damaged (2"),
        ("one bit", "it is damaged at "),
        ("bomb", "it holds objects that only running code could load (posix.mkdir)"),
        ("tensor", "it holds a Tensor"),
        ("weights", "it is a file of torch.save without state_dict"),
        ("folder", "is not a file"),
    ],
)
def test_what_is_no_checkpoint_is_named_and_never_run(
    saved: Path, monkeypatch: pytest.MonkeyPatch, how: str, words: str
) -> None:
    monkeypatch.chdir(saved.parent)
    damage(saved, how)
    with pytest.raises(CheckpointError) as error:
        read_checkpoint(saved)
    assert str(error.value).startswith(f"{saved} ") and words in str(error.value)
    assert "\n" not in str(error.value)
    assert not Path("exploded").exists()
    if how != "weights":
        with pytest.raises(CheckpointError):
            IO.load_checkpoint(saved, weights_only=False)
    assert not Path("exploded").exists()


def test_the_newest_that_can_be_read_is_found(
    saved: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keep_as_previous(saved)
    IO.save_checkpoint(content(2), saved)
    candidates = list(saved.parent.glob("last*.ckpt"))
    for path, time in zip(sorted(candidates), (10, 20), strict=True):  # last-previous, last
        os.utime(path, (time, time))
    found = newest_usable(candidates)
    assert found is not None and found[1]["global_step"] == 2
    assert not caplog.records
    damage(saved, "half")
    os.utime(saved, (30, 30))
    found = newest_usable(candidates)
    assert found is not None and found[0].name == "last-previous.ckpt"
    assert found[1]["global_step"] == 1
    (record,) = caplog.records
    assert record.getMessage().startswith(f"skipped: {saved} cannot be read")
    damage(found[0], "empty")
    assert newest_usable(candidates) is None


# ---- a run that goes on ------------------------------------------------------------------------


def test_last_skips_a_damaged_file_and_ends_the_same(
    command: Command, caplog: pytest.LogCaptureFixture
) -> None:
    """`auto` starts the run; `last` goes on from the epoch before the damaged one."""
    prepare(Path())
    assert command(*FIT, "--ckpt_path=auto").code == 0
    folder = Path("runs/tiny/version_0")
    last, rows = folder / "checkpoints/last.ckpt", (folder / "metrics.csv").read_text()
    state = read_checkpoint(last)["state_dict"]
    damage(last, "half")
    caplog.clear()
    assert command(*FIT, "--ckpt_path=last").code == 0
    (said,) = [r.getMessage() for r in caplog.records if "skipped" in r.getMessage()]
    assert "last.ckpt cannot be read as a checkpoint: it is truncated" in said
    assert any("last-previous.ckpt" in record.getMessage() for record in caplog.records)
    assert [path.name for path in folder.parent.iterdir()] == ["version_0"]
    torch.testing.assert_close(read_checkpoint(last)["state_dict"], state, rtol=0, atol=0)
    assert without_rates(folder / "metrics.csv") == without_rates(rows)
    # The damaged one has not taken the place of the good one before it.
    steps = [read_checkpoint(path)["global_step"] for path in (last.with_stem(PREVIOUS), last)]
    assert steps[1] == 2 * steps[0]
    for path in (last, last.with_stem(PREVIOUS)):
        damage(path, "empty")
    for choice in ("last", "auto"):
        outcome = command(*FIT, f"--ckpt_path={choice}")
        (line,) = outcome.errors
        assert outcome.code == 2 and f"ckpt_path={choice}: none of 2 can be read" in line


def without_rates(table: Path | str) -> list[dict[str, str]]:
    text = table if isinstance(table, str) else table.read_text()
    rows = csv.DictReader(text.splitlines())
    return [{k: v for k, v in row.items() if "per_second" not in k} for row in rows]


@pytest.mark.integration
def test_a_kill_within_an_epoch_costs_the_time_since_the_last_checkpoint(tmp_path: Path) -> None:
    """With a checkpoint a batch, the run goes on at the very batch; without, at the epoch."""
    run(tmp_path / "whole")
    kill_at = BATCHES_AN_EPOCH + 5
    for every_n_minutes, saved_at in ((0.0, kill_at - 1), (None, BATCHES_AN_EPOCH)):
        folder = tmp_path / str(every_n_minutes)
        killed = in_child(run, folder, Stop(kill_at, die), every_n_minutes=every_n_minutes)
        assert killed == -signal.SIGKILL
        checkpoint = read_checkpoint(folder / "small/version_0/checkpoints/last.ckpt")
        assert checkpoint["global_step"] == saved_at
        run(folder, every_n_minutes=every_n_minutes)
        assert_equal(result(folder), result(tmp_path / "whole"))


def test_a_negative_interval_is_refused(command: Command) -> None:
    prepare(Path())
    outcome = command(*FIT, "--last_checkpoint.every_n_minutes=-1")
    (line,) = outcome.errors
    assert outcome.code == 2 and "every_n_minutes must be 0 or more, or null, got -1" in line


def test_python_users_get_the_same_error(tmp_path: Path) -> None:
    run(tmp_path, max_epochs=1)
    (tmp_path / "small/version_0/checkpoints/last.ckpt").write_text("not a checkpoint")
    with pytest.raises(ConfigurationError, match="another kind of file"):
        IO.load_checkpoint(tmp_path / "small/version_0/checkpoints/last.ckpt")


# ---- the log -----------------------------------------------------------------------------------


def test_a_log_is_continued_after_the_rows_of_the_checkpoint(tmp_path: Path) -> None:
    """Also if it was killed within a row, and if rows of the same step were written later."""
    first = MetricsFile(tmp_path / "metrics.csv")
    for step in (1, 2):
        first.log_metrics({"a": step / 10}, step=step)
        first.save()
    first.log_metrics({"b": 0.5}, step=2)
    first.save()
    assert first.path.read_text() == "a,b,step\n0.1,,1\n0.2,,2\n,0.5,2\n"
    with first.path.open("a") as file:
        file.write("0.3,,")
    assert read_rows(first.path)[-1] == {"b": "0.5", "step": "2"}

    def resumed(**at: Any) -> str:
        folder = RunFolder(str(tmp_path.parent), "", tmp_path.name, **at)
        folder.log_metrics({"a": 7.0}, step=3)
        return (tmp_path / "metrics.csv").read_text()

    assert resumed(resumed_step=2) == "a,b,step\n0.1,,1\n0.2,,2\n,0.5,2\n7.0,,3\n"
    assert resumed(resumed_step=2, resumed_rows=2) == "a,step\n0.1,1\n0.2,2\n7.0,3\n"
    assert resumed(resumed_step=0, resumed_rows=0) == "a,step\n7.0,3\n"


@pytest.mark.integration
def test_a_kill_while_the_log_gets_a_new_column_loses_no_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = MetricsFile(tmp_path / "metrics.csv")
    log.log_metrics({"a": 0.5}, step=1)
    log.save()
    log.log_metrics({"b": 0.5}, step=2)

    def save_and_die() -> None:
        monkeypatch.setattr(Path, "replace", die)
        log.save()

    assert in_child(save_and_die) == -signal.SIGKILL
    assert read_rows(log.path) == [{"a": "0.5", "step": "1"}]
