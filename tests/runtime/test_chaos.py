"""Runs that are killed at random moments, checkpoint writes included, end like undisturbed ones."""

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from infogan.runtime import checkpoints
from infogan.runtime.checkpoints import read_checkpoint
from tests.support.resumable import Result, assert_equal, die, in_child, result, run, start

pytestmark = pytest.mark.integration

EVERY_N_MINUTES = 0.0005


@pytest.fixture
def schedule() -> random.Random:
    """Return the stream of all random moments; set CHAOS_SEED to repeat one."""
    seed = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(10**6))
    print(f"repeat with CHAOS_SEED={seed}")
    return random.Random(seed)


def fit(folder: Path, devices: int) -> None:
    run(folder, devices=devices, every_n_minutes=EVERY_N_MINUTES)


def fit_until_write(folder: Path, devices: int, write: int, stage: str) -> None:
    """Train, and kill this process in its checkpoint write of this number."""
    count = 0
    save, replace = torch.save, Path.replace

    def is_the_one() -> bool:
        nonlocal count
        count += stage != "renamed"
        return count == write

    def save_or_die(thing: Any, file: Any) -> None:
        if not is_the_one():
            save(thing, file)
            return
        save(thing, file)
        if stage == "half":
            file.truncate(file.tell() // 2)
            die()
        os.fsync(file.fileno())
        die()

    def replace_and_die(part: Path, path: Path) -> None:
        nonlocal count
        replace(part, path)
        count += Path(path).suffix == ".ckpt"
        if count == write:
            die()

    if stage == "renamed":
        setattr(Path, "replace", replace_and_die)  # noqa: B010
    else:
        setattr(checkpoints.torch, "save", save_or_die)  # noqa: B010
    fit(folder, devices)


def kill_at_a_moment(folder: Path, devices: int, delay: float) -> int:
    """Kill all processes of a run after a delay; return the exit code."""
    process = start(fit, folder, devices)
    process.join(delay)
    if process.exitcode is None:
        os.killpg(process.pid or 0, signal.SIGKILL)
    process.join()
    return process.exitcode or 0


def disturb(folder: Path, devices: int, duration: float, schedule: random.Random) -> str:
    """Start or continue a run and kill it; return how, or '' if it came to its end before."""
    if devices == 1 and schedule.random() < 0.5:
        write, stage = schedule.randint(1, 12), schedule.choice(["half", "written", "renamed"])
        code = in_child(fit_until_write, folder, devices, write, stage)
        how = f"write {write} {stage}"
    else:
        delay = schedule.uniform(0, duration)
        code = kill_at_a_moment(folder, devices, delay)
        how = f"after {delay:.2f} s"
    assert code in (0, -signal.SIGKILL), (how, code)
    return how if code else ""


def check_files(folder: Path) -> int:
    """Read every checkpoint; return their number."""
    paths = list(folder.glob("small/*/checkpoints/*.ckpt"))
    for path in paths:
        read_checkpoint(path)
    return len(paths)


def chaos(
    folder: Path, devices: int, num_killed: int, schedule: random.Random, reference: Result
) -> None:
    """Kill so many runs, each once or several times, and bring each to its end."""
    begin = time.perf_counter()
    assert in_child(fit, folder / "warm", devices) == 0
    duration = time.perf_counter() - begin
    killed = number = 0
    while killed < num_killed:
        number += 1
        own = folder / str(number)
        kills = [disturb(own, devices, duration, schedule) for _ in range(schedule.randint(1, 3))]
        found = check_files(own)
        assert in_child(fit, own, devices) == 0
        check_files(own)
        assert_equal(result(own), reference)
        killed += any(kills)
        print(f"run {number}: {', '.join(filter(None, kills)) or 'not hit'}; {found} checkpoints")


@pytest.mark.parametrize(
    ("devices", "num_killed"),
    [
        (1, 3),
        (2, 1),
        pytest.param(1, 40, marks=pytest.mark.slow),
        pytest.param(2, 10, marks=pytest.mark.slow),
    ],
)
def test_killed_runs_equal_the_reference(
    tmp_path: Path, schedule: random.Random, devices: int, num_killed: int
) -> None:
    # The reference is undisturbed and saves at the ends of the epochs only.
    assert in_child(run, tmp_path / "reference", devices=devices) == 0
    chaos(tmp_path, devices, num_killed, schedule, result(tmp_path / "reference"))


def test_the_comparison_has_teeth(tmp_path: Path) -> None:
    """A run that forgets where it was in the epoch, or a stream, is told apart."""
    assert in_child(run, tmp_path / "a", max_epochs=1) == 0
    reference = result(tmp_path / "a")
    forgetful: list[Callable[[Result], Any]] = [
        lambda r: r.log.append(r.log[-1]),
        lambda r: r.log.pop(),
        lambda r: next(iter(r.state["state_dict"].values())).flatten()[0].add_(1e-6),
        lambda r: r.state["optimizer_states"][1]["state"][0]["exp_avg"].mul_(1.000001),
    ]
    for spoil in forgetful:
        spoiled = result(tmp_path / "a")
        assert_equal(spoiled, reference)
        spoil(spoiled)
        with pytest.raises(AssertionError):
            assert_equal(spoiled, reference)
