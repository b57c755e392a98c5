"""torchrun loses a process, or one of two hosts, and the run ends like the undisturbed one."""

import os
import re
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from tests.cluster.job import ROOT, left_by, prepare, steps
from tests.cluster.slurm import wait_for
from tests.support.resumable import Result, assert_equal

pytestmark = pytest.mark.cluster
ADDRESSES = ("10.77.0.1", "10.77.0.2")
PATIENCE = 600.0


def documented() -> tuple[dict[str, str], list[str]]:
    """Return the variables and the command that docs/cluster.md tells to give."""
    page = (ROOT / "docs/cluster.md").read_text()
    (block,) = re.findall(r"<!-- torchrun -->\n```\n(.*?)\n```", page, flags=re.DOTALL)
    export, command = block.split("\n")
    name, _, value = export.removeprefix("export ").partition("=")
    return {name: value}, shlex.split(command)


class Agent:
    """One torchrun, with all the processes that it starts."""

    def __init__(self, folder: Path, seconds: float, host: int | None = None) -> None:
        variables, command = documented()
        values = {"--nproc-per-node": "1", "--rdzv-endpoint": f"{ADDRESSES[0]}:29500"}
        if host is None:
            values = {"--nnodes": "1", "--nproc-per-node": "2", "--rdzv-endpoint": "localhost:0"}
        command = [
            f"{name}={values[name]}" if (name := word.partition("=")[0]) in values else word
            for word in command
        ]
        command = ["tiny.yaml" if word == "infogan_mnist.yaml" else word for word in command]
        command += [f"--trainer.callbacks.seconds={seconds}"]
        environment = {**self.environment, **variables}
        if host is not None:
            where = [f"--rdzv-conf=is_host={int(host == 0)}", f"--local-addr={ADDRESSES[host]}"]
            command = ["ip", "netns", "exec", namespace(host), command[0], *where, *command[1:]]
            environment["GLOO_SOCKET_IFNAME"] = link(host)
        self.output: IO[str] = (folder / f"agent{host}.log").open("a")
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdout=self.output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    environment: dict[str, str] = {}

    def workers(self) -> list[int]:
        """Return the processes that train."""
        listed = subprocess.run(
            ["ps", "-o", "pid=,args=", "--ppid", str(self.process.pid)],
            capture_output=True,
            text=True,
            check=False,
        ).stdout
        return [int(line.split()[0]) for line in listed.splitlines() if "cli.py fit" in line]

    def kill(self) -> None:
        """End it and its workers at once, as a machine that loses its power."""
        for pid in (*self.workers(), self.process.pid):
            os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def end(self) -> int:
        """Return the exit code."""
        code = self.process.wait(PATIENCE)
        self.output.close()
        return code


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Agent.environment = prepare(tmp_path / "work")
    return tmp_path / "work"


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Result:
    folder = tmp_path_factory.mktemp("reference") / "work"
    Agent.environment = prepare(folder)
    assert Agent(folder, 0.0).end() == 0, (folder / "agentNone.log").read_text()
    return left_by(folder, "infogan_1")


def test_a_killed_process_is_replaced(folder: Path, reference: Result) -> None:
    agent = Agent(folder, 0.5)
    wait_for(lambda: steps(folder) >= 13, PATIENCE)
    os.kill(agent.workers()[1], signal.SIGKILL)
    code, log = agent.end(), (folder / "agentNone.log").read_text()
    assert code == 0 and "Restored all states" in log, log
    assert_equal(left_by(folder, "infogan_1"), reference)


# ---- two hosts ---------------------------------------------------------------------------------


def namespace(host: int) -> str:
    return f"infogan{host}"


def link(host: int) -> str:
    return f"infoganlink{host}"


def ip(*words: str, check: bool = True) -> bool:
    return subprocess.run(["ip", *words], capture_output=True, check=check).returncode == 0


def without_namespaces() -> str:
    """Return why there can be no two hosts here; '' if there can."""
    if shutil.which("ip") is None:
        return "no ip: apt-get install iproute2"
    if os.getuid() != 0 or not ip("netns", "add", "infogantry", check=False):
        return "network namespaces cannot be made here"
    ip("netns", "del", "infogantry")
    return ""


@pytest.fixture
def hosts() -> Iterator[None]:
    """Join two network namespaces by a cable."""
    for host in (0, 1):
        ip("netns", "add", namespace(host))
    try:
        ip("link", "add", link(0), "type", "veth", "peer", "name", link(1))
        for host in (0, 1):
            inside = ("-n", namespace(host))
            ip("link", "set", link(host), "netns", namespace(host))
            ip(*inside, "addr", "add", f"{ADDRESSES[host]}/24", "dev", link(host))
            for name in ("lo", link(host)):
                ip(*inside, "link", "set", name, "up")
        yield
    finally:
        for host in (0, 1):
            ip("netns", "del", namespace(host))


def test_a_lost_host_comes_back_and_the_run_ends_the_same(
    folder: Path, reference: Result, request: pytest.FixtureRequest
) -> None:
    if reason := without_namespaces():
        pytest.skip(reason)
    request.getfixturevalue("hosts")
    agents = [Agent(folder, 0.5, host) for host in (0, 1)]
    try:
        wait_for(lambda: steps(folder) >= 13, PATIENCE)
        agents[1].kill()
        agents[1] = Agent(folder, 0.0, 1)
        codes, log = [agent.end() for agent in agents], (folder / "agent0.log").read_text()
        assert codes == [0, 0] and "Restored all states" in log, log
    finally:
        for agent in agents:
            if agent.process.poll() is None:
                agent.kill()
    assert_equal(left_by(folder, "infogan_1"), reference)
