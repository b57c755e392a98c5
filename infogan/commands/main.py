"""The verbs and what an error is to the shell."""

import argparse
import difflib
import importlib
import re
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from infogan import __version__
from infogan.errors import ConfigurationError
from infogan.runtime.found import left_as_found
from infogan.runtime.signals import end_at_sigterm
from infogan.version import program


def lightning(argv: list[str]) -> None:
    """Run one of Lightning's verbs."""
    from infogan.commands.lightning import run

    import_named_classes()
    run(argv)


def render(argv: list[str]) -> None:
    """Write BasicProp to files."""
    from datamodules.basicprop.render import render as function
    from infogan.commands.runner import run_function

    run_function(function, argv)


def augment(argv: list[str]) -> None:
    """Run appendix D."""
    from infogan.commands.augment.command import augment as function
    from infogan.commands.runner import run_function

    # Nothing validates here: the few labels are drawn from all training images.
    options = {"labelled": True, "val_size": 0}
    mnist = {"class_path": "datamodules.MNISTDataModule", "init_args": options}
    import_named_classes()
    run_function(function, argv, {"data": mnist})


def sample(argv: list[str]) -> None:
    """Draw images for given codes."""
    from infogan.commands.runner import run_function
    from infogan.commands.sample import sample as function

    run_function(function, argv)


def export(argv: list[str]) -> None:
    """Write a model in formats that other tools load."""
    from infogan.commands.export import export as function
    from infogan.commands.runner import run_function

    run_function(function, argv)


def judge(argv: list[str]) -> None:
    """Train the judge of samples."""
    from infogan.commands.judge import judge as function
    from infogan.commands.runner import run_function

    import_named_classes()
    run_function(function, argv, {"data": {"class_path": "datamodules.MNISTDataModule"}})


def explore(argv: list[str]) -> None:
    """Open the explorer's page."""
    from infogan.commands.explore import explore as function
    from infogan.commands.explore.command import data_of_run
    from infogan.commands.runner import run_function

    import_named_classes()
    run_function(function, argv, data_of_run(argv))


def compare(argv: list[str]) -> None:
    """Compare runs."""
    from infogan.commands.compare.command import compare as function
    from infogan.commands.runner import run_function

    run_function(function, argv, listed="runs")


def study(argv: list[str]) -> None:
    """Run a study file."""
    from infogan.commands.study.command import main as function

    function(argv)


def completion(argv: list[str]) -> None:
    """Print a completion script."""
    from infogan.commands.completion import print_completion

    print_completion(argv, main, list(VERBS))


# Each verb imports what it needs when it is used, so that --help answers at once.
VERBS: dict[str, tuple[Callable[[list[str]], None], str]] = {
    "fit": (lightning, "train a model: fit --config infogan_mnist.yaml"),
    "validate": (lightning, "score a checkpoint on the validation images"),
    "test": (lightning, "score a checkpoint on the test images"),
    "predict": (lightning, "write the codes that a checkpoint reads from images"),
    "judge": (judge, "train the classifier that test judges samples by, before a test needs it"),
    "compare": (compare, "compare runs: a table, and a page with their curves and pictures"),
    "render": (render, "write a BasicProp data set to files in MNIST's format"),
    "augment": (augment, "measure generated images as extra training data (appendix D)"),
    "study": (study, "run configs x seeds into one table: study studies/paper_table.yaml"),
    "sample": (sample, "draw images for given codes: sample --codes '{0: 3}'"),
    "export": (export, "write a model as ONNX and safetensors, with what its numbers mean"),
    "explore": (explore, "open a local web page on which a model's codes are played with"),
    "completion": (completion, "print what completes `infogan` in bash: source <(... completion)"),
}


def main(argv: list[str] | None = None) -> int:
    """Run one verb; return the exit code.

    0 done, 1 a defect or another process failed, 2 wrong input, 3 stopped by a callback, 128 + n
    interrupted by signal n.
    """
    argv = sys.argv[1:] if argv is None else argv
    parser = EntranceParser(
        prog=program(),
        description="InfoGAN laboratory: train, score and use latent codes.",
        epilog=f"`{program()} VERB --help` lists a verb's options.",
    )
    parser.add_argument("--version", action="version", version=f"infogan {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name, (_, description) in VERBS.items():
        verbs.add_parser(name, help=description, add_help=False)
    if not argv:
        parser.print_help()
        return 0
    argv = [with_home(argument) for argument in argv]
    with left_as_found():
        end_at_sigterm()
        find_own_classes()
        return run(lambda: VERBS[parser.parse_known_args(argv[:1])[0].verb][0](argv))


class EntranceParser(argparse.ArgumentParser):
    """Reads the verb; what is wrong with it is an error like any other."""

    def error(self, message: str) -> NoReturn:
        """Say which verb is near.

        Raises:
            ConfigurationError: Always.
        """
        wrong = re.search(r"invalid choice: '(.*?)'", message)
        near = difflib.get_close_matches(wrong[1], VERBS, 1) if wrong is not None else []
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigurationError(f"{message}{hint}")


def run(action: Callable[[], None]) -> int:
    """Run an action; show an error that a user can act on as one line, and return its exit code."""
    quiet_third_parties()
    try:
        action()
    except (KeyboardInterrupt, SystemExit) as leaving:
        # A trainer makes an exit of its own of Ctrl-C, which it then ignores.
        is_ctrl_c = isinstance(leaving, KeyboardInterrupt)
        if not is_ctrl_c and not isinstance(leaving.__context__, KeyboardInterrupt):
            raise
        print("error: interrupted", file=sys.stderr)
        return 128 + signal.SIGINT
    except Exception as error:
        code, message = exit_code(error), str(error)
        limit = limit_of_the_card(error)
        if limit is not None:
            code, message = 2, limit
        if code is not None:
            print("error: " + " ".join(message.split()), file=sys.stderr)
        # A stop and an interruption are agreed upon: all ranks come here.
        if not hasattr(error, "outcome"):
            leave_waiting_ranks(error, code)
        if code is None:
            raise
        return code
    return 0


def leave_waiting_ranks(error: Exception, code: int | None) -> None:
    """End this process at once if it is one of several ranks, which may wait for it elsewhere."""
    from infogan.runtime.launching import has_peers, leave_at_once

    if has_peers():
        if code is None:
            traceback.print_exception(error)
        leave_at_once(code or 1)


def with_home(argument: str) -> str:
    """Return an argument with `~` expanded where shells leave it: in `--save_dir=~/runs`."""
    option, equals, value = argument.rpartition("=")
    is_path = value.startswith("~") and (not equals or option.startswith("--"))
    return f"{option}{equals}{Path(value).expanduser()}" if is_path else argument


def import_named_classes() -> None:
    """Let options name data and modules without their package."""
    # Short names are looked up among the classes that have been imported.
    for package in ("datamodules", "infogan.modules"):
        importlib.import_module(package)


def find_own_classes() -> None:
    """Let a `class_path` name a class in a file of the working directory, such as my_codes.py."""
    # Last, so that such a file never stands in for a library's.
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))


def exit_code(error: Exception) -> int | None:
    """Return the code for an error whose message is all that a user needs; None for a defect."""
    if type(error) is ConfigurationError:
        return 2  # before anything large is imported
    from pytorch_lightning.utilities.exceptions import MisconfigurationException

    from datamodules.errors import DataError
    from infogan.callbacks.stopping import RunStoppedError
    from infogan.runtime.launching import RankFailedError
    from infogan.runtime.signals import RunInterruptedError

    if isinstance(error, RunStoppedError):
        return 3
    if isinstance(error, RunInterruptedError):
        return error.exit_code
    if isinstance(error, RankFailedError):
        return 1
    wrong_input = (ConfigurationError, DataError, MisconfigurationException, OSError)
    return 2 if isinstance(error, wrong_input) else None


def limit_of_the_card(error: Exception) -> str | None:
    """Return what to do about an error that torch raises where a GPU cannot; None for others."""
    if type(error).__name__ == "OutOfMemoryError":
        return (
            "the GPU's memory is full; give a smaller data.init_args.batch_size, or end what else "
            f"runs on the card ({error})"
        )
    operation, lacks, _ = str(error).partition(" does not have a deterministic implementation")
    if isinstance(error, RuntimeError) and lacks:
        return (
            f"trainer.deterministic=True: {operation} has no deterministic form on a GPU; give "
            "--trainer.deterministic warn, or train on the CPU"
        )
    return None


def quiet_third_parties() -> None:
    """Silence what libraries say about one another, which no user can act on."""
    warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
    warnings.filterwarnings("ignore", message="Sparse invariant checks are implicitly disabled")
    warnings.filterwarnings("ignore", message=".*infer the batch indices fetched")
    # A test's checkpoints folder is that of the run, and it writes none.
    warnings.filterwarnings("ignore", message="The dirpath has changed")
    # In mixed precision the weights stay float32, as it then assumes.
    warnings.filterwarnings("ignore", message="Precision bf16-mixed is not supported by the model")
    # What is logged without it is the same on all processes.
    warnings.filterwarnings("ignore", message=".*sync_dist=True.*")
