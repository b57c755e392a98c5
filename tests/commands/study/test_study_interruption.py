"""Studies that are killed, told to end, or started twice."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from infogan.commands.study.definition import load_study
from infogan.commands.study.records import MemberFolder
from infogan.commands.study.table import TIMES
from infogan.locks import Lock, LockedError
from tests import ROOT
from tests.support import resumable, study_program
from tests.support.studies import TABLE, Command, diary, lasting, table, wait_for

pytestmark = pytest.mark.integration

pytest_plugins = ["tests.support.study_fixtures"]


# ---- killed and gone on with -------------------------------------------------------------------


class Background:
    """A study that runs as a process of its own."""

    def __init__(self, path: Path) -> None:
        Path("hold").touch()
        program = [*study_program.PROGRAM, "study", str(path), "--jobs", "2"]
        self.process = subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def end(self, signum: signal.Signals) -> tuple[int, str]:
        self.process.send_signal(signum)
        output, _ = self.process.communicate(timeout=60)
        Path("hold").unlink()
        return self.process.returncode, output.decode()


@pytest.fixture
def background(study: Command) -> Iterator[Callable[[Path], Background]]:
    """Return a function that starts a study and waits until a member has two checkpoints."""
    started: list[Background] = []

    def start(path: Path) -> Background:
        started.append(Background(path))
        checkpoint = Path("runs/acts/line-slow_seed0/version_0/checkpoints/last.ckpt")
        wait_for(lambda: checkpoint.is_file() and checkpoint.read_text() >= "4")
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.wait()


def test_a_killed_runner_goes_on_to_the_same_table(
    study: Command, write: Callable[..., Path], background: Callable[[Path], Background]
) -> None:
    path = write("slow", "won", "finish", seeds=[0, 1])
    assert study(str(path), "--save_dir", "other", "--data_dir", "undisturbed").code == 0
    Path("diary.txt").unlink()
    running = background(path)
    refused = study(str(path))
    assert refused.code == 2
    assert refused.errors == [
        f"error: study acts is in the hands of process {running.process.pid} on {os.uname()[1]}: "
        "wait until it has ended, or stop it"
    ]
    assert running.end(signal.SIGKILL)[0] == -signal.SIGKILL
    assert not Path("runs/acts/line-slow_seed0/version_0/summary.json").exists()
    assert study(str(path)).code == 0
    assert "fit-from-4 line-slow_seed0" in diary()
    assert diary().count("end line-slow_seed0") == 1
    assert lasting(table()) == lasting(table(Path("undisturbed/acts.csv")))
    curves = [Path(f) / "acts/curves" for f in ("undisturbed", "benchmarks/studies")]
    for first in curves[0].iterdir():
        assert first.read_text() == (curves[1] / first.name).read_text()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_runner_that_is_told_to_end_ends_its_members(
    study: Command,
    write: Callable[..., Path],
    background: Callable[[Path], Background],
    signum: signal.Signals,
) -> None:
    path = write("slow")
    code, output = background(path).end(signum)
    assert code == 128 + signum
    assert "interrupted: the same command goes on from here" in output
    assert "    1  interrupted" in output and not TABLE.exists()
    before = diary()
    time.sleep(0.5)
    assert diary() == before and "end line-slow_seed0" not in before
    assert study(str(path)).code == 0
    assert {row["outcome"] for row in table().values()} == {"finished"}


def test_a_time_limit_stops_members_with_their_state_saved(
    study: Command, write: Callable[..., Path]
) -> None:
    # More members than any machine ends in the time.
    path = write("slow", seeds=list(range(8)))
    outcome = study(str(path), "--jobs", "1", "--time_limit", "0.02")
    assert outcome.code == 1
    assert "time_limit of 0.02 minutes: the same command goes on from here\n" in outcome.err
    assert "    1  interrupted" in outcome.out and "  waiting\n" in outcome.out
    assert study(str(path), "--time_limit", "10").code == 0
    assert {"fit-from-0 line-slow_seed0", "fit-from-0 line-slow_seed1"} <= set(diary())
    assert {row["outcome"] for row in table().values()} == {"finished"}


def test_a_kill_between_fit_and_its_record_costs_only_the_test(
    study: Command, write: Callable[..., Path]
) -> None:
    path = write("finish")
    study(str(path))
    Path("runs/acts/line-finish_seed0/row.json").unlink()
    before = TABLE.read_text()
    TABLE.unlink()
    assert study(str(path)).code == 0
    assert diary().count("fit-from-0 line-finish_seed0") == 1
    assert diary().count("test line-finish_seed0") == 2
    assert TABLE.read_text() == before


# ---- locks -------------------------------------------------------------------------------------

HOLDER = """
import time
from pathlib import Path
from infogan.locks import Lock
with Lock(Path("lock"), "it"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_lock_ends_with_its_holder(command: Command) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER], stdout=subprocess.PIPE, env=environment
    )
    assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
    refused = f"it is in the hands of process {holder.pid} on"
    with pytest.raises(LockedError, match=refused), Lock(Path("lock"), "it"):
        pass
    with pytest.raises(LockedError, match=refused), Lock(Path("lock"), "it", patience=0.1):
        pass
    threading.Timer(0.3, holder.kill).start()
    with Lock(Path("lock"), "it", patience=30):
        assert Path("lock").read_text() == f"process {os.getpid()} on {os.uname()[1]}\n"
    holder.wait()
    with Lock(Path("lock"), "it"):
        pass


def test_a_member_that_a_job_is_at_is_left_alone(
    study: Command, write: Callable[..., Path]
) -> None:
    with Lock(Path("runs/acts/line-finish_seed0.lock"), "member"):
        outcome = study(str(write("finish", "nan")))
    assert outcome.code == 1
    assert "    1  elsewhere" in outcome.out
    assert diary() == ["fit-from-0 line-nan_seed0"]


# ---- the real thing ----------------------------------------------------------------------------

TINY_LINE = {
    "trainer.max_epochs": 6,
    "trainer.limit_train_batches": 2,
    "trainer.limit_val_batches": 1,
    "trainer.log_every_n_steps": 1,
    "data.init_args.batch_size": 8,
    "data.init_args.eval_batch_size": 50,
    "data.init_args.train_size": 100,
    "data.init_args.eval_size": 100,
    "traversal.num_columns": 2,
    "sample_validity.num_images": 20,
    "sample_quality.num_images": 0,
    "encoder_probe.num_seeds": 0,
}


def test_a_real_study_killed_in_a_member_ends_in_the_same_table(
    command: Command, tmp_path: Path
) -> None:
    path = tmp_path / "real.yaml"
    member = {"config": "infogan_line.yaml", "pictures": ["overview"]}
    path.write_text(yaml.safe_dump({"seeds": [1], "overrides": TINY_LINE, "members": [member]}))
    (member_run,) = load_study(str(path)).members
    whole = MemberFolder(member_run, Path("whole"))
    whole.prepare()
    assert command(*member_run.fit_arguments(Path("whole"))).code == 0
    checkpoint = whole.path / "version_0/checkpoints/last.ckpt"
    assert command("test", "--ckpt_path", str(checkpoint)).code == 0
    undisturbed = whole.record_end("real")

    run = Path("runs/real/infogan_line_seed1/version_0")
    runner = resumable.start(command, "study", str(path))
    wait_for((run / "checkpoints/last.ckpt").is_file)
    runner.kill()
    runner.join()
    assert not (run / "summary.json").exists()
    assert not Path("benchmarks").exists()
    assert command("study", str(path)).code == 0
    assert [folder.name for folder in run.parent.glob("version_*")] == ["version_0"]
    row = {
        k: v
        for k, v in table(Path("benchmarks/studies/real.csv"))["infogan_line_seed1"].items()
        if v
    }
    assert row["outcome"] == "finished" and row["steps"] == "12" and "test/nmi" in row
    assert {k: v for k, v in row.items() if k not in TIMES} == {
        k: v for k, v in undisturbed.items() if k not in TIMES
    }
    log = run.parent.with_suffix(".log").read_text()
    assert "12 batches in" in log and json.loads((run / "summary.json").read_text())
    assert Path("benchmarks/studies/real/pictures/infogan_line_seed1_overview.png").is_file()
