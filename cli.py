"""The one entrance: `python cli.py VERB`."""

import argparse
import sys
import warnings
from collections.abc import Callable


def lightning(argv: list[str]) -> None:
    """Run one of Lightning's verbs."""
    # Short class names in YAML resolve among imported classes.
    import datamodules  # noqa: F401
    import infogan.modules  # noqa: F401
    from infogan.lightning_cli import run

    run(argv)


def render(argv: list[str]) -> None:
    """Write BasicProp to files."""
    from datamodules.basicprop.render import render as function
    from infogan.commands import run_function

    run_function(function, argv)


def augment(argv: list[str]) -> None:
    """Run appendix D."""
    import datamodules  # noqa: F401
    from infogan.commands import run_function
    from infogan.semi_supervised.command import augment as function

    mnist = {"class_path": "datamodules.MNISTDataModule", "init_args": {"labelled": True}}
    run_function(function, argv, {"data": mnist})


# Each verb imports what it needs when it is used, so that --help answers at once.
VERBS: dict[str, tuple[Callable[[list[str]], None], str]] = {
    "fit": (lightning, "train a model: fit --config infogan_mnist.yaml"),
    "validate": (lightning, "score a checkpoint on the validation images"),
    "test": (lightning, "score a checkpoint on the test images"),
    "predict": (lightning, "write the codes that a checkpoint reads from images"),
    "render": (render, "write a BasicProp data set to files in MNIST's format"),
    "augment": (augment, "measure generated images as extra training data (appendix D)"),
}


def main(argv: list[str] | None = None) -> int:
    """Run one verb; return the exit code: 0 done, 2 wrong input, 3 stopped by a callback."""
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(
        prog="cli.py",
        description="InfoGAN laboratory: train, score and use latent codes.",
        epilog="`cli.py VERB --help` lists a verb's options.",
    )
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name, (_, description) in VERBS.items():
        verbs.add_parser(name, help=description, add_help=False)
    verb = parser.parse_known_args(argv[:1])[0].verb
    quiet_third_parties()
    try:
        VERBS[verb][0](argv)
    except Exception as error:
        code = exit_code(error)
        if code is None:
            raise
        print("error: " + " ".join(str(error).split()), file=sys.stderr)
        return code
    return 0


def exit_code(error: Exception) -> int | None:
    """Return the code for an error whose message is all that a user needs; None for a defect."""
    from pytorch_lightning.utilities.exceptions import MisconfigurationException

    from datamodules.errors import DataError
    from infogan.callbacks.stopping import RunStoppedError
    from infogan.errors import ConfigurationError

    if isinstance(error, RunStoppedError):
        return 3
    wrong_input = (ConfigurationError, DataError, MisconfigurationException, OSError)
    return 2 if isinstance(error, wrong_input) else None


def quiet_third_parties() -> None:
    """Silence what libraries say about one another, which no user can act on."""
    warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
    warnings.filterwarnings("ignore", message="Sparse invariant checks are implicitly disabled")
    warnings.filterwarnings("ignore", message=".*infer the batch indices fetched")


if __name__ == "__main__":
    sys.exit(main())
