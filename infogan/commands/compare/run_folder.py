"""Find run folders and read what runs have left in them, finished or not."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from infogan.errors import ConfigurationError
from infogan.loggers.metrics_file import read_rows

CONFIG_FILE = "config.yaml"
# Facts that LoggedConfig hands to the loggers beside the config.
FACTS = ("code_version", "torch_version", "data_fingerprint", "val_split")
UNFINISHED = "unfinished"
# The folder of `cli.py test`: scores of a checkpoint.
TESTED = "tested"


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
    """What a run folder tells.

    Args:
        folder: The folder, `runs/NAME/version_N`.
        config: The run's config, with versions and the data's fingerprint.
        curves: Logged values by log name, in order of steps.
        summary: `summary.json`; empty for a run that has not ended.
        pictures: The newest traversal of every code, and the matrices of the end, by name.
        url: Address of the run in W&B, if it was tracked online.
    """

    folder: Path
    config: Mapping[str, Any]
    curves: Mapping[str, Sequence[Point]]
    summary: Mapping[str, Any]
    pictures: Mapping[str, Picture]
    url: str | None = None

    @property
    def steps(self) -> int:
        """Return the newest step that is known, in batches."""
        logged = [points[-1].step for points in self.curves.values()]
        return max([int(self.summary.get("steps", 0)), *logged])

    @property
    def outcome(self) -> str:
        """Return how the run ended; a run that was resumed has only the summary of before."""
        if not self.summary and any(name.startswith("test/") for name in self.curves):
            return TESTED
        if self.steps > int(self.summary.get("steps", -1)):
            return UNFINISHED
        return str(self.summary.get("outcome", UNFINISHED))

    @property
    def duration(self) -> float | None:
        """Return the training time in seconds; None while it is not known."""
        if self.outcome in (UNFINISHED, TESTED) or "duration_seconds" not in self.summary:
            return None
        return float(self.summary["duration_seconds"])

    def last(self, name: str) -> Point | None:
        """Return the newest value of a log name; None if there is none."""
        points = self.curves.get(name, ())
        return points[-1] if points else None

    def best(self, name: str) -> Point | None:
        """Return the highest finite value of a log name, the first of equal ones."""
        finite = [point for point in self.curves.get(name, ()) if math.isfinite(point.value)]
        return max(finite, key=lambda point: point.value, default=None)


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


def _natural(path: Path) -> list[tuple[int, str]]:
    """Return a key that sorts version_10 behind version_9."""
    return [(int(part or -1), word) for word, part in re.findall(r"(\D+)(\d*)", str(path))]


def read_run(folder: Path) -> RunRecord:
    """Read a run folder; what a run had no time to write is left out.

    Raises:
        ConfigurationError: If a file is damaged or of another program.
    """
    config = _read(folder / CONFIG_FILE, _parse_yaml)
    if not isinstance(config, dict) or not {"model", "trainer"} <= set(config):
        raise ConfigurationError(
            f"runs={folder} is no run folder: its {CONFIG_FILE} has no model and trainer"
        )
    facts = _read(folder / "hparams.yaml", _parse_yaml) or {}
    tracked = _read(folder / "wandb.json", json.loads) or {}
    return RunRecord(
        folder=folder,
        config={**config, **{key: facts[key] for key in FACTS if key in facts}},
        curves=_curves(folder / "metrics.csv"),
        summary=_read(folder / "summary.json", json.loads) or {},
        pictures=_pictures(folder),
        url=tracked.get("url"),
    )


class _PlainLoader(yaml.SafeLoader):
    """Read YAML with tags of Python objects, such as loggers write, without building any."""


_PlainLoader.add_multi_constructor("tag:yaml.org,2002:python/", lambda *_: None)


def _parse_yaml(text: str) -> Any:
    """Return the plain values of a YAML text."""
    return yaml.load(text, _PlainLoader)


def _read(path: Path, parse: Any) -> Any:
    """Return a file's parsed content; None if there is no file."""
    if not path.is_file():
        return None
    try:
        return parse(path.read_text())
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigurationError(
            f"runs: {path} cannot be read ({type(error).__name__}); leave that run out"
        ) from error


def _curves(path: Path) -> dict[str, list[Point]]:
    """Return the points of every log name in a metrics file; none if there is no file."""
    curves: dict[str, list[Point]] = {}
    try:
        for row in read_rows(path):
            step = int(row["step"])
            for name, cell in row.items():
                if name not in ("step", "epoch"):
                    curves.setdefault(name, []).append(Point(step, float(cell)))
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ConfigurationError(
            f"runs: {path} is no table of steps and numbers ({error}); leave that run out"
        ) from error
    return curves


def _pictures(folder: Path) -> dict[str, Picture]:
    """Return the newest grid of every code, then the pictures that are made once, at the end."""
    pictures = {}
    for path in sorted(folder.glob("traversals/step_*/*.png")):
        if path.stem != "overview":  # the same grids in one picture
            pictures[path.stem] = Picture(path, int(path.parent.name.removeprefix("step_")))
    for path in sorted(folder.glob("*.png")):
        if path.stem != "overview":
            pictures[path.stem] = Picture(path, None)
    return pictures
