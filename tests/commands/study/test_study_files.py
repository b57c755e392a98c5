"""What studies show while they run, hand to a cluster, and leave to be committed."""

import io
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from infogan.commands.study import progress as study_progress
from infogan.commands.study.definition import load_study
from infogan.commands.study.progress import Progress, Screen, duration
from infogan.commands.study.records import MemberFolder
from infogan.commands.study.table import CURVE_POINTS, thinned
from infogan.files import read_rows
from tests.support import study_program
from tests.support.studies import TABLE, Command, table

pytest_plugins = ["tests.support.study_fixtures"]


# ---- on a cluster ------------------------------------------------------------------------------


SRUN = """#!/bin/sh
test "$1" = --cpus-per-task=6 || exit 1
shift 4
exec {program} "$@"
"""


def test_the_same_file_as_jobs(study: Command, write: Callable[..., Path]) -> None:
    path = write("finish", "nan", seeds=[0, 1])
    study(str(path), "--only", "line-nan_seed1")
    script = study(str(path), "--mode", "sbatch", "--threads", "3", "--jobs", "2").out
    assert "#SBATCH --array=0-1\n" in script and "#SBATCH --cpus-per-task=6\n" in script
    assert "#SBATCH --gres=gpu:1\n" in script
    assert "  line-finish_seed0,line-nan_seed0\n  line-finish_seed1\n" in script
    Path("srun").write_text(SRUN.format(program=" ".join(study_program.PROGRAM)))
    Path("srun").chmod(0o755)
    for task in range(2):
        environment = {**os.environ, "SLURM_ARRAY_TASK_ID": str(task)}
        environment["PATH"] = f"{Path.cwd()}:{environment['PATH']}"
        subprocess.run(["bash", "-euc", script], env=environment, check=True, capture_output=True)
    assert list(table()) == ["line-nan_seed1"]
    assert "4 rows in benchmarks/studies/acts.csv" in study(str(path), "--mode", "collect").out
    assert [row["outcome"] for row in table().values()] == ["finished", "finished", "nan", "nan"]
    nothing = study(str(path), "--mode", "sbatch")
    assert nothing.code == 2 and "every member has a result already" in nothing.errors[0]


def test_jobs_of_a_cluster_without_gpus(study: Command, write: Callable[..., Path]) -> None:
    script = study(str(write("finish", "nan")), "--mode", "sbatch", "--sbatch_gpu", "false").out
    assert "gpu" not in script and "#SBATCH --array=0-1\n" in script
    assert "#SBATCH --cpus-per-task=1\n" in script and "srun --cpus-per-task=1 " in script


# ---- what a person sees ------------------------------------------------------------------------


class Terminal(io.StringIO):
    """A terminal that remembers what was written to it."""

    def isatty(self) -> bool:
        return True


def progress_of(name: str, state: str, write: Callable[..., Path]) -> Progress:
    (member,) = load_study(str(write(name))).members
    return Progress(MemberFolder(member, Path("runs/acts")), state)


def test_status_says_it_in_one_line_a_member(study: Command, write: Callable[..., Path]) -> None:
    study(str(write("finish", "won")))
    lines = study(str(write("finish", "won", "nan")), "--mode", "status").out.splitlines()
    assert lines[0].startswith("line-finish_seed0  finished     step      8  accuracy 0.889  in ")
    assert lines[1].startswith("line-won_seed0     collapsed    step      5  accuracy 0.800  in ")
    assert lines[1].endswith(" s  (discriminator_won): D")
    assert lines[2] == "line-nan_seed0     waiting"
    assert lines[3].startswith("acts: 2 of 3 done, 0 at work, about ")
    # Rows from before the validation split are found, and marked.
    for row in Path("runs/acts").glob("*/row.json"):
        row.unlink()
    TABLE.write_text(TABLE.read_text().replace("5000 of train", "test images"))
    old = study(str(write("finish")), "--mode", "status").out.splitlines()[0]
    assert "finished" in old and old.endswith("  validated on the test images")


def test_time_left_is_by_the_pace_of_this_session(
    command: Command, write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(study_progress.time, "monotonic", lambda: now)
    progress = progress_of("slow", "training", write)
    assert progress.line(16) == "line-slow_seed0   training     starting"
    folder = progress.folder.path / "version_0"
    folder.mkdir(parents=True)
    trainer = {"max_epochs": 50, "limit_train_batches": 100.0, "max_steps": -1}
    (folder / "config.yaml").write_text(yaml.safe_dump({"trainer": trainer}))
    study_program.write_metrics(folder, 0, 4)
    assert progress.line(0).endswith("step      4 of 5000  accuracy 0.800  time left ?")
    now += 60
    study_program.write_metrics(folder, 0, 6)
    assert progress.line(0).endswith("step      6 of 5000  accuracy 0.857  41 h 37 min left")
    assert [duration(s) for s in (59.4, 60, 3600)] == ["59 s", "1 min", "1 h 0 min"]


def test_time_left_is_that_of_the_whole_study(
    command: Command, write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(study_progress.time, "monotonic", lambda: now)
    members = [progress_of(name, "waiting", write) for name in ("a", "b", "c", "d")]
    screen = Screen("acts", members, num_parallel=2)
    assert screen.headline() == "acts: 0 of 4 done, 0 at work"
    members[0].state = "training"
    folder = members[0].folder.path / "version_0"
    folder.mkdir(parents=True)
    trainer = {"max_epochs": 1, "limit_train_batches": 100, "max_steps": -1}
    (folder / "config.yaml").write_text(yaml.safe_dump({"trainer": trainer}))
    study_program.write_metrics(folder, 0, 10)
    assert screen.headline() == "acts: 0 of 4 done, 1 at work"
    now = 10.0
    study_program.write_metrics(folder, 0, 20)
    # A second a step: 80 s of this one, 100 s of each of three others, two at a time.
    assert screen.headline() == "acts: 0 of 4 done, 1 at work, about 3 min left"
    members[1].row, members[1].state = {"outcome": "finished", "duration_seconds": "9"}, "finished"
    members[1].seconds = 20.0
    # What members took in this session, start and test included, says more than a pace.
    assert screen.headline() == "acts: 1 of 4 done, 1 at work, about 1 min left"
    members[0].row = {"outcome": "finished"}
    members[0].state = "finished"
    assert screen.headline() == "acts: 2 of 4 done, 0 at work, about 20 s left"


def test_a_terminal_is_drawn_over(
    command: Command, write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study_progress.shutil, "get_terminal_size", lambda: (60, 7))
    members = [progress_of(f"a{i}", "waiting", write) for i in range(6)]
    members[5].state = "training"
    members[0].row, members[0].state = {"outcome": "nan", "reason": "x" * 99}, "nan"
    out = Terminal()
    screen = Screen("acts", members, 1, out)
    screen.refresh()
    first = out.getvalue()
    assert [line.removesuffix("\x1b[K") for line in first.splitlines()] == [
        "acts: 1 of 6 done, 1 at work",
        "line-a0_seed0  nan          step      ?  xxxxxxxxxxxxxxxxxx",
        "line-a1_seed0  waiting",
        "line-a5_seed0  training     starting",
        "... and 3 more",
        "\x1b[J",
    ]
    screen.refresh()
    assert out.getvalue() == first
    members[5].state = "testing"
    screen.refresh()
    assert out.getvalue().removeprefix(first).startswith("\x1b[5Facts: 1 of 6 done")


# ---- the committed files -----------------------------------------------------------------------


def test_curves_are_thinned_to_means(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    lines = ["step,train/generator_loss,train/mi,val/code_accuracy,val/nmi"]
    for step in range(1, 2 * CURVE_POINTS + 1):
        lines.append(f"{step},{step},1.23456789,,")
        if step % 100 == 0:
            lines.append(f"{step},,,{step / 1000},1")
    path.write_text("\n".join(lines) + "\n")
    points = thinned(read_rows(path))
    assert len(points) == CURVE_POINTS
    assert points[0] == {"step": "2", "train/generator_loss": "1.5", "train/mi": "1.2346"}
    assert points[49]["val/code_accuracy"] == "0.1" and points[49]["step"] == "100"
    assert sum("val/code_accuracy" in point for point in points) == 2
    assert thinned([]) == []
