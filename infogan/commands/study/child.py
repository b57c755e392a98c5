"""The process of one member: train or resume, test, record; it ends with the process above it."""

import importlib
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable

from infogan.commands.main import main
from infogan.commands.runs import newest_run
from infogan.commands.study.records import MemberFolder
from infogan.locks import Lock, LockedError

# The exit code of `cli.py` for a run that a callback stopped, and this program's for a member that
# another process is at.
STOPPED, ELSEWHERE = 3, 75
# Seconds that a process may still need to end after its parent has been killed.
PATIENCE = 3.0


def run_member(folder: MemberFolder, study: str, main: Callable[[list[str]], int] = main) -> int:
    """Bring a member to its row of the table, from where it stands; return the exit code.

    One process does it all, because Python with torch and Lightning takes seconds to start.

    Args:
        folder: The member's folder.
        study: The study's name.
        main: Runs a verb of `cli.py`.
    """
    try:
        with Lock(folder.lock_path, "member", PATIENCE):
            folder.prepare()
            code = train(folder, main) or test(folder, main)
            if code == 0:
                folder.record_end(study)
            return code
    except LockedError:
        return ELSEWHERE


def train(folder: MemberFolder, main: Callable[[list[str]], int]) -> int:
    """Run `fit` to the end of the training; return 0 once it has come to one, good or bad."""
    run = newest_run(folder.path)
    if run is not None and run.has_ended:
        return 0
    has_checkpoint = any(folder.path.glob("version_*/checkpoints/last*.ckpt"))
    resume = ["--ckpt_path", "last"] if has_checkpoint else []
    code = main([*folder.member.fit_arguments(folder.study_dir), *resume])
    if code not in (0, STOPPED):
        return code
    run = newest_run(folder.path)
    return 0 if run is not None and run.has_ended else code or 1


def test(folder: MemberFolder, main: Callable[[list[str]], int]) -> int:
    """Run `test` on the last checkpoint, if the training has left one; return the exit code."""
    run = newest_run(folder.path)
    if run is None or not run.last_checkpoint.is_file():
        return 0
    return main(["test", "--ckpt_path", str(run.last_checkpoint)])


def watch_parent() -> None:
    """End at once when the other end of standard input closes, as a kill of the parent does it."""
    # Not through sys.stdin, whose lock this thread would still hold when the interpreter ends.
    while os.read(0, 1):
        pass
    os._exit(1)


def run(main: Callable[[list[str]], int] = main) -> int:
    """Run the member that standard input names, on the GPU that it names; return the exit code."""
    try:
        folder, study, gpu = pickle.load(sys.stdin.buffer)
    except EOFError:
        return 128 + signal.SIGTERM  # stopped before it had a place
    if gpu is not None:
        # In time: importing torch does not start CUDA.
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    threading.Thread(target=watch_parent, daemon=True).start()
    return run_member(folder, study, main)


if __name__ == "__main__":
    # What takes seconds is done before there is a place to run at.
    importlib.import_module("infogan.commands.lightning")
    sys.exit(run())
