"""The same study as separate jobs: the text of an sbatch array script."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from infogan.commands.study.definition import Member, Study

TEMPLATE = """\
#!/bin/bash
# {count} members of {study}, a job each. Submit from the folder in which the runs shall be.
# When all have ended: {collect}
#SBATCH --job-name={name}
#SBATCH --array=0-{last}
#SBATCH --cpus-per-task={threads}
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=USR1@120
#SBATCH --output={log}
members=(
{members}
)
srun {job} --only "${{members[$SLURM_ARRAY_TASK_ID]}}"
"""


def array_script(
    study: Study, members: Sequence[Member], threads: int, options: Sequence[str], study_dir: Path
) -> str:
    """Return an sbatch script that runs each of these members as a job of one array.

    A job that is preempted, or near its time limit, saves its state and goes on when it is
    started again.

    Args:
        study: The study.
        members: The members to run; at least one.
        threads: CPUs of each.
        options: Options of the verb `study` that the jobs share.
        study_dir: The study's folder of runs, which exists; it receives the jobs' own output.
    """
    program = [sys.executable, "-m", "infogan", "study", str(study.path), *options]
    return TEMPLATE.format(
        count=len(members),
        study=study.path,
        name=study.name,
        last=len(members) - 1,
        threads=threads,
        log=study_dir / "slurm-%A_%a.log",
        members="\n".join(f"  {member.name}" for member in members),
        job=shlex.join([*program, "--mode", "job"]),
        collect=shlex.join([*program, "--mode", "collect"]),
    )
