"""A rank that fails ends the whole run, soon, with its reason and an exit code that is not 0."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.environments import LightningEnvironment
from torch.utils.data import DataLoader

from infogan.callbacks.progress import RunSummary
from infogan.runtime import launching
from infogan.runtime.checkpoints import read_checkpoint
from infogan.runtime.launching import LAUNCHER_VARIABLE, RankFailedError, WatchedLauncher
from infogan.runtime.strategies import AlternatingDDPStrategy
from tests import ROOT
from tests.callbacks.test_checkpointing import limit_file_size
from tests.cluster.job import prepare
from tests.support.resumable import BATCHES_AN_EPOCH, Stop, die, gan, in_child, run, start

pytestmark = pytest.mark.integration

LIMIT_SECONDS = 60


def fail(trainer: pl.Trainer) -> None:
    raise ValueError("the second rank has a reason")


def fill_disk(trainer: pl.Trainer) -> None:
    """Leave room for pictures and logs, but not for the networks of this trainer's size."""
    num_parameters = sum(p.numel() for p in trainer.lightning_module.parameters())
    limit_file_size(4 * num_parameters)


def wait(trainer: pl.Trainer) -> None:
    time.sleep(LIMIT_SECONDS)


class On(Stop):
    """Call a function after a batch on one rank; note when."""

    def __init__(self, rank: int, step: int, how: str) -> None:
        function = {"raise": fail, "kill": die, "full disk": fill_disk, "wait": wait}[how]

        def on_rank(trainer: pl.Trainer) -> None:
            if trainer.global_rank == rank:
                Path("failed_at").write_text(str(time.time()))
                function(trainer)

        super().__init__(step, on_rank)


def seconds_since_failure() -> float:
    return time.time() - float(Path("failed_at").read_text())


@pytest.mark.parametrize(
    ("rank", "how", "reason"),
    [
        (1, "raise", "the second rank has a reason"),
        (0, "raise", "the second rank has a reason"),
        (1, "kill", "process 1 terminated with signal SIGKILL"),
        (0, "full disk", "last.ckpt cannot be written (File too large)"),
    ],
)
def test_forked_ranks_end_together(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    rank: int,
    how: str,
    reason: str,
) -> None:
    """Also with a summary to write, for which the ranks would ask each other for the folder."""
    monkeypatch.chdir(tmp_path)
    step = BATCHES_AN_EPOCH + 2
    assert in_child(run, tmp_path, On(rank, step, how), RunSummary(), devices=2) == 1
    assert seconds_since_failure() < LIMIT_SECONDS
    assert reason in capfd.readouterr().err
    checkpoint = read_checkpoint(tmp_path / "small/version_0/checkpoints/last.ckpt")
    assert checkpoint["global_step"] == BATCHES_AN_EPOCH


def two_cpu_processes() -> list[str]:
    """Return the arguments of the command for two CPU processes, as docs/cluster.md gives it."""
    page = (ROOT / "docs/cluster.md").read_text()
    (block,) = re.findall(r"<!-- one machine -->\n```\n(.*?)\n```", page, flags=re.DOTALL)
    gpus, cpus = (line.removeprefix("python cli.py ") for line in block.split("\n"))
    assert cpus == f"{gpus} --trainer.accelerator cpu --trainer.devices 2"
    assert f"python cli.py {gpus}\n" in (ROOT / "README.md").read_text()
    return cpus.split()


@pytest.mark.parametrize(
    ("rank", "how", "reason"),
    [
        (1, "raise", "ValueError: the second rank has a reason"),
        pytest.param(1, "kill", "rank 1 was killed by SIGKILL", marks=pytest.mark.slow),
        pytest.param(0, "full disk", "cannot be written (File too large)", marks=pytest.mark.slow),
    ],
)
def test_the_command_on_two_processes_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rank: int, how: str, reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    environment = prepare(Path())
    documented = two_cpu_processes()
    documented[documented.index("infogan_mnist.yaml")] = "tiny.yaml"
    command = [sys.executable, "cli.py", *documented]
    command += [
        "--trainer.callbacks+=tests.runtime.test_failing_rank.On",
        "--trainer.callbacks.step=1",
    ]
    command += [f"--trainer.callbacks.rank={rank}", f"--trainer.callbacks.how={how}"]
    result = subprocess.run(
        command,
        env=environment,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert seconds_since_failure() < LIMIT_SECONDS
    assert reason in result.stderr, result.stderr
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    if how == "full disk":
        assert result.returncode == 2
    else:
        assert result.returncode == 1
        assert errors[-1].startswith("error: local rank 1 "), errors


# ---- the launcher alone ------------------------------------------------------------------------


@pytest.fixture
def launcher(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], WatchedLauncher]:
    """Return a maker of launchers that have started a shell command in a rank's place."""
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.delenv(LAUNCHER_VARIABLE, raising=False)
    monkeypatch.setattr(launching, "GRACE_SECONDS", 1.0)
    monkeypatch.setattr(launching, "POLL_SECONDS", 0.05)

    def make(script: str) -> WatchedLauncher:
        made = WatchedLauncher(LightningEnvironment(), num_processes=2, num_nodes=1)
        made.procs = [subprocess.Popen(["sh", "-c", script])]
        return made

    return make


def break_off() -> None:
    raise RuntimeError("Connection closed by peer")


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("exit 5", "^local rank 1 ended with exit code 5; its own message says why"),
        ("sleep 0.3; kill -KILL $$", "^local rank 1 was killed by SIGKILL, which ends the whole"),
    ],
)
def test_a_broken_connection_is_put_down_to_the_rank_that_ended(
    launcher: Callable[[str], WatchedLauncher], script: str, message: str
) -> None:
    with pytest.raises(RankFailedError, match=message) as error:
        launcher(script).launch(break_off)
    assert "Connection closed" in str(error.value.__cause__)


@pytest.mark.parametrize("script", ["exit 0", "exit 3", f"exit {128 + signal.SIGTERM}", "sleep 2"])
def test_ranks_that_ended_by_agreement_or_go_on_are_not_blamed(
    launcher: Callable[[str], WatchedLauncher], script: str
) -> None:
    with pytest.raises(RuntimeError, match="^Connection closed by peer$"):
        launcher(script).launch(break_off)


def test_other_errors_and_results_pass(launcher: Callable[[str], WatchedLauncher]) -> None:
    def fail_alone() -> None:
        raise ValueError("my own")

    with pytest.raises(ValueError, match="my own"):
        launcher("exit 5").launch(fail_alone)
    assert launcher("exit 0").launch(lambda x: x + 1, 2) == 3


BLOCKED_END = """
import atexit, sys, time
# Stands for what waits for all other ranks, if there are any.
atexit.register(lambda: print("at exit") or time.sleep(1000 * (int(sys.argv[2]) - 1)))
import logging
from torch import distributed
from infogan.commands import main
from infogan.errors import ConfigurationError
distributed.is_initialized, distributed.get_world_size = lambda: True, lambda: int(sys.argv[2])
def fail():
    logging.getLogger().addHandler(logging.StreamHandler())
    raise {"defect": ValueError, "input": ConfigurationError}[sys.argv[1]]("my reason")
sys.exit(main.run(fail))
"""


@pytest.mark.parametrize(
    ("kind", "code", "message"),
    [("defect", 1, "ValueError: my reason"), ("input", 2, "error: my reason")],
)
def test_a_rank_that_fails_does_not_wait_for_the_others_at_its_end(
    kind: str, code: int, message: str
) -> None:
    """On GPUs Lightning registers a handler that destroys the process group and waits for all."""
    command = [sys.executable, "-c", BLOCKED_END, kind, "2"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=LIMIT_SECONDS
    )
    assert result.returncode == code
    assert result.stderr.rstrip().endswith(message)
    assert ("Traceback" in result.stderr) == (kind == "defect")
    assert not result.stdout


def test_a_rank_alone_ends_as_any_process_does() -> None:
    command = [sys.executable, "-c", BLOCKED_END, "input", "1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 2 and result.stdout == "at exit\n"


def test_a_main_process_that_waits_forever_is_ended(
    launcher: Callable[[str], WatchedLauncher], capfd: pytest.CaptureFixture[str]
) -> None:
    """As one that waits in a collective on a GPU does."""

    def main() -> None:
        made = launcher("exit 1")
        second = subprocess.Popen(["sleep", "100"])
        made.procs.append(second)
        launching.in_background(made.watch_children)
        second.wait()
        time.sleep(100)

    begin = time.monotonic()
    assert in_child(main) == 1
    assert time.monotonic() - begin < 30
    assert "error: local rank 1 ended with exit code 1" in capfd.readouterr().err


def test_started_ranks_end_with_the_process_that_started_them(
    launcher: Callable[[str], WatchedLauncher], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill of the main process would leave them waiting for it."""
    pid_file = tmp_path / "pid"

    def second_rank() -> None:
        pid_file.write_text(str(os.getpid()))
        launcher("exit 0").launch(time.sleep, 100)

    def main() -> None:
        os.environ[LAUNCHER_VARIABLE] = str(os.getpid())
        start(second_rank)
        while not pid_file.exists() or not pid_file.read_text():
            time.sleep(0.05)
        time.sleep(1)
        die()

    assert in_child(main) == -signal.SIGKILL
    pid = int(pid_file.read_text())
    for _ in range(100):
        state = Path(f"/proc/{pid}/stat")
        if not state.exists() or state.read_text().split()[2] == "Z":
            return
        time.sleep(0.2)
    os.kill(pid, signal.SIGKILL)
    pytest.fail("the second rank goes on alone")


def test_the_timeout_is_that_of_the_process_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A rank that hangs, without failing, is noticed by the others."""
    monkeypatch.chdir(tmp_path)
    settings: dict[str, Any] = {
        "strategy": AlternatingDDPStrategy(start_method="fork", timeout_minutes=0.05),
        "callbacks": [On(1, 2, "wait")],
        "logger": False,
        "enable_checkpointing": False,
    }
    data: Any = torch.rand(64, 1, 8, 8)

    def fit() -> None:
        trainer = pl.Trainer(accelerator="cpu", devices=2, max_steps=3, **settings)
        trainer.fit(gan(), DataLoader(data, 8))

    assert in_child(fit) == 1
    assert "timeout" in capfd.readouterr().err
    with pytest.raises(ValueError, match="timeout_minutes must be positive, got 0"):
        AlternatingDDPStrategy(timeout_minutes=0)
