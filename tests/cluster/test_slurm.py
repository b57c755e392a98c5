"""A job on two Slurm nodes is preempted or runs out of time, comes back, and ends the same."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from infogan.runtime.checkpoints import read_checkpoint
from tests import ROOT
from tests.cluster.job import NUM_STEPS, left_by, prepare, steps, wandb_id
from tests.cluster.slurm import ask, cluster, field, missing, wait_for
from tests.support.resumable import Result, assert_equal

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(bool(missing()), reason=missing() or "Slurm is here"),
]
# The documented script (a test checks its name in the documentation), on two CPUs for eight GPUs.
SUBMIT = ("sbatch", "--parsable", "--nodes=2", "--ntasks-per-node=1", "--gpus-per-node=0")
PATIENCE = 600.0


class Job:
    """A submitted job and the folder it works in."""

    def __init__(self, folder: Path, slurm: dict[str, str], seconds_a_batch: float) -> None:
        self.folder = folder
        self.environment = {**prepare(folder), "SLURM_CONF": slurm["SLURM_CONF"]}
        arguments = ["--config=tiny.yaml", "--wandb=offline"]
        arguments += [f"--trainer.callbacks.seconds={seconds_a_batch}"]
        self.number = self.submit(str(ROOT / "docs/train.sbatch"), *arguments)

    def submit(self, *arguments: str) -> str:
        command = [*SUBMIT, "--cpus-per-task=1", "--time=50", *arguments]
        answer = subprocess.check_output(
            command, cwd=self.folder, env=self.environment, stderr=subprocess.PIPE, text=True
        )
        return answer.strip()

    @property
    def state(self) -> str:
        return field(self.environment, self.number, "JobState")

    @property
    def name(self) -> str:
        return f"infogan_{self.number}"

    @property
    def log(self) -> str:
        return (self.folder / f"infogan_{self.number}.log").read_text()

    def wait_for_step(self, step: int) -> None:
        wait_for(lambda: steps(self.folder) >= step or self.state == "FAILED", PATIENCE)
        assert self.state == "RUNNING", self.log

    def wait_for_requeue(self) -> None:
        """Wait until the job is in the queue again, and shorten its two minutes there."""
        wait_for(lambda: self.state == "PENDING" or self.state in ENDS, PATIENCE)
        assert self.state == "PENDING", self.log
        ask(self.environment, "scontrol", "update", f"jobid={self.number}", "StartTime=now+1")

    def wait_for_end(self) -> Result:
        wait_for(lambda: self.state in ENDS, PATIENCE)
        assert self.state == "COMPLETED", self.log
        return left_by(self.folder, self.name)


ENDS = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL")


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with cluster(tmp_path_factory.mktemp("slurm") / "cluster") as environment:
        yield environment


@pytest.fixture(scope="module")
def reference(slurm: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Result:
    return Job(tmp_path_factory.mktemp("reference"), slurm, 0.0).wait_for_end()


def check_restarted(job: Job, reference: Result, first_id: str, reached: int) -> None:
    """Check that the job came back, went on, and left what the undisturbed one did."""
    end = job.wait_for_end()
    assert field(job.environment, job.number, "Restarts") == "1"
    assert end.state["global_step"] == NUM_STEPS
    assert_equal(end, reference)
    assert [p.name for p in (job.folder / "runs" / job.name).glob("version_*")] == ["version_0"]
    assert wandb_id(job.folder, job.name) == first_id
    assert f"at step {reached}, saved as" in job.log


def step_of(job: Job) -> int:
    path = job.folder / "runs" / job.name / "version_0/checkpoints/last.ckpt"
    return read_checkpoint(path)["global_step"]


def test_a_preempted_job_comes_back_and_ends_the_same(
    slurm: dict[str, str], reference: Result, tmp_path: Path
) -> None:
    job = Job(tmp_path, slurm, 0.5)
    job.wait_for_step(12)
    urgent = job.submit("--partition=urgent", "--output=urgent.log", "--wrap=sleep 2")
    job.wait_for_requeue()
    reached, first_id = step_of(job), wandb_id(job.folder, job.name)
    assert 12 <= reached < NUM_STEPS
    assert field(job.environment, urgent, "JobState") in ("PENDING", "RUNNING", "COMPLETED")
    check_restarted(job, reference, first_id, reached)


def test_a_job_that_runs_out_of_time_comes_back_and_ends_the_same(
    slurm: dict[str, str], reference: Result, tmp_path: Path
) -> None:
    """The signal that `--signal` announces, sent by hand: a real limit takes minutes."""
    job = Job(tmp_path, slurm, 0.5)
    job.wait_for_step(7)
    ask(job.environment, "scancel", "--signal=USR1", job.number)
    job.wait_for_requeue()
    reached, first_id = step_of(job), wandb_id(job.folder, job.name)
    assert 7 <= reached < NUM_STEPS
    check_restarted(job, reference, first_id, reached)


def test_a_cancelled_job_saves_and_stays_away(slurm: dict[str, str], tmp_path: Path) -> None:
    job = Job(tmp_path, slurm, 0.5)
    job.wait_for_step(5)
    ask(job.environment, "scancel", job.number)
    wait_for(lambda: job.state in ENDS, PATIENCE)
    assert job.state == "CANCELLED"
    assert 5 <= step_of(job) < NUM_STEPS
    assert field(job.environment, job.number, "Restarts") == "0"


def test_a_failing_rank_ends_the_job_with_its_reason(slurm: dict[str, str], tmp_path: Path) -> None:
    job = Job(tmp_path, slurm, 0.5)
    job.wait_for_step(3)
    # The second rank alone, by the node that Slurm has given it.
    for process in Path("/proc").glob("[0-9]*"):
        try:
            variables = (process / "environ").read_bytes().split(b"\0")
            command = (process / "cmdline").read_bytes()
        except OSError:
            continue
        wanted = {b"SLURM_PROCID=1", f"SLURM_JOB_ID={job.number}".encode()}
        if wanted <= set(variables) and b"cli.py" in command and b"srun" not in command:
            subprocess.run(["kill", "-KILL", process.name], check=False)
    wait_for(lambda: job.state in ENDS, 60)
    assert job.state == "FAILED"
    assert "task 1: Killed" in job.log
