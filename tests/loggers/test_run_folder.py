"""The run folder: this run's alone."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from infogan.loggers import RunFolder
from tests.conftest import TINY, Outcome


def test_starts_at_the_same_time_take_folders_of_their_own(tmp_path: Path) -> None:
    barrier, taken = threading.Barrier(8), []

    def start() -> None:
        logger = RunFolder(str(tmp_path), "line")
        barrier.wait()
        taken.append(logger.log_dir)

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(taken)) == 8
    assert sorted(taken) == sorted(str(path) for path in (tmp_path / "line").iterdir())


def test_a_folder_is_made_when_it_is_asked_for(tmp_path: Path) -> None:
    logger = RunFolder(str(tmp_path), "line")
    assert not (tmp_path / "line").exists()
    assert logger.log_dir == str(tmp_path / "line/version_0")
    assert RunFolder(str(tmp_path), "line").version == 1


def test_home_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert RunFolder("~/runs", "line").log_dir == str(tmp_path / "runs/line/version_0")


@pytest.mark.integration
def test_without_loggers_a_run_still_has_a_folder(
    command: Callable[..., Outcome], trained: Callable[..., Path]
) -> None:
    before = trained()
    fit = command("fit", "--config", "infogan_mnist.yaml", *TINY, "--trainer.logger=false")
    assert fit.code == 0, fit.err
    run = before.with_name("version_1")
    assert set(run.parent.iterdir()) == {before, run}
    assert (run / "config.yaml").is_file() and (run / "checkpoints/last.ckpt").is_file()
    assert (run / "summary.json").is_file() and not (run / "metrics.csv").exists()
    assert [path.name for path in Path().iterdir()] == ["runs"]
