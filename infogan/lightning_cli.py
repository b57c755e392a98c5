"""The Lightning command line: configs found by name, clear errors, runs that can go on."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
import yaml
from jsonargparse import ActionConfigFile, ArgumentError, Namespace
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from pytorch_lightning.loggers import Logger
from pytorch_lightning.trainer import Trainer
from pytorch_lightning.core import LightningModule

from infogan.callbacks.progress import LossProgressBar, RunSummary
from infogan.callbacks.traversal import LatentTraversal
from infogan.errors import ConfigurationError
from infogan.loggers import RunFolder

CONFIG_FOLDER = Path(__file__).resolve().parent.parent / "configs"


def find_config(name: str) -> str:
    """Return a config's path: as given, else of that name in `configs/` beside `cli.py`.

    Raises:
        ConfigurationError: If there is neither.
    """
    if "\n" in name or Path(name).is_file():
        return name
    shipped = CONFIG_FOLDER / name
    for candidate in (shipped, shipped.with_name(f"{shipped.name}.yaml")):
        if candidate.is_file():
            return str(candidate)
    known = ", ".join(sorted(path.name for path in CONFIG_FOLDER.glob("*.yaml")))
    raise ConfigurationError(f"config {name} is neither a file nor one of the shipped: {known}")


class NamedConfigFile(ActionConfigFile):
    """A `--config` that also finds a bare name in `configs/`."""

    def __call__(self, parser: Any, cfg: Any, values: Any, option_string: str | None = None) -> None:
        """Apply the config file."""
        super().__call__(parser, cfg, find_config(values), option_string)


class LoggedConfig(SaveConfigCallback):
    """Save the config beside the results and hand it, with versions, to every logger."""

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Give the parsed config, the code's version and the data's fingerprint to the loggers."""
        config = yaml.safe_load(self.parser.dump(self.config, skip_none=False))
        fingerprint = getattr(trainer.datamodule, "fingerprint", None)
        facts = {
            "config": config,
            "code_version": code_version(),
            "torch_version": torch.__version__,
            "data_fingerprint": fingerprint() if fingerprint is not None else None,
        }
        for logger in trainer.loggers:
            logger.log_hyperparams(facts)


def code_version() -> str:
    """Return the package's version, with the git commit where there is a checkout."""
    import subprocess

    from infogan import __version__

    command = ["git", "-C", str(CONFIG_FOLDER.parent), "describe", "--always", "--dirty"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return __version__
    return f"{__version__}+{result.stdout.strip()}" if result.returncode == 0 else __version__


class InfoGANCLI(LightningCLI):
    """`fit`, `validate`, `test` and `predict` of any module and datamodule, from YAML."""

    resumed: tuple[Path, int] | None = None

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        """Return a parser whose `--config` finds shipped configs by name."""
        parser = self.parser_class(**kwargs)
        parser.add_argument(
            "-c",
            "--config",
            action=NamedConfigFile,
            help="YAML file, or the name of one in configs/; later ones override earlier ones.",
        )
        return parser

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the run's name, the tracking switch and the callbacks that every run has."""
        parser.add_argument(
            "--name", type=str, default="run", help="Name of the experiment and of its run folder."
        )
        parser.add_argument(
            "--wandb",
            type=Literal["auto", "online", "offline", "disabled"],
            default="auto",
            help="Weights & Biases: auto is online when logged in, else offline.",
        )
        parser.add_lightning_class_args(LossProgressBar, "progress_bar")
        parser.add_lightning_class_args(LatentTraversal, "traversal")
        parser.add_lightning_class_args(ModelCheckpoint, "checkpoint")
        parser.set_defaults(
            {
                "checkpoint.monitor": "val/code_accuracy",
                "checkpoint.mode": "max",
                "checkpoint.save_last": True,
                "checkpoint.filename": "best-step={step}",
                "checkpoint.auto_insert_metric_name": False,
            }
        )
        parser.add_lightning_class_args(RunSummary, "summary")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse the command line; what is wrong with it becomes a ConfigurationError."""
        with as_configuration_error():
            super().parse_arguments(parser, args)

    def _parse_ckpt_path(self) -> None:
        """Leave the config as given: it rules, not the checkpoint's hyper-parameters."""

    def before_instantiate_classes(self) -> None:
        """Name the loggers after the run, and find the run that `--ckpt_path last` goes on."""
        config = self.config[self.subcommand]
        loggers = config.trainer.logger
        if isinstance(loggers, list):
            config.trainer.logger = [
                named(logger, config.name)
                for logger in loggers
                if config.wandb != "disabled" or not logger.class_path.endswith("WandbRun")
            ]
        if config.wandb in ("online", "offline"):
            import os

            os.environ["WANDB_MODE"] = config.wandb
        if config.get("ckpt_path") in ("last", "best"):
            self.find_checkpoint(config)
        elif config.get("ckpt_path") and not Path(config.ckpt_path).is_file():
            raise ConfigurationError(
                f"ckpt_path={config.ckpt_path} is not a file; give a checkpoint, or `last` for the "
                f"newest of name={config.name}"
            )

    def instantiate_classes(self) -> None:
        """Build model, data and trainer; what is wrong with their values is one line."""
        with as_configuration_error():
            super().instantiate_classes()
        if self.resumed is not None:
            folder, step = self.resumed
            for logger in self.trainer.loggers:
                if isinstance(logger, RunFolder):
                    logger.resume(folder.name, step)

    def find_checkpoint(self, config: Namespace) -> None:
        """Turn `last` or `best` into the path of that checkpoint in the newest run of this name."""
        folder = next(
            (
                Path(logger.init_args.save_dir) / logger.init_args.name
                for logger in config.trainer.logger or []
                if logger.class_path.endswith("RunFolder")
            ),
            None,
        )
        if folder is None:
            raise ConfigurationError(
                f"ckpt_path={config.ckpt_path} needs the RunFolder logger; give the file's path"
            )
        pattern = "last*.ckpt" if config.ckpt_path == "last" else "best*.ckpt"
        found = sorted(folder.glob(f"*/checkpoints/{pattern}"), key=lambda p: p.stat().st_mtime)
        if not found:
            raise ConfigurationError(
                f"ckpt_path={config.ckpt_path}: no {pattern} below {folder}; start without "
                "--ckpt_path, or give the file's path"
            )
        config.ckpt_path = str(found[-1])
        if self.subcommand == "fit":
            checkpoint = load_checkpoint(found[-1])
            self.resumed = (found[-1].parent.parent, int(checkpoint["global_step"]))
            self.save_config_kwargs = {**self.save_config_kwargs, "overwrite": True}


def named(logger: Namespace, name: str) -> Namespace:
    """Return a logger's config with the run's name where it has none of its own."""
    if "name" in logger.init_args and logger.init_args.name is None:
        logger.init_args.name = name
    return logger


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Load a checkpoint without running code from it.

    Raises:
        ConfigurationError: If the file is no checkpoint, or a damaged one.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = str(error).strip().split("\n")[0]
        raise ConfigurationError(
            f"ckpt_path={path} cannot be read as a checkpoint ({type(error).__name__}: {reason}); "
            "it may be truncated: give another one"
        ) from error


@contextmanager
def as_configuration_error() -> Iterator[None]:
    """Turn what parsing and building raise for wrong input into one line."""
    try:
        yield
    except ConfigurationError:
        raise
    except (ArgumentError, ValueError, TypeError, OSError, AttributeError) as error:
        raise ConfigurationError(one_line(error)) from error


def one_line(error: BaseException) -> str:
    """Return an error's message as one line without its markup."""
    text = str(error) or type(error).__name__
    return re.sub(r"\s*\n\s*(- )?", " ", text).strip()


def run(argv: list[str]) -> None:
    """Run `fit`, `validate`, `test` or `predict` with these arguments."""
    # Short class names in YAML resolve among imported classes.
    import datamodules  # noqa: F401
    import infogan.modules  # noqa: F401

    sys.argv = [sys.argv[0], *argv]
    loggers: list[dict[str, Any]] = [
        {"class_path": "infogan.loggers.RunFolder"},
        {"class_path": "infogan.loggers.WandbRun"},
    ]
    InfoGANCLI(
        save_config_callback=LoggedConfig,
        seed_everything_default=0,
        trainer_defaults={"logger": loggers, "log_every_n_steps": 10, "num_sanity_val_steps": 0},
        parser_kwargs={"exit_on_error": False, "prog": "cli.py"},
    )
