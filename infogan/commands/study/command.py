"""The command `study`: run a study file's members, or go on with them."""

import fnmatch
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Literal

from jsonargparse import ArgumentParser

from infogan.commands.study.cluster import array_script
from infogan.commands.study.definition import Member, Study, load_study
from infogan.commands.study.lock import Lock
from infogan.commands.study.progress import Progress, Screen
from infogan.commands.study.records import RESULTS
from infogan.commands.study.runner import Runner, StudyInterruptedError, look
from infogan.commands.study.table import Table
from infogan.errors import ConfigurationError, as_configuration_error

Mode = Literal["run", "status", "rescore", "collect", "sbatch", "job"]


def main(argv: list[str]) -> None:
    """Parse `study FILE`, or `study --config FILE`, and run it.

    Raises:
        ConfigurationError: If an option or the study file is wrong.
    """
    summary = (study.__doc__ or "").partition("\n\n    Args:")[0]
    parser = ArgumentParser(
        prog="cli.py study", description=" ".join(summary.split()), exit_on_error=False
    )
    file_help = "Study file, or the name of one in studies/, such as paper_table.yaml."
    parser.add_argument("file", nargs="?", type=str, help=file_help)
    parser.add_argument("-c", "--config", type=str, help="The same, given as an option.")
    parser.add_function_arguments(study, skip={"file"}, fail_untyped=True)
    with as_configuration_error():
        options = parser.parse_args(argv[1:])
    files = [name for name in (options.pop("file"), options.pop("config")) if name is not None]
    if len(files) != 1:
        raise ConfigurationError(
            f"study takes one file, got {len(files)}: python cli.py study studies/paper_table.yaml"
        )
    study(files[0], **options.as_dict())


def study(
    file: str,
    mode: Mode = "run",
    only: str = "*",
    num_parallel: int | None = None,
    threads: int = 1,
    save_dir: Path = Path("runs"),
    data_dir: Path = Path("benchmarks/studies"),
) -> None:
    """Run what a study has no result for yet: configs x seeds x overrides, by `fit` and `test`.

    Members that were cut off go on where their last checkpoint is; one that collapses, meets a
    NaN or crashes stops no other. A crash is tried again by the next call. The table goes to
    `data_dir/NAME.csv`, thinned curves and pictures to `data_dir/NAME/`.

    Args:
        file: The study file.
        mode: `run` it; `status` says how far it is; `rescore` runs `test` again where there is a
            checkpoint, for new measures; `collect` brings the results of jobs into the table;
            `sbatch` prints a Slurm array script of what is missing; `job` runs members as such a
            job does, beside others and without the table.
        only: Only the members of this name; `*` and `?` stand for any characters.
        num_parallel: Members that run at a time; null for as many as there are cores for.
        threads: Threads of each member.
        save_dir: Folder of runs; the members' are in `save_dir/NAME/`.
        data_dir: Folder of the small files that are worth to be committed.

    Raises:
        ConfigurationError: If the file is wrong, or another process is at work on the study.
    """
    for name, value in (("num_parallel", num_parallel), ("threads", threads)):
        if value is not None and value < 1:
            raise ConfigurationError(f"{name} must be at least 1, got {value}")
    definition = load_study(file)
    members = selected(definition, only)
    table, study_dir = Table(definition, data_dir), save_dir / definition.name
    if mode == "collect":
        print(f"{table.collect(study_dir)} rows in {table.path}")
    elif mode == "status":
        in_order = [member for member in definition.members if member in members]
        show_status(look(in_order, table, study_dir), definition)
    elif mode == "sbatch":
        missing = [p.folder.member for p in look(members, table, study_dir) if p.row is None]
        options = ["--save_dir", str(save_dir), "--data_dir", str(data_dir)]
        print_jobs(definition, missing, threads, options, study_dir)
    else:
        parallel = num_parallel or max(1, num_cores() // threads)

        def runner() -> Runner:
            return Runner(table, members, study_dir, parallel, threads, mode == "rescore")

        if mode == "job":
            run(runner(), collect=False)
        else:
            with Lock(study_dir / "study.lock", f"study {definition.name}") as lock:
                run(runner(), collect=True, inherited=(lock.descriptor,))


def selected(definition: Study, only: str) -> list[Member]:
    """Return the members of a name, in the order to run them.

    Raises:
        ConfigurationError: If there are none.
    """
    members = [m for m in definition.by_seed() if fnmatch.fnmatchcase(m.name, only)]
    if not members:
        names = ", ".join(sorted({m.setting for m in definition.members}))
        raise ConfigurationError(
            f"only={only} fits no member of {definition.path}; its settings are {names}, and a "
            "member is named like infogan_mnist_seed0"
        )
    return members


def print_jobs(
    definition: Study, missing: list[Member], threads: int, options: list[str], study_dir: Path
) -> None:
    """Print the sbatch script of what is missing.

    Raises:
        ConfigurationError: If nothing is.
    """
    if not missing:
        raise ConfigurationError(f"{definition.path}: every member has a result already")
    # Slurm does not make the folder that it is to write its jobs' output to.
    study_dir.mkdir(parents=True, exist_ok=True)
    options = [*options, "--threads", str(threads)]
    print(array_script(definition, missing, threads, options, study_dir), end="")


def run(runner: Runner, collect: bool, inherited: tuple[int, ...] = ()) -> None:
    """Run to the end, say how it went, and leave with 1 if a member has no result."""
    code = 0
    try:
        runner.run(inherited, collect)
    except StudyInterruptedError as interrupted:
        code = 128 + interrupted.signum
        print("interrupted: the same command goes on from here", file=sys.stderr)
    if collect and runner.table.collect(runner.study_dir):
        print(f"table  {runner.table.path}")
    for state, count in sorted(Counter(p.state for p in runner.progress).items()):
        print(f"{count:>5}  {state}")
    for progress in runner.progress:
        if progress.state == "crashed":
            print(f"see    {progress.folder.path}/*.log")
    missing = any(progress.state not in RESULTS for progress in runner.progress)
    if code or missing:
        sys.exit(code or 1)


def show_status(progress: list[Progress], definition: Study) -> None:
    """Print one line a member."""
    screen = Screen(definition.name, progress, num_parallel=1)
    for one in progress:
        print(one.line(screen.width))
    print(screen.headline())


def num_cores() -> int:
    """Return the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
