"""The command `study`: run a study file's members, or go on with them."""

import fnmatch
import sys
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import Literal

from infogan.commands.parser import OptionParser, explained
from infogan.commands.study.cluster import array_script
from infogan.commands.study.definition import Member, Study, load_study
from infogan.commands.study.places import places
from infogan.commands.study.progress import Screen
from infogan.commands.study.records import RESULTS, MemberFolder
from infogan.commands.study.runner import Runner, StudyInterruptedError, look
from infogan.commands.study.table import Table
from infogan.errors import ConfigurationError
from infogan.locks import Lock
from infogan.version import program

Mode = Literal["run", "status", "rescore", "collect", "sbatch", "job"]


def main(argv: list[str]) -> None:
    """Parse `study FILE`, or `study --config FILE`, and run it.

    Raises:
        ConfigurationError: If an option or the study file is wrong.
    """
    summary = (study.__doc__ or "").partition("\n\n    Args:")[0]
    parser = OptionParser(
        prog=f"{program()} study", description=" ".join(summary.split()), exit_on_error=False
    )
    file_help = "Study file, or the name of one in studies/, such as paper_table.yaml."
    parser.add_argument("file", nargs="?", type=str, help=file_help)
    parser.add_argument("-c", "--config", type=str, help="The same, given as an option.")
    parser.add_function_arguments(study, skip={"file"}, fail_untyped=True)
    if any(word.partition("=")[0] == "--num_parallel" for word in argv):
        raise ConfigurationError("study has no option num_parallel; did you mean --jobs?")
    with explained(parser):
        options = parser.parse_args(argv[1:])
    files = [name for name in (options.pop("file"), options.pop("config")) if name is not None]
    if len(files) != 1:
        raise ConfigurationError(
            f"study takes one file, got {len(files)}: {program()} study studies/paper_table.yaml"
        )
    study(files[0], **options.as_dict())


def study(
    file: str,
    mode: Mode = "run",
    only: str = "*",
    jobs: int | None = None,
    threads: int = 1,
    time_limit: float | None = None,
    sbatch_gpu: bool = True,
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
        only: Only the members of this name, or of these, with commas between them; `*` and `?`
            stand for any characters.
        jobs: Members that run at a time on each GPU of the machine, or in all if it has none; null
            for as many as there are cores for, at most 8 a GPU. In an sbatch script the members of
            one job, of which there is one by default.
        threads: Threads of each member.
        time_limit: Minutes after which no member is started and those at work save their state and
            stop; the same command goes on from there.
        sbatch_gpu: Whether each job of an sbatch script asks for a GPU, which its members share.
        save_dir: Folder of runs; the members' are in `save_dir/NAME/`.
        data_dir: Folder of the small files that are worth to be committed.

    Raises:
        ConfigurationError: If the file is wrong, or another process is at work on the study.
    """
    check_options(jobs, threads, time_limit)
    definition = load_study(file)
    study_dir = save_dir / definition.name
    folders = [MemberFolder(member, study_dir) for member in selected(definition, only)]
    table = Table(definition, data_dir)
    if mode == "collect":
        print(f"{table.collect(folders)} rows in {table.path}")
    elif mode == "status":
        show_status(folders, table)
    elif mode == "sbatch":
        options = ["--save_dir", str(save_dir), "--data_dir", str(data_dir)]
        print_script(folders, table, jobs or 1, threads, sbatch_gpu, options)
    else:
        run(folders, table, mode, jobs, threads, time_limit)


def check_options(jobs: int | None, threads: int, time_limit: float | None) -> None:
    """Refuse numbers with which nothing could run.

    Raises:
        ConfigurationError: For the first of them.
    """
    for name, value in (("jobs", jobs), ("threads", threads)):
        if value is not None and value < 1:
            raise ConfigurationError(f"{name} must be at least 1, got {value}")
    if time_limit is not None and not time_limit > 0:
        raise ConfigurationError(f"time_limit must be above 0 minutes, got {time_limit}")


def print_script(
    folders: list[MemberFolder],
    table: Table,
    jobs: int,
    threads: int,
    has_gpu: bool,
    options: list[str],
) -> None:
    """Print a Slurm array script of the members without a result.

    Raises:
        ConfigurationError: If there are none.
    """
    missing = [p.folder.member for p in look(folders, table) if p.row is None]
    if not missing:
        raise ConfigurationError(f"{table.study.path}: every member has a result already")
    # Slurm does not make the folder that it is to write its jobs' output to.
    study_dir = folders[0].study_dir
    study_dir.mkdir(parents=True, exist_ok=True)
    script = array_script(table.study, missing, jobs, threads, has_gpu, options, study_dir)
    print(script, end="")


def selected(definition: Study, only: str) -> list[Member]:
    """Return the members of these names, in the order to run them.

    Raises:
        ConfigurationError: If there are none of one of the names.
    """
    names = [m.name for m in definition.members]
    for pattern in only.split(","):
        if not fnmatch.filter(names, pattern):
            settings = ", ".join(sorted({m.setting for m in definition.members}))
            raise ConfigurationError(
                f"only={pattern} fits no member of {definition.path}; its settings are {settings}, "
                "and a member is named like infogan_mnist_seed0"
            )
    chosen = {name for pattern in only.split(",") for name in fnmatch.filter(names, pattern)}
    return [member for member in definition.by_seed() if member.name in chosen]


def run(
    folders: list[MemberFolder],
    table: Table,
    mode: Mode,
    jobs: int | None,
    threads: int,
    time_limit: float | None,
) -> None:
    """Run, or score again, as a study that no other process is at, or as one of its jobs."""
    name = table.study.name
    lock = Lock(folders[0].study_dir / "study.lock", f"study {name}")
    with nullcontext() if mode == "job" else lock:
        at_once, is_again = places(jobs, threads), mode == "rescore"
        runner = Runner(table, look(folders, table), at_once, threads, time_limit, is_again)
        run_to_end(runner, collect=mode != "job")


def run_to_end(runner: Runner, collect: bool) -> None:
    """Run to the end, say how it went, and leave with 1 if a member has no result."""
    code = 0
    try:
        runner.run(collect)
    except StudyInterruptedError as interrupted:
        code = 128 + interrupted.signum
        print("interrupted: the same command goes on from here", file=sys.stderr)
    if runner.is_late:
        print(
            f"time_limit of {runner.time_limit:g} minutes: the same command goes on from here",
            file=sys.stderr,
        )
    if collect and runner.table.collect([progress.folder for progress in runner.progress]):
        print(f"table  {runner.table.path}")
    for state, count in sorted(Counter(p.state for p in runner.progress).items()):
        print(f"{count:>5}  {state}")
    for member in runner.members:
        if member.progress.state == "crashed":
            print(f"see    {member.log}")
    missing = any(progress.state not in RESULTS for progress in runner.progress)
    if code or missing:
        sys.exit(code or 1)


def show_status(folders: list[MemberFolder], table: Table) -> None:
    """Print one line a member, in the order of the table."""
    in_order = sorted(folders, key=lambda folder: table.study.members.index(folder.member))
    progress = look(in_order, table)
    screen = Screen(table.study.name, progress, num_parallel=1)
    for one in progress:
        print(one.line(screen.width))
    print(screen.headline())
