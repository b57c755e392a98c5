"""The Lightning command line: configs found by name, clear errors, runs that can go on."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from jsonargparse import ActionConfigFile, ArgumentError, Namespace
from pytorch_lightning.callbacks import (
    Callback,
    Checkpoint,
    ModelCheckpoint,
    ModelSummary,
    ProgressBar,
)
from pytorch_lightning.cli import LightningArgumentParser
from pytorch_lightning.loggers import Logger

from infogan.callbacks.best_metric import BestMetric
from infogan.callbacks.collapse import CollapseStopping
from infogan.callbacks.confusion import ConfusionMatrix
from infogan.callbacks.disentanglement import Disentanglement
from infogan.callbacks.global_batch import GlobalBatch
from infogan.callbacks.last_checkpoint import LastCheckpoint
from infogan.callbacks.logged_config import LoggedConfig
from infogan.callbacks.morphometrics import Morphometrics
from infogan.callbacks.nan_stopping import NonFiniteStopping
from infogan.callbacks.predictions import CodeWriter
from infogan.callbacks.probe import EncoderProbe
from infogan.callbacks.progress import LossProgressBar, NetworkSummary, RunSummary
from infogan.callbacks.quality import SampleQuality
from infogan.callbacks.resume import ResumedSettings
from infogan.callbacks.traversal import LatentTraversal
from infogan.callbacks.validity import SampleValidity
from infogan.commands.named_checkpoints import (
    NAMES,
    SAVE_DIR,
    named_checkpoint,
    with_config_of_run,
)
from infogan.commands.old_configs import without_old_options
from infogan.commands.parser import OptionParser, check_groups, explained, with_home
from infogan.commands.tracking import Plan, Tracking, plan_loggers
from infogan.errors import ConfigurationError, one_line
from infogan.files import find_shipped
from infogan.loggers import RunFolder
from infogan.loggers.labels import RunLabels
from infogan.runtime.checkpoints import CheckpointError, read_checkpoint
from infogan.runtime.precision import native_precision, say_if_other_precision
from infogan.runtime.private import OpenLightningCLI
from infogan.runtime.settings import complete_settings, own_settings, validation_interval_as_error
from infogan.runtime.signals import ignore_usr1
from infogan.version import program


class NamedConfigFile(ActionConfigFile):
    """A `--config` that also finds a bare name in `configs/`."""

    def __call__(
        self, parser: Any, cfg: Any, values: Any, option_string: str | None = None
    ) -> None:
        """Apply the config file; what is wrong with it names the file."""
        try:
            # A config may also be given as the text itself.
            config = values if "\n" in values else str(find_shipped(values, "configs", "config"))
            super().__call__(parser, cfg, without_old_options(config), option_string)
        except (ArgumentError, TypeError, ValueError) as error:
            if isinstance(error, ConfigurationError) or "\n" in values:
                raise
            raise ConfigurationError(f"config {values}: {one_line(error)}") from error


class LightningOptionParser(OptionParser, LightningArgumentParser):
    """The parser of Lightning's verbs, which does not validate again what it has parsed."""

    def dump(self, *args: Any, **kwargs: Any) -> str:
        """Return a parsed config as YAML."""
        return super().dump(*args, **{"skip_validation": True, **kwargs})

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Write a parsed config as YAML."""
        super().save(*args, **{"skip_validation": True, **kwargs})


class InfoGANCLI(OpenLightningCLI):
    """`fit`, `validate`, `test` and `predict` of any module and datamodule, from YAML."""

    options: LightningArgumentParser
    resumed: tuple[Path, dict[str, Any]] | None = None

    def __init__(self, verb: str, **kwargs: Any) -> None:
        self.verb = verb
        super().__init__(**kwargs)

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]
        """Return the one verb that runs: the parsers of the others take as long to build as its."""
        return {self.verb: super().subcommands()[self.verb]}

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
        self.options = parser
        parser.add_argument(
            "--name", type=str, default="run", help="Name of the experiment and of its run folder."
        )
        parser.add_argument("--save_dir", type=str, default=SAVE_DIR, help="Folder of all runs.")
        parser.add_argument(
            "--group",
            type=str | None,
            default=None,
            help="Runs that belong together in W&B, such as seeds; null takes the name.",
        )
        parser.add_argument(
            "--wandb",
            type=Literal["auto", "online", "offline", "disabled"],
            default="auto",
            help="Weights & Biases: auto is online when logged in, else offline.",
        )
        parser.add_lightning_class_args(LossProgressBar, "progress_bar")
        parser.add_lightning_class_args(LatentTraversal, "traversal")
        # Lightning's save_last writes only when the best one is written: the last needs its own.
        parser.add_lightning_class_args(ModelCheckpoint, "checkpoint")
        parser.add_lightning_class_args(LastCheckpoint, "last_checkpoint")
        parser.set_defaults(
            {
                "checkpoint.monitor": "val/code_accuracy",
                "checkpoint.mode": "max",
                "checkpoint.filename": "best-step={step}",
                "checkpoint.auto_insert_metric_name": False,
                # A run that went back to an older state writes the same best one again.
                "checkpoint.enable_version_counter": False,
            }
        )
        parser.add_lightning_class_args(GlobalBatch, "global_batch")
        parser.add_lightning_class_args(ResumedSettings, "resumed_settings")
        parser.add_lightning_class_args(SampleValidity, "sample_validity")
        parser.add_lightning_class_args(ConfusionMatrix, "confusion")
        parser.add_lightning_class_args(Disentanglement, "disentanglement")
        parser.add_lightning_class_args(SampleQuality, "sample_quality")
        parser.add_lightning_class_args(Morphometrics, "morphometrics")
        parser.add_lightning_class_args(EncoderProbe, "encoder_probe")
        parser.add_lightning_class_args(NonFiniteStopping, "non_finite_stopping")
        parser.add_lightning_class_args(CollapseStopping, "collapse_stopping")
        parser.add_lightning_class_args(RunSummary, "summary")
        parser.add_lightning_class_args(CodeWriter, "code_writer")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse the command line; what is wrong with it becomes a ConfigurationError."""
        with explained(self.options):
            self.config = with_home(parser.parse_args(args))
            check_groups(self.config[self.config["subcommand"]], self.options)

    def before_instantiate_classes(self) -> None:
        """Check what can be checked before anything is built; find what `--ckpt_path` names."""
        config = self.config[self.subcommand]
        # What Lightning calls this folder is the same; ours rules.
        if config.save_dir == SAVE_DIR and config.trainer.default_root_dir is not None:
            config.save_dir = str(config.trainer.default_root_dir)
        check_writable(config.save_dir)
        if self.subcommand == "fit" and config.trainer.precision is None:
            config.trainer.precision = native_precision(config.trainer.accelerator)
        checkpoint: Mapping[str, Any] = {}
        if config.get("ckpt_path") in NAMES:
            checkpoint = self.find_checkpoint(config)
        elif config.get("ckpt_path"):
            try:
                checkpoint = read_checkpoint(Path(config.ckpt_path))
            except CheckpointError as error:
                raise ConfigurationError(
                    f"ckpt_path={error}; `last` is the newest of name={config.name}"
                ) from error
        if self.subcommand != "fit":  # which says all that differs
            say_if_other_precision(checkpoint, config.trainer.precision)
        plan_loggers(self.parser)

    def find_checkpoint(self, config: Namespace) -> Mapping[str, Any]:
        """Turn `last`, `best` or `auto` into the newest such checkpoint of this name; return it.

        `auto` is `last`, or a new run if there is none yet: the same command starts a run and,
        when a cluster repeats it, goes on with it.
        """
        folder = Path(config.save_dir) / config.name
        if config.ckpt_path == "auto" and not any(folder.glob("*/checkpoints/last*.ckpt")):
            config.ckpt_path = None
            return {}
        path, checkpoint = named_checkpoint(config.ckpt_path, folder)
        config.ckpt_path = str(path)
        if self.subcommand == "fit":
            self.resumed = (path.parent.parent, checkpoint)
            self.save_config_kwargs = {**self.save_config_kwargs, "overwrite": True}
        return checkpoint

    def instantiate_classes(self) -> None:
        """Build model, data and trainer; what is wrong with their values is one line."""
        with explained(self.options):
            super().instantiate_classes()

    def complete_trainer(self, config: dict[str, Any], callbacks: list[Callback]) -> list[Callback]:
        """Choose what the config leaves open; leave out callbacks that the trainer turns off."""
        complete_settings(config)
        loggers = config["logger"]
        if isinstance(loggers, Logger | Plan):
            loggers = [loggers]
        elif loggers is None or loggers is True:
            loggers = [Plan(RunFolder, {})]
        tracking = self.tracking()
        config["logger"] = tracking.build(loggers or [])
        if not config["logger"]:
            config["default_root_dir"] = str(tracking.folder_without_loggers())
        given = config["callbacks"] or []
        given = given if isinstance(given, list) else [given]
        off: list[type] = [
            kind
            for switch, kind in (
                ("enable_progress_bar", ProgressBar),
                ("enable_checkpointing", Checkpoint),
                ("enable_model_summary", ModelSummary),
            )
            if config.get(switch) is False
        ]
        # The config's own stand in for ours.
        own = (ProgressBar, ModelSummary)
        off += [kind for kind in own if any(isinstance(one, kind) for one in given)]
        ours = [*callbacks, NetworkSummary(), BestMetric()]
        return [callback for callback in ours if not isinstance(callback, tuple(off))]

    def tracking(self) -> Tracking:
        """Return what the loggers have to know of the run."""
        config = self.config[self.subcommand]
        stage = str(self.subcommand)
        # The scores of a checkpoint go to a folder of their own beside the trained runs.
        name = config.name if stage == "fit" else f"{config.name}/{stage}"
        labels = RunLabels.of(
            config.name, stage, config.seed_everything, self.model, self.datamodule
        )
        if config.group is not None:
            labels = labels._replace(group=config.group)
        # A prediction logs no number.
        is_idle = stage == "predict" and config.wandb == "auto"
        wandb = "disabled" if is_idle else config.wandb
        return Tracking(config.save_dir, name, labels, wandb, self.resumed)


def check_writable(save_dir: str) -> None:
    """Refuse a folder of runs that cannot be written to, before anything is trained.

    Raises:
        ConfigurationError: If it cannot be made or written to.
    """
    try:
        Path(save_dir).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=save_dir):
            pass
    except OSError as error:
        raise ConfigurationError(
            f"save_dir={save_dir} cannot be written to ({error.strerror}); "
            "give another folder with --save_dir"
        ) from error


def run(argv: list[str]) -> None:
    """Run `fit`, `validate`, `test` or `predict` with these arguments."""
    ignore_usr1()
    loggers: list[dict[str, Any]] = [
        {"class_path": "infogan.loggers.RunFolder"},
        {"class_path": "infogan.loggers.WandbRun"},
    ]
    settings = {"logger": loggers, "log_every_n_steps": 10, "num_sanity_val_steps": 0, "devices": 1}
    with validation_interval_as_error(), own_settings():
        InfoGANCLI(
            argv[0],
            args=with_config_of_run(argv),
            save_config_callback=LoggedConfig,
            seed_everything_default=0,
            trainer_defaults=settings,
            parser_kwargs={"exit_on_error": False, "prog": program()},
            auto_configure_optimizers=False,
            parser_class=LightningOptionParser,
        )
