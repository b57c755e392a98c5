"""The same study as separate jobs: the text of an sbatch array script."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from infogan.commands.study.definition import Member, Study

TEMPLATE = """\
#!/bin/bash
# {count} members of {study}, {jobs} a job. Submit from the folder in which the runs shall be.
# When all have ended: {collect}
#SBATCH --job-name={name}
#SBATCH --array=0-{last}
#SBATCH --ntasks=1
#SBATCH --cpus-per-task={cpus}
{gpus}#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=USR1@120
#SBATCH --output={log}
members=(
{members}
)
# srun does not take the number of CPUs from the lines above.
srun --cpus-per-task={cpus} {job} --only "${{members[$SLURM_ARRAY_TASK_ID]}}"
"""


def array_script(
    study: Study,
    members: Sequence[Member],
    jobs: int,
    threads: int,
    has_gpu: bool,
    options: Sequence[str],
    study_dir: Path,
) -> str:
    """Return an sbatch script that runs these members as the jobs of one array.

    A job that is preempted, or near its time limit, saves its state and goes on when it is
    started again.

    Args:
        study: The study.
        members: The members to run; at least one.
        jobs: Members of one job, which run at a time.
        threads: CPUs of each.
        has_gpu: Whether each job asks for a GPU, which its members share.
        options: Options of the verb `study` that the jobs share.
        study_dir: The study's folder of runs, which exists; it receives the jobs' own output.
    """
    program = [sys.executable, "-m", "infogan", "study", str(study.path), *options]
    own = ["--jobs", str(jobs), "--threads", str(threads)]
    groups = [members[start : start + jobs] for start in range(0, len(members), jobs)]
    return TEMPLATE.format(
        count=len(members),
        jobs=jobs,
        study=study.path,
        name=study.name,
        last=len(groups) - 1,
        cpus=jobs * threads,
        # One task on one node: --gres is understood by every version and site.
        gpus="#SBATCH --gres=gpu:1\n" if has_gpu else "",
        log=study_dir / "slurm-%A_%a.log",
        members="\n".join("  " + ",".join(m.name for m in group) for group in groups),
        job=shlex.join([*program, *own, "--mode", "job"]),
        collect=shlex.join([*program, "--mode", "collect"]),
    )
