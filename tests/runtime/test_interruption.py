"""A signal ends all ranks after the same batch, with the state saved; the run then goes on."""

import ctypes
import os
import signal
import stat
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.environments import LightningEnvironment, SLURMEnvironment

from infogan.callbacks import last_checkpoint
from infogan.callbacks.collapse import CollapseStopping
from infogan.callbacks.last_checkpoint import LastCheckpoint
from infogan.callbacks.progress import RunSummary
from infogan.callbacks.stopping import RunStoppedError
from infogan.commands import main as cli
from infogan.commands.lightning import InfoGANCLI
from infogan.errors import ConfigurationError
from infogan.loggers.wandb_run import WandbRun
from infogan.runtime.checkpoints import AtomicCheckpointIO, read_checkpoint
from infogan.runtime.launching import given_topology, with_own_plugins
from infogan.runtime.signals import (
    SAME_REQUEST_SECONDS,
    SIGNALS,
    RunInterruptedError,
    SignalFlag,
)
from infogan.runtime.slurm import requeue, slurm_job
from tests import ROOT
from tests.conftest import TINY, TINY_TEST, Outcome
from tests.support.resumable import (
    BATCHES_AN_EPOCH,
    Result,
    Stop,
    assert_equal,
    in_child,
    result,
    run,
    start,
)
from tests.support.small_gan import Script, fit, gan

pytestmark = pytest.mark.integration

Command = Callable[..., Outcome]
INTERRUPTED = 7


class Send(pl.Callback):
    """Send a signal to one rank's own process, after a batch or within a validation."""

    def __init__(self, signum: int, step: int, rank: int = 0, in_validation: bool = False) -> None:
        self.signum, self.step, self.rank, self.in_validation = signum, step, rank, in_validation

    def send(self, trainer: pl.Trainer) -> None:
        if trainer.global_step == self.step and trainer.global_rank == self.rank:
            os.kill(os.getpid(), self.signum)

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if not self.in_validation:
            self.send(trainer)

    def on_validation_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if self.in_validation:
            self.send(trainer)


def interrupted(folder: Path, *callbacks: pl.Callback, **settings: Any) -> None:
    """Run, and leave with an exit code of its own if the run is interrupted."""
    try:
        run(folder, *callbacks, **settings)
    except Exception as error:
        # Forked ranks report their traceback as text.
        if isinstance(error, RunInterruptedError) or "RunInterruptedError: run int" in str(error):
            sys.exit(INTERRUPTED)
        raise


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Result]:
    """Return a function that gives what an undisturbed run of these settings leaves."""
    folder = tmp_path_factory.mktemp("references")
    known: dict[str, Result] = {}

    def reference(**settings: Any) -> Result:
        name = str(settings)
        if name not in known:
            assert in_child(run, folder / name, **settings) == 0
            known[name] = result(folder / name)
        return known[name]

    return reference


@pytest.mark.parametrize(
    ("settings", "sent"),
    [
        ({}, Send(signal.SIGTERM, 17)),
        ({}, Send(signal.SIGUSR1, BATCHES_AN_EPOCH)),
        ({}, Send(signal.SIGINT, 3)),
        ({}, Send(signal.SIGTERM, BATCHES_AN_EPOCH, in_validation=True)),
        ({"val_check_interval": 4}, Send(signal.SIGTERM, 14)),
        ({"val_check_interval": 4}, Send(signal.SIGTERM, 14, in_validation=True)),
        ({"max_steps": 14}, Send(signal.SIGTERM, 14)),
        ({"devices": 2}, Send(signal.SIGTERM, 17, rank=1)),
        # Three gradients have more than one order to be added up in.
        ({"devices": 3}, Send(signal.SIGUSR1, 13, rank=0)),
    ],
    ids=lambda value: (
        f"{value.step}{' in validation' * value.in_validation}"
        if isinstance(value, Send)
        else str(value)
    ),
)
def test_an_interrupted_run_ends_as_if_undisturbed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    references: Callable[..., Result],
    settings: dict[str, Any],
    sent: Send,
) -> None:
    # Several ranks then agree after every batch.
    monkeypatch.setattr(last_checkpoint, "ANSWER_SECONDS", 0.0)
    assert in_child(interrupted, tmp_path, sent, **settings) == INTERRUPTED
    checkpoint = read_checkpoint(tmp_path / "small/version_0/checkpoints/last.ckpt")
    assert checkpoint["global_step"] == sent.step
    assert in_child(run, tmp_path, **settings) == 0
    assert_equal(result(tmp_path), references(**settings))


def test_a_collapse_stops_a_resumed_run_where_it_stops_the_undisturbed(tmp_path: Path) -> None:
    """The checkpoint is of step 6; D has won since step 5, in a window of 8 batches."""

    def stopped_at(ckpt_path: Path | None, *callbacks: pl.Callback) -> int:
        script = Script(lambda step: step >= 5)
        watch = CollapseStopping(window=8, warmup_steps=0, every_n_steps=2, ratio_threshold=0.5)
        with pytest.raises(RunStoppedError) as stopped:
            fit(gan(), script, watch, *callbacks, steps=30, ckpt_path=ckpt_path)
        assert stopped.value.outcome == "discriminator_won"
        return stopped.value.step

    path = tmp_path / "window.ckpt"
    whole = stopped_at(None, Stop(6, lambda trainer: trainer.save_checkpoint(path)))
    assert whole == stopped_at(path)
    forgetful = torch.load(path, weights_only=True)
    assert len(forgetful.pop("collapse_window")["recorded"]) == 6
    torch.save(forgetful, path)
    assert stopped_at(path) > whole


def test_a_killed_rank_of_two_costs_the_epoch_and_nothing_else(
    tmp_path: Path, references: Callable[..., Result]
) -> None:
    def die_on_second(trainer: pl.Trainer) -> None:
        if trainer.global_rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    stop = Stop(17, die_on_second)
    assert in_child(run, tmp_path, stop, devices=2, every_n_minutes=0.0) == 1
    assert in_child(run, tmp_path, devices=2) == 0
    assert_equal(result(tmp_path), references(devices=2))


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_the_command_says_how_to_resume_and_its_exit_code_names_the_signal(
    command: Command, signum: signal.Signals
) -> None:
    handlers = [signal.getsignal(number) for number in SIGNALS]
    sent = "--trainer.callbacks+=tests.runtime.test_interruption.Send"
    outcome = command(
        *("fit", "--config", "infogan_mnist.yaml", *TINY),
        *(sent, f"--trainer.callbacks.signum={signum.value}", "--trainer.callbacks.step=1"),
    )
    assert outcome.code == 128 + signum
    (line,) = outcome.errors
    assert line == (
        f"error: run interrupted by {signum.name} at step 1, saved as "
        "runs/infogan_mnist/version_0/checkpoints/last.ckpt; resume with --ckpt_path last"
    )
    # All signals are given back as they were found.
    assert [signal.getsignal(number) for number in SIGNALS] == handlers


def test_ctrl_c_before_the_training_is_one_line(
    command: Command, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """Lightning would end with code 1 and leave the signal ignored."""

    def press(*_: Any, **__: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    # A worker of the tests ignores it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    monkeypatch.setattr(LastCheckpoint, "setup", press)
    outcome = command("fit", "--config", "infogan_mnist.yaml", *TINY)
    assert outcome.code == 130 and outcome.errors == ["error: interrupted"]
    assert signal.getsignal(signal.SIGINT) == signal.default_int_handler


def test_an_exit_that_a_trainer_makes_of_ctrl_c_is_one() -> None:
    def leave() -> None:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            sys.exit(1)

    assert cli.run(leave) == 130
    with pytest.raises(SystemExit):
        cli.run(sys.exit)


@pytest.mark.parametrize(
    ("verb", "hook"),
    [
        ("test", "on_test_start"),
        ("test", "on_test_batch_end"),
        ("validate", "on_validation_batch_end"),
        ("predict", "on_predict_batch_end"),
        ("fit", "on_fit_start"),
    ],
)
def test_sigterm_outside_a_training_ends_the_program(
    command: Command, monkeypatch: pytest.MonkeyPatch, verb: str, hook: str
) -> None:
    """Lightning would go on, or leave between two batches as if all were done."""
    handler = signal.getsignal(signal.SIGTERM)
    fit = ("fit", "--config", "infogan_mnist.yaml", *TINY)
    assert command(*fit).code == 0
    calls = []

    def press(*_: Any, **__: Any) -> None:
        calls.append(1)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(RunSummary, hook, press)
    resumed = ("--name=infogan_mnist", "--ckpt_path=last")
    options = ("--trainer.limit_predict_batches=2", *TINY_TEST)
    arguments = fit if verb == "fit" else (verb, *resumed, *options)
    outcome = command(*arguments)
    assert outcome.code == 143 and outcome.errors == ["error: ended by SIGTERM"], outcome.err
    assert len(calls) == 1
    assert not list(Path().glob(f"runs/infogan_mnist/{verb}/*/metrics.csv"))
    assert signal.getsignal(signal.SIGTERM) == handler


def test_a_forked_helper_does_not_take_the_signal_for_its_own() -> None:
    flag = SignalFlag()

    def helper() -> None:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(SAME_REQUEST_SECONDS + 0.1)
        assert flag.received == 0

    def main() -> None:
        flag.install()
        assert in_child(helper) == 0
        os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGTERM)
        assert flag.received == signal.SIGTERM

    assert in_child(main) == 0


@pytest.mark.parametrize("signum", SIGNALS)
def test_a_second_signal_ends_the_process_at_once(
    signum: signal.Signals, capfd: pytest.CaptureFixture[str]
) -> None:
    """Although it hangs in C, as in a collective, where Python calls no handler."""

    def hang() -> None:
        SignalFlag().install()
        libc = ctypes.CDLL(None)
        mutex = ctypes.create_string_buffer(128)
        libc.pthread_mutex_lock(mutex)
        print("ready", flush=True)
        libc.pthread_mutex_lock(mutex)

    process = start(hang)
    output = ""
    while "ready" not in output:
        output += capfd.readouterr().out
        time.sleep(0.05)
    assert process.pid is not None
    # A launcher may pass on what the terminal has sent as well: that is one request.
    for _ in range(2):
        os.kill(process.pid, signum)
        time.sleep(SAME_REQUEST_SECONDS / 5)
    time.sleep(SAME_REQUEST_SECONDS)
    assert process.is_alive()
    os.kill(process.pid, signum)
    process.join(5)
    assert process.exitcode == 128 + signum
    assert f"error: ended at once by a second {signum.name}" in capfd.readouterr().err


def test_signals_that_were_given_back_end_nothing() -> None:
    """As in a notebook, where the training was the work of one cell."""

    def main() -> None:
        heard = []
        SignalFlag().install()
        os.kill(os.getpid(), signal.SIGTERM)
        signal.signal(signal.SIGTERM, lambda *_: heard.append(1))
        time.sleep(SAME_REQUEST_SECONDS + 0.1)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.2)
        assert heard == [1]

    assert in_child(main) == 0


@pytest.mark.parametrize(
    ("seconds_a_batch", "every_n_minutes", "interval"),
    [(0.01, 10.0, 50), (0.01, None, 50), (2.0, 10.0, 1), (0.01, 0.001, 6), (0.01, 0.0, 1)],
)
def test_ranks_agree_on_signals_twice_a_second(
    monkeypatch: pytest.MonkeyPatch,
    seconds_a_batch: float,
    every_n_minutes: float | None,
    interval: int,
) -> None:
    """And as often as a checkpoint within the epoch asks for."""

    class Ten:
        global_step = 10

    callback = LastCheckpoint(every_n_minutes)
    callback.agreed_at, callback.agreed_step = 100.0, 0
    monkeypatch.setattr(
        "infogan.callbacks.last_checkpoint.time.monotonic", lambda: 100.0 + 10 * seconds_a_batch
    )
    ten: Any = Ten()
    assert callback.next_interval(ten) == pytest.approx(interval, abs=1)
    assert callback.agreed_step == 10


# ---- Slurm and torchrun, as far as it goes without them ----------------------------------------


@pytest.fixture
def scontrol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Return a function that puts a script in the place of `scontrol`; its log names the calls."""
    for name in [name for name in os.environ if name.startswith("SLURM_")]:
        monkeypatch.delenv(name)
    log = tmp_path / "calls"

    def install(script: str) -> Path:
        program = tmp_path / "bin" / "scontrol"
        program.parent.mkdir()
        program.write_text(f"#!/bin/sh\necho $* >> {log}\n{script}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
        monkeypatch.setattr("infogan.runtime.slurm.time.sleep", lambda seconds: None)
        return log

    return install


@pytest.mark.parametrize(
    ("signum", "preempted_at", "calls"),
    [
        (signal.SIGUSR1, "None", "requeue 1234\n"),
        (signal.SIGTERM, "None", "show job --oneliner 1234\n"),
        (signal.SIGTERM, "2026-11-24", "show job --oneliner 1234\nrequeue 1234\n"),
    ],
)
def test_a_job_is_requeued_in_time_or_if_preempted_but_not_if_cancelled(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    scontrol: Callable[[str], Path],
    signum: int,
    preempted_at: str,
    calls: str,
) -> None:
    log = scontrol(f"echo JobId=1234 PreemptTime={preempted_at} EndTime=2026-11-25")
    monkeypatch.setenv("SLURM_JOB_ID", "1234")
    assert in_child(interrupted, tmp_path, Send(signum, 3)) == INTERRUPTED
    assert log.read_text() == calls


def test_requeueing_can_be_turned_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scontrol: Callable[[str], Path]
) -> None:
    log = scontrol("exit 0")
    monkeypatch.setenv("SLURM_JOB_ID", "1234")
    sent = Send(signal.SIGUSR1, 3)
    assert in_child(interrupted, tmp_path, sent, requeue_job=False) == INTERRUPTED
    assert not log.exists()


def test_requeueing_is_tried_again_when_the_signal_has_hit_scontrol(
    scontrol: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    log = scontrol(
        '[ $(wc -l < "$0.log" 2>/dev/null || echo 0) -ge 2 ] && exit 0\n'
        'echo >> "$0.log"; kill -KILL $$'
    )
    requeue("7")
    assert log.read_text() == "requeue 7\n" * 3
    assert caplog.messages == ["Slurm job 7 is in the queue again"]


def test_a_job_that_cannot_be_requeued_says_what_to_do(scontrol: Callable[[str], Path]) -> None:
    scontrol("echo Invalid job >&2; exit 1")
    with pytest.warns(UserWarning, match=r"job 7 cannot be requeued \(Invalid job\): submit it"):
        requeue("7")


def test_an_array_job_is_known_by_its_task(monkeypatch: pytest.MonkeyPatch, scontrol: Any) -> None:
    assert slurm_job() is None
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    assert slurm_job() == "12"
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "11")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    assert slurm_job() == "11_3"


SLURM = {
    "SLURM_JOB_ID": "1",
    "SLURM_JOB_NAME": "train",
    "SLURM_NTASKS": "8",
    "SLURM_NTASKS_PER_NODE": "4",
    "SLURM_NNODES": "2",
    "SLURM_STEP_NUM_TASKS": "8",
}
TORCHRUN = {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "6", "LOCAL_WORLD_SIZE": "2"}


@pytest.mark.parametrize(
    ("environment", "num_visible", "topology"),
    [
        ({}, 8, {}),
        (SLURM, 0, {"num_nodes": 2, "devices": 4}),
        (SLURM, 4, {"num_nodes": 2, "devices": 4}),
        # --gpus-per-task=1 shows each task its own one.
        (SLURM, 1, {"num_nodes": 8, "devices": 1}),
        ({**SLURM, "SLURM_JOB_NAME": "interactive"}, 4, {}),
        ({"SLURM_NTASKS": "1", "SLURM_JOB_NAME": "train"}, 1, {"num_nodes": 1, "devices": 1}),
        (TORCHRUN, 2, {"num_nodes": 3, "devices": 2}),
        (TORCHRUN, 1, {"num_nodes": 6, "devices": 1}),
    ],
)
def test_the_launcher_rules_over_nodes_and_devices(
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    num_visible: int,
    topology: dict[str, int],
) -> None:
    set_environment(monkeypatch, environment)
    assert given_topology(num_visible) == topology


def set_environment(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    """Start from no launcher's variables."""
    for name in [n for n in os.environ if n.startswith(("SLURM_", "TORCHELASTIC_"))]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    set_environment(monkeypatch, SLURM)
    with pytest.raises(ConfigurationError, match="4 processes a node see 2 GPUs: ask for as many"):
        given_topology(2)


@pytest.mark.parametrize(
    "environment",
    [
        {"SLURM_NTASKS": "4"},
        {k: v for k, v in SLURM.items() if "STEP" not in k},
        # `srun --pty bash` within an allocation of several tasks.
        {**SLURM, "SLURM_STEP_NUM_TASKS": "1"},
    ],
    ids=["shell", "batch script", "interactive step"],
)
def test_slurm_without_srun_is_one_line(
    command: Command, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    """Not half an hour of waiting for tasks that nobody has started."""
    set_environment(monkeypatch, environment)
    outcome = command("fit", "--config", "infogan_mnist.yaml", *TINY)
    (line,) = outcome.errors
    assert outcome.code == 2
    assert f"SLURM_NTASKS={environment['SLURM_NTASKS']}, but srun has not started this" in line
    assert "put `srun` in front of the command" in line


def test_tasks_that_nodes_share_unevenly_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    uneven = {**SLURM, "SLURM_NTASKS": "7", "SLURM_STEP_NUM_TASKS": "7"}
    set_environment(monkeypatch, uneven)
    with pytest.raises(ConfigurationError, match="SLURM_NTASKS=7 does not divide among"):
        given_topology()


def test_the_script_gives_srun_its_cpus() -> None:
    """Since Slurm 22.05 srun does not take them from the job."""
    (line,) = [
        line
        for line in (ROOT / "docs/train.sbatch").read_text().split("\n")
        if line.startswith("srun")
    ]
    assert '--cpus-per-task="$SLURM_CPUS_PER_TASK"' in line


def test_lightnings_own_requeueing_is_off_in_a_slurm_job(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [type(plugin) for plugin in with_own_plugins(None)] == [AtomicCheckpointIO]
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    safe, environment = with_own_plugins([])
    assert isinstance(safe, AtomicCheckpointIO) and isinstance(environment, SLURMEnvironment)
    assert not environment.auto_requeue
    given = [LightningEnvironment(), AtomicCheckpointIO()]
    assert with_own_plugins(given) == given


class Gone:
    """A W&B run whose service has ended."""

    id, disabled = "abc", True

    @property
    def summary(self) -> "Gone":
        return self

    config = summary

    def log(self, *_: Any, **__: Any) -> None:
        raise ConnectionResetError("Connection lost")

    update = finish = log


def test_a_run_is_saved_although_the_signal_has_ended_wandb(tmp_path: Path) -> None:
    """Slurm signals W&B's service, too, which ends before the batch does."""
    wandb_run = WandbRun(id="abc")
    gone: Any = Gone()
    wandb_run.run = gone
    for step in (1, 2):
        with nullcontext() if step > 1 else pytest.warns(UserWarning, match="service has ended"):
            wandb_run.log_metrics({"a": 1.0}, step=step)
    assert wandb_run.position() == {"id": "abc"}
    # Said once; the rest of the run goes by without it.
    wandb_run.log_summary({"steps": 1})
    wandb_run.log_hyperparams({"steps": 1})
    wandb_run.finalize("failed")


def test_usr1_before_the_training_does_not_end_the_program(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a process of its own, which has not heard of the signal before."""

    def be_signalled(*_: Any) -> None:
        os.kill(os.getpid(), signal.SIGUSR1)
        sys.exit(0)

    def parse_and_be_signalled() -> None:
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)
        monkeypatch.setattr(InfoGANCLI, "instantiate_classes", be_signalled)
        assert command("fit", "--config=infogan_mnist.yaml").code == 0

    assert in_child(parse_and_be_signalled) == 0
