"""The one entrance: `python cli.py VERB`."""

import argparse
import importlib
import sys
import warnings

# Each verb is imported only when it is used, so that --help answers at once.
VERBS = {
    "fit": ("infogan.lightning_cli", "run", "train a model: fit --config infogan_mnist.yaml"),
    "validate": ("infogan.lightning_cli", "run", "score a checkpoint on the validation images"),
    "test": ("infogan.lightning_cli", "run", "score a checkpoint on the test images"),
    "predict": ("infogan.lightning_cli", "run", "read the codes of images with a checkpoint"),
}


def main(argv: list[str] | None = None) -> int:
    """Run one verb; return the exit code: 0 done, 2 wrong input, 3 stopped by a callback."""
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(
        prog="cli.py",
        description="InfoGAN laboratory: train, score and explore latent codes.",
        epilog="`cli.py VERB --help` lists a verb's options.",
    )
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for verb, (_, _, description) in VERBS.items():
        verbs.add_parser(verb, help=description, add_help=False)
    verb = parser.parse_known_args(argv[:1])[0].verb
    quiet_third_parties()
    module, function, _ = VERBS[verb]
    try:
        getattr(importlib.import_module(module), function)(argv)
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


if __name__ == "__main__":
    sys.exit(main())
