"""Find run folders and read what runs have left in them, whether they ended or are at work."""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from infogan.errors import ConfigurationError
from infogan.files import Row, read_rows

CONFIG_FILE, SUMMARY_FILE, METRICS_FILE = "config.yaml", "summary.json", "metrics.csv"
# Facts that LoggedConfig hands to the loggers beside the config.
FACTS = ("code_version", "torch_version", "data_fingerprint")
# How `summary.json` names the ends that a run comes to of its own, and how tables do.
OUTCOMES = {
    "finished": "finished",
    "discriminator_won": "collapsed",
    "discriminator_at_chance": "collapsed",
    "mode_collapse": "collapsed",
    "non_finite": "nan",
}
UNFINISHED = "unfinished"
# The folder of `cli.py test`: scores of a checkpoint.
TESTED = "tested"
# What runs were validated on that do not say it: they are older than the validation split.
TEST_IMAGES = "test images"
ACCURACY = "val/code_accuracy"


class Point(NamedTuple):
    """A logged value and the step, in batches, that it was logged at."""

    step: int
    value: float


class Picture(NamedTuple):
    """A picture of a run and the step, in batches, that it was drawn at; None is the end."""

    path: Path
    step: int | None


@dataclass(frozen=True)
class RunRecord:
    """What a run folder tells; a file that is missing or cut off tells nothing.

    Args:
        folder: The folder, `runs/NAME/version_N`.
    """

    folder: Path

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """The run's config, with versions and the data's fingerprint."""
        facts = {key: value for key, value in self._facts.items() if key in FACTS}
        return {**self._mapping(CONFIG_FILE, parse_yaml), **facts}

    @cached_property
    def summary(self) -> Mapping[str, Any]:
        """What the run said at its end; empty if it has not come to one."""
        return self._mapping(SUMMARY_FILE, json.loads)

    @cached_property
    def rows(self) -> list[Row]:
        """The rows of `metrics.csv`, empty cells left out."""
        return read_rows(self.folder / METRICS_FILE)

    @cached_property
    def curves(self) -> Mapping[str, Sequence[Point]]:
        """Logged values by log name, in order of steps.

        Raises:
            ConfigurationError: If `metrics.csv` holds anything else.
        """
        curves: dict[str, list[Point]] = {}
        try:
            for row in self.rows:
                step = step_of(row)
                for name, cell in row.items():
                    if name not in ("step", "epoch"):
                        curves.setdefault(name, []).append(Point(step, float(cell)))
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigurationError(
                f"runs: {self.folder / METRICS_FILE} is no table of steps and numbers ({error}); "
                "leave that run out"
            ) from error
        return curves

    @property
    def url(self) -> str | None:
        """Address of the run in W&B, if it was tracked online."""
        return self._mapping("wandb.json", json.loads).get("url")

    @property
    def val_split(self) -> str:
        """The images that validation has seen, such as `5000 of train`."""
        return str(self.summary.get("val_split") or self._facts.get("val_split") or TEST_IMAGES)

    @property
    def last_checkpoint(self) -> Path:
        """Where the newest checkpoint is, if there is one."""
        return self.folder / "checkpoints" / "last.ckpt"

    # ---- how far, and how it ended -------------------------------------------------------------

    @property
    def steps(self) -> int:
        """The newest step that is known, in batches."""
        logged = [step_of(row) for row in self.rows if "step" in row]
        return max([int(self.summary.get("steps", 0)), *logged])

    @cached_property
    def total_steps(self) -> int | None:
        """The batches that the run is to have; None where its config alone does not say."""
        trainer = self.config.get("trainer")
        if not isinstance(trainer, dict):
            return None
        epochs, batches = trainer.get("max_epochs"), trainer.get("limit_train_batches")
        steps = [trainer["max_steps"]] if trainer.get("max_steps", -1) > 0 else []
        # Up to 1.0 it is a share of batches whose number only the data knows.
        if epochs is not None and epochs > 0 and batches is not None and is_count(batches):
            steps.append(epochs * int(batches))
        return min(steps, default=None)

    @property
    def has_ended(self) -> bool:
        """Whether training came to an end of its own, good or bad."""
        return self.summary.get("outcome") in OUTCOMES

    @property
    def outcome(self) -> str:
        """How the run ended; a run that was resumed has only the summary of before."""
        if not self.summary and any(name.startswith("test/") for row in self.rows for name in row):
            return TESTED
        if self.steps > int(self.summary.get("steps", -1)):
            return UNFINISHED
        return str(self.summary.get("outcome", UNFINISHED))

    @property
    def duration(self) -> float | None:
        """The training time in seconds; None while it is not known."""
        if self.outcome in (UNFINISHED, TESTED) or "duration_seconds" not in self.summary:
            return None
        return float(self.summary["duration_seconds"])

    # ---- values --------------------------------------------------------------------------------

    def last(self, name: str) -> Point | None:
        """Return a log name's value at the newest step of its stage; None if it had none then."""
        is_new = name in self.newest_values(name.partition("/")[0])
        return self.curves[name][-1] if is_new else None

    def best(self, name: str) -> Point | None:
        """Return the highest finite value of a log name, the first of equal ones."""
        finite = [point for point in self.curves.get(name, ()) if math.isfinite(point.value)]
        return max(finite, key=lambda point: point.value, default=None)

    def newest_values(self, stage: str) -> Row:
        """Return what a stage, such as `val`, logged at its newest step.

        All values are of one state of the weights: what was logged only earlier is left out.
        """
        own = {n: p[-1] for n, p in self.curves.items() if n.startswith(f"{stage}/")}
        newest = max((point.step for point in own.values()), default=0)
        return {name: str(point.value) for name, point in own.items() if point.step == newest}

    # ---- pictures ------------------------------------------------------------------------------

    @cached_property
    def pictures(self) -> Mapping[str, Picture]:
        """The newest picture of every name; those of the end come before those on the way."""
        pictures = {}
        for path in sorted(self.folder.glob("traversals/step_*/*.png")):
            pictures[path.stem] = Picture(path, int(path.parent.name.removeprefix("step_")))
        for path in sorted(self.folder.glob("*.png")):
            pictures[path.stem] = Picture(path, None)
        return pictures

    # ---- files ---------------------------------------------------------------------------------

    @cached_property
    def _facts(self) -> Mapping[str, Any]:
        return self._mapping("hparams.yaml", parse_yaml)

    def _mapping(self, name: str, parse: Callable[[str], Any]) -> Mapping[str, Any]:
        """Return what a file holds; nothing if it is missing or damaged."""
        try:
            content = parse((self.folder / name).read_text())
        except (OSError, ValueError, yaml.YAMLError):
            return {}
        return content if isinstance(content, dict) else {}


def read_run(folder: Path) -> RunRecord:
    """Return a run folder's record, having seen that nothing in it is damaged.

    Raises:
        ConfigurationError: If a file is damaged or of another program.
    """
    run = RunRecord(folder)
    for name, parse in ((CONFIG_FILE, parse_yaml), (SUMMARY_FILE, json.loads)):
        path = folder / name
        try:
            parse(path.read_text() if path.is_file() else "null")
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise ConfigurationError(
                f"runs: {path} cannot be read ({type(error).__name__}); leave that run out"
            ) from error
    if not {"model", "trainer"} <= set(run.config):
        raise ConfigurationError(
            f"runs={folder} is no run folder: its {CONFIG_FILE} has no model and trainer"
        )
    _ = run.curves
    return run


def find_runs(names: Sequence[str], save_dir: Path) -> list[Path]:
    """Return the run folders that names stand for, each once, in the order of the names.

    Args:
        names: A run folder; a folder of runs, which stands for all of them; or either, relative to
            `save_dir`.
        save_dir: Folder of all runs.

    Raises:
        ConfigurationError: If a name stands for no run.
    """
    found: dict[Path, Path] = {}
    for name in names:
        for folder in _runs_of(name, save_dir):
            found.setdefault(folder.resolve(), folder)
    return list(found.values())


def _runs_of(name: str, save_dir: Path) -> list[Path]:
    """Return the run folders that one name stands for."""
    places = [Path(name), save_dir / name]
    for place in places:
        if (place / CONFIG_FILE).is_file():
            return [place]
        children = sorted(place.glob(f"*/{CONFIG_FILE}"), key=_natural)
        if children:
            return [child.parent for child in children]
    if any(place.exists() for place in places):
        raise ConfigurationError(
            f"runs={name} is no run folder: it has no {CONFIG_FILE}, nor has a folder in it"
        )
    known = sorted({path.parent.parent.name for path in save_dir.glob(f"*/*/{CONFIG_FILE}")})
    shown = ", ".join([*known[:8], *["..."] * (len(known) > 8)]) or "none"
    raise ConfigurationError(
        f"runs={name} is neither a folder nor a run in {save_dir}, which has {shown}"
    )


def newest_run(folder: Path) -> RunRecord | None:
    """Return the newest `version_N` of an experiment's folder; None without one."""
    versions = [path for path in folder.glob("version_*") if path.name[8:].isdecimal()]
    return RunRecord(max(versions, key=_natural)) if versions else None


def _natural(path: Path) -> list[tuple[int, str]]:
    """Return a key that sorts version_10 behind version_9."""
    return [(int(part or -1), word) for word, part in re.findall(r"(\D+)(\d*)", str(path))]


def step_of(row: Row) -> int:
    """Return the step of a row of `metrics.csv`, in batches."""
    return int(float(row["step"]))


def is_count(batches: float) -> bool:
    """Return whether a limit of batches is their number, not a share of them."""
    return isinstance(batches, int) or batches > 1


class _PlainLoader(yaml.SafeLoader):
    """Read YAML with tags of Python objects, such as loggers write, without building any."""


_PlainLoader.add_multi_constructor("tag:yaml.org,2002:python/", lambda *_: None)


def parse_yaml(text: str) -> Any:
    """Return the plain values of a YAML text."""
    return yaml.load(text, _PlainLoader)
