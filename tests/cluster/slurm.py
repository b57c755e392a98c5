"""A Slurm cluster of two nodes on this machine, for as long as a test takes."""

import os
import random
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PROGRAMS = ("slurmctld", "slurmd", "srun", "sbatch", "scontrol", "squeue", "scancel", "sinfo")

CONFIG = """
ClusterName=mini
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/none
CredType=cred/none
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmctldPort={port}
SrunPortRange={first}-{last}
FirstJobId={job}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=1,batch_sched_delay=0
ReturnToService=2
KillWait=30
SlurmdTimeout=60
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName=127.0.0.[1-2] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{node1}-{node2}] CPUs=1
PartitionName=main Nodes=ALL Default=YES MaxTime=60 State=UP PriorityTier=1 GraceTime=120
PartitionName=urgent Nodes=ALL MaxTime=60 State=UP PriorityTier=10 PreemptMode=OFF
"""


def missing() -> str:
    """Return why there can be no cluster here; '' if there can."""
    absent = [program for program in PROGRAMS if shutil.which(program) is None]
    if absent:
        return f"no {', '.join(absent)}: apt-get install slurmctld slurmd slurm-client"
    return "" if os.getuid() == 0 else "Slurm's daemons need root here"


def free_ports(number: int) -> int:
    """Return the first of so many free ports in a row."""
    for first in range(21000, 30000, 100):
        sockets = [socket.socket() for _ in range(number)]
        try:
            for offset, candidate in enumerate(sockets):
                candidate.bind(("127.0.0.1", first + offset))
        except OSError:
            continue
        else:
            return first
        finally:
            for candidate in sockets:
                candidate.close()
    raise OSError("no free ports between 21000 and 30000")


@contextmanager
def cluster(folder: Path) -> Iterator[dict[str, str]]:
    """Start two nodes; yield the environment in which Slurm's commands find them."""
    port = free_ports(3)
    folder.joinpath("state").mkdir(parents=True)
    for node in (1, 2):
        folder.joinpath(f"spool-127.0.0.{node}").mkdir()
    config = folder / "slurm.conf"
    config.write_text(
        CONFIG.format(
            host=socket.gethostname(),
            folder=folder,
            port=port,
            node1=port + 1,
            node2=port + 2,
            first=port + 20,
            last=port + 90,
            job=random.randrange(1000, 9000),
        )
    )
    environment = {**os.environ, "SLURM_CONF": str(config)}
    try:
        subprocess.run(["slurmctld"], env=environment, check=True)
        for node in (1, 2):
            subprocess.run(["slurmd", "-N", f"127.0.0.{node}"], env=environment, check=True)
        wait_for(lambda: ask(environment, "sinfo", "-h", "-p", "main", "-o", "%D %t") == "2 idle")
        yield environment
    finally:
        ask(environment, "scancel", "--user=root")
        with suppress(TimeoutError):
            wait_for(lambda: not ask(environment, "squeue", "-h"), 60)
        for pid_file in (*folder.glob("slurmd-*.pid"), folder / "slurmctld.pid"):
            with suppress(OSError, ValueError):
                os.kill(int(pid_file.read_text()), 15)
        with suppress(TimeoutError):
            wait_for(lambda: not list(folder.glob("*.pid")), 30)


def ask(environment: dict[str, str], *command: str) -> str:
    """Return what one of Slurm's commands prints."""
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    return result.stdout.strip()


def wait_for(condition: object, seconds: float = 60.0) -> None:
    """Wait until a function returns something true.

    Raises:
        TimeoutError: If it does not in time.
    """
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds} s in vain")
        time.sleep(0.3)


def field(environment: dict[str, str], job: str, name: str) -> str:
    """Return one field of what Slurm knows of a job, such as JobState or Restarts."""
    shown = ask(environment, "scontrol", "-o", "show", "job", job)
    return dict(item.partition("=")[::2] for item in shown.split()).get(name, "")
