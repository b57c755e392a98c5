"""The shipped sweep: what W&B makes of the file, and the command that its agent runs."""

import json
import os
import queue
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from tests import ROOT
from tests.conftest import TINY
from tests.loggers.test_tracking import by_type

pytestmark = pytest.mark.integration

SWEEP = ROOT / "configs/sweeps/infogan_mnist.yaml"


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return the sweep as `wandb sweep FILE` would send it: only the server is left out."""
    import wandb
    from wandb.apis.public import sweeps
    from wandb.cli.cli import cli

    sent: list[dict[str, Any]] = []

    def upsert(api: Any, config: dict[str, Any], **where: Any) -> tuple[dict[str, Any], list[str]]:
        sent.append({**config, "where": where})
        return {"name": "sw1", "project": {"name": "infogan", "entity": {"name": "me"}}}, []

    class Api:
        settings = {"entity": "me", "project": "uncategorized", "base_url": "http://localhost"}

    monkeypatch.setattr(sweeps, "_upsert_sweep", upsert)
    monkeypatch.setattr(wandb, "Api", Api)
    result = CliRunner().invoke(cli, ["sweep", str(SWEEP)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert sent[0].pop("where")["project"] == "infogan"
    return sent[0]


def draw(sweep: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of a run as W&B's search engine draws them, after its own checks."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is written for an older pydantic
        import sweeps
        from sweeps.config.schema import validator
    assert not list(validator.iter_errors(sweep))
    run = sweeps.next_run(sweeps.SweepConfig(sweep), [], validate=True)
    # They reach an agent as JSON.
    return json.loads(json.dumps(run.config, default=float))


def command_of_agent(
    sweep: dict[str, Any], parameters: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> tuple[list[str], dict[str, str]]:
    """Return the command and environment that W&B's agent starts a run with."""
    from wandb import wandb_agent

    started: list[dict[str, Any]] = []

    def start(**how: Any) -> SimpleNamespace:
        started.append(how)
        return SimpleNamespace()

    monkeypatch.setattr(wandb_agent, "AgentProcess", start)
    agent = wandb_agent.Agent(None, queue.Queue(), "sw1")
    # What `Agent.run` takes from the server's copy of the sweep.
    agent._sweep_command = yaml.safe_load(yaml.safe_dump(sweep))["command"]
    run = {"type": "run", "run_id": "r1", "program": sweep["program"], "args": parameters}
    assert "exception" not in agent._process_command(run)
    return started[0]["command"], started[0]["env"]


def test_the_agents_command_trains_with_the_drawn_parameters(
    registered: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")
    # The run starts a service of its own, not to share one that an earlier test has started.
    monkeypatch.delenv("WANDB_SERVICE", raising=False)
    monkeypatch.setenv("WANDB_SWEEP_ID", "sw1")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    # The agent sets these for its runs to inherit.
    for name in ("WANDB_DIR", "WANDB_RUN_ID", "WANDB_SWEEP_PARAM_PATH"):
        monkeypatch.setenv(name, str(tmp_path))
    parameters = draw(registered)
    assert set(parameters) == set(registered["parameters"])
    command, environment = command_of_agent(registered, parameters, monkeypatch)
    assert command[:5] == ["/usr/bin/env", "python", "cli.py", "fit", "--config"]
    small = [option for option in TINY if not option.startswith("--wandb")]
    result = subprocess.run(
        [*command, *small, f"--save_dir={tmp_path / 'runs'}"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    folder = tmp_path / "runs/infogan_mnist_sweep/version_0"
    config = yaml.safe_load((folder / "config.yaml").read_text())
    for name, drawn in parameters.items():
        value = config
        for part in name.split("."):
            value = value[part]
        assert value == drawn["value"], name
    (run_file,) = tmp_path.glob("runs/wandb/offline-run-*-r1/run-r1.wandb")
    records = by_type(run_file)
    assert records["run"][0]["sweep_id"] == "sw1"
    assert any(registered["metric"]["name"] in record["item"] for record in records["history"])


def test_a_sweep_is_no_training_config() -> None:
    assert SWEEP not in set((ROOT / "configs").glob("*.yaml"))
