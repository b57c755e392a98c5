"""Build a run's loggers once, with all that is known of the run."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from jsonargparse import ArgumentParser
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_info

from infogan.errors import ConfigurationError
from infogan.loggers import RunFolder, TensorBoardRun, WandbRun
from infogan.loggers.labels import RunLabels
from infogan.loggers.run_folder import next_version


class Plan(NamedTuple):
    """A logger that is not built yet.

    Args:
        kind: Its class.
        arguments: What the config gives.
    """

    kind: type[Logger]
    arguments: dict[str, Any]


def plan_loggers(parser: ArgumentParser) -> None:
    """Let a parser plan the loggers that need to know the run, where it would build them."""
    for kind in (RunFolder, TensorBoardRun, WandbRun):
        parser.add_instantiator(lambda kind, **given: Plan(kind, given), kind, subclasses=True)


@dataclass(frozen=True)
class Tracking:
    """Where the numbers of a run go.

    Args:
        save_dir: Folder of all runs.
        name: Path of the run's folders below it.
        labels: What to call the run.
        wandb: `auto`, `online`, `offline` or `disabled`.
        resumed: The run folder and the checkpoint that the run goes on from.
    """

    save_dir: str
    name: str
    labels: RunLabels
    wandb: str = "auto"
    resumed: tuple[Path, Mapping[str, Any]] | None = None

    def build(self, given: Sequence[Logger | Plan]) -> list[Logger]:
        """Return the loggers of a config, built."""
        plans = [one if isinstance(one, Plan) else None for one in given]
        loggers: list[Logger | None] = [one if isinstance(one, Logger) else None for one in given]
        # The run folder first: the others write into it.
        for build in (self.run_folder, self.tensorboard_run, self.wandb_run):
            for i, plan in enumerate(plans):
                if plan is not None and loggers[i] is None:
                    loggers[i] = build(plan, [one for one in loggers if one is not None])
        return [one for one in loggers if one is not None]

    def run_folder(self, plan: Plan, built: Sequence[Logger]) -> Logger | None:
        """Return the run folder, new or resumed."""
        if not issubclass(plan.kind, RunFolder):
            return None
        resumed: dict[str, Any] = {}
        if self.resumed is not None:
            folder, checkpoint = self.resumed
            rows = checkpoint.get("loggers", {}).get("RunFolder", {}).get("rows")
            step = int(checkpoint["global_step"])
            resumed = {"version": folder.name, "resumed_step": step, "resumed_rows": rows}
        return plan.kind(**{**self.placed(plan.arguments), **resumed})

    def tensorboard_run(self, plan: Plan, built: Sequence[Logger]) -> Logger | None:
        """Return TensorBoard's logger, in the run folder unless the config names another place."""
        if not issubclass(plan.kind, TensorBoardRun):
            return None
        arguments = self.placed(plan.arguments)
        folders = [one for one in built if isinstance(one, RunFolder)]
        if self.resumed is not None:
            folder, checkpoint = self.resumed
            arguments["version"] = folder.name
            arguments["resumed_step"] = int(checkpoint["global_step"])
        elif folders and not any(plan.arguments.get(n) for n in ("save_dir", "name", "version")):
            place = folders[0]
            arguments |= {"save_dir": place.save_dir, "name": place.name, "version": place.version}
        return plan.kind(**arguments)

    def wandb_run(self, plan: Plan, built: Sequence[Logger]) -> Logger | None:
        """Return W&B's logger; None where it is turned off or not installed."""
        mode = os.environ.get("WANDB_MODE") if self.wandb == "auto" else self.wandb
        if not issubclass(plan.kind, WandbRun) or mode == "disabled":
            return None
        given, labels = plan.arguments, self.labels
        # What W&B's own variables say comes before what the run is.
        defaults = {
            "name": ("WANDB_NAME", labels.name),
            "group": ("WANDB_RUN_GROUP", labels.group),
            "job_type": ("WANDB_JOB_TYPE", labels.job_type),
        }
        arguments = {
            key: given.get(key) or (None if os.environ.get(variable) else value)
            for key, (variable, value) in defaults.items()
        }
        arguments["save_dir"] = given.get("save_dir") or self.save_dir
        named = given.get("tags")
        if named is None:
            named = [tag for tag in os.environ.get("WANDB_TAGS", "").split(",") if tag]
        arguments["tags"] = [*dict.fromkeys([*labels.tags, *named])]
        if self.wandb != "auto":
            arguments["mode"] = self.wandb
        if self.resumed is not None:
            position = self.resumed[1].get("loggers", {}).get("WandbRun", {})
            arguments["id"] = given.get("id") or position.get("id")
        arguments["run_folder"] = next((one.log_dir for one in built if one.log_dir), None)
        try:
            return plan.kind(**{**given, **arguments})
        except ConfigurationError as error:
            rank_zero_info(f"W&B: not tracking: {error}")
            return None

    def placed(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return a logger's arguments, with folder and name of the run where none are given."""
        place = {"save_dir": self.save_dir, "name": self.name}
        return {**given, **{key: given.get(key) or value for key, value in place.items()}}

    def folder_without_loggers(self) -> Path:
        """Return the run folder of a run that no logger makes one for."""
        if self.resumed is not None:
            return self.resumed[0]
        parent = Path(self.save_dir) / self.name
        return parent / f"version_{next_version(parent)}"
