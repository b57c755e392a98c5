"""What a study file says: which members there are, and which commands make them."""

import hashlib
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from infogan.errors import ConfigurationError, one_line
from infogan.files import find_shipped

STUDY_KEYS = ("seeds", "overrides", "variants", "members")
SETTING_KEYS = ("config", "name", "seeds", "overrides", "variants", "pictures")
# The runner decides these for every member.
RESERVED = ("config", "seed_everything", "name", "save_dir", "ckpt_path")
# What the model chooses by itself: said in a config or not, it is the same run.
DEFAULT_OPTIMIZERS = {
    f"{network}_optimizer": {
        "class_path": "Adam",
        "init_args": {"lr": rate, "betas": [0.5, 0.999], "fused": True},
    }
    for network, rate in (("discriminator", 2e-4), ("generator", 1e-3))
}
# What a run in a study leaves out, unless an override asks for it.
DEFAULT_OVERRIDES = {"wandb": "disabled", "trainer.enable_progress_bar": False}


@dataclass(frozen=True)
class Member:
    """One run of a study.

    Args:
        setting: Name of what all seeds of it share.
        seed: Seed of the run.
        configs: Config files, which merge from left to right.
        overrides: Option by its name on the command line, such as `model.init_args.mi_weight`.
        labels: Chosen variant by its axis, a column each of the table.
        pictures: Names of the traversals to keep with the table.
    """

    setting: str
    seed: int
    configs: tuple[str, ...]
    overrides: tuple[tuple[str, Any], ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    pictures: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The member's name, which is also that of its run folder."""
        return f"{self.setting}_seed{self.seed}"

    def config_hash(self) -> str:
        """Return 12 hex digits of the configs' contents and overrides: equal for all seeds."""
        contents = []
        for config in self.configs:
            content = load_yaml(find_shipped(config, "configs", "config"))
            # They name the run, and a seed is given apart.
            contents.append({k: v for k, v in content.items() if k not in RESERVED})
        text = json.dumps(canonical([contents, self.overrides]), sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def fit_arguments(self, save_dir: Path) -> list[str]:
        """Return the arguments of `cli.py` that train this member from the start."""
        configs = [part for config in self.configs for part in ("--config", config)]
        overrides = {**DEFAULT_OVERRIDES, **dict(self.overrides)}
        options = [p for key, value in overrides.items() for p in (f"--{key}", as_argument(value))]
        place = ["--name", self.name, "--save_dir", str(save_dir)]
        return ["fit", *configs, *options, "--seed_everything", str(self.seed), *place]


@dataclass(frozen=True)
class Study:
    """A study: its name and its members, in the order of the table."""

    name: str
    path: Path
    members: tuple[Member, ...]

    def by_seed(self) -> list[Member]:
        """Return the members in the order to run them: a first seed of everything comes first."""
        ranks: dict[str, int] = {}
        order = []
        for index, member in enumerate(self.members):
            ranks[member.setting] = ranks.get(member.setting, -1) + 1
            order.append((ranks[member.setting], index))
        return [self.members[index] for _, index in sorted(order)]


def canonical(value: Any) -> Any:
    """Return a config's content without what changes no run.

    A class is known by its name, wherever it stands, and an optimizer that a model has by default
    need not be named.
    """
    if isinstance(value, list | tuple):
        return [canonical(item) for item in value]
    if not isinstance(value, dict):
        return value
    content = {key: canonical(item) for key, item in value.items()}
    if isinstance(content.get("class_path"), str):
        content["class_path"] = content["class_path"].rpartition(".")[2]
    return {
        k: v
        for k, v in content.items()
        if k not in DEFAULT_OPTIMIZERS or v != DEFAULT_OPTIMIZERS[k]
    }


def as_argument(value: Any) -> str:
    """Return a value of a study file as it is typed on the command line."""
    return value if isinstance(value, str) else json.dumps(value)


def load_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping that a YAML file holds.

    Raises:
        ConfigurationError: If it holds something else.
    """
    try:
        content = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not YAML: {one_line(error)}") from error
    if not isinstance(content, dict):
        raise ConfigurationError(f"{path} must hold `key: value` lines, not {content!r}")
    return content


def load_study(name: str) -> Study:
    """Read a study file, given by its path or by its name in `studies/`.

    Raises:
        ConfigurationError: If it is missing or wrong.
    """
    path = find_shipped(name, "studies", "study")
    content = load_yaml(path)
    check_keys(content, STUDY_KEYS, f"{path}")
    settings = content.get("members")
    if not isinstance(settings, list) or not settings:
        raise ConfigurationError(f"{path}: members must be a list of configs, got {settings!r}")
    members = tuple(
        member
        for index, setting in enumerate(settings)
        for member in expand(setting, content, f"{path}: members[{index}]")
    )
    seen: set[str] = set()
    for member in members:
        if member.name in seen:
            raise ConfigurationError(
                f"{path}: {member.name} is there twice; give one of them another name or seed"
            )
        seen.add(member.name)
        member.config_hash()  # its configs exist and can be read
    return Study(path.stem, path, members)


def expand(setting: Any, study: Mapping[str, Any], where: str) -> Iterator[Member]:
    """Yield the members of one entry: every combination of variants, and every seed of it.

    Raises:
        ConfigurationError: If the entry is wrong.
    """
    entry = {"config": setting} if isinstance(setting, str) else setting
    if not isinstance(entry, dict):
        raise ConfigurationError(f"{where} must be a config's name or a mapping, got {setting!r}")
    check_keys(entry, SETTING_KEYS, where)
    configs = as_list(entry.get("config"), str, f"{where}.config")
    seeds = as_list(entry.get("seeds", study.get("seeds")), int, f"{where}.seeds")
    pictures = as_list(entry.get("pictures", []), str, f"{where}.pictures")
    base = entry.get("name", Path(configs[-1]).stem) if configs else ""
    if not configs or not seeds:
        raise ConfigurationError(f"{where}: config and seeds must each name at least one")
    if not re.fullmatch(r"[\w.-]+", str(base)):
        raise ConfigurationError(f"{where}: name={base!r} must be of letters, digits, _, - and .")
    axes = checked_axes(entry.get("variants", study.get("variants", {})), where)
    shared = checked_overrides(study.get("overrides", {}), where)
    own = checked_overrides(entry.get("overrides", {}), where)
    for labels in itertools.product(*axes.values()):
        chosen = dict(zip(axes, labels, strict=True))
        overrides = dict(shared)
        for axis, label in chosen.items():
            overrides |= axes[axis][label]
        overrides |= own
        for index, seed in enumerate(seeds):
            yield Member(
                setting="-".join([str(base), *labels]),
                seed=seed,
                configs=tuple(configs),
                overrides=tuple(overrides.items()),
                labels=tuple(chosen.items()),
                pictures=tuple(pictures) if index == 0 else (),
            )


def checked_axes(axes: Any, where: str) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the axes of variants: overrides by label by axis.

    Raises:
        ConfigurationError: If they are not of that form.
    """
    if not isinstance(axes, dict) or not all(isinstance(a, dict) and a for a in axes.values()):
        raise ConfigurationError(
            f"{where}: variants must be `axis: {{label: overrides}}`, got {axes!r}"
        )
    for axis, variants in axes.items():
        for label in variants:
            if not re.fullmatch(r"[A-Za-z]\w*", str(axis)) or not re.fullmatch(
                r"[\w.]+", str(label)
            ):
                raise ConfigurationError(
                    f"{where}: variant {axis}: {label} must be named by letters, digits and _"
                )
    return {
        str(axis): {
            str(label): checked_overrides(overrides, f"{where}, {axis}={label}")
            for label, overrides in variants.items()
        }
        for axis, variants in axes.items()
    }


def checked_overrides(overrides: Any, where: str) -> dict[str, Any]:
    """Return overrides by option.

    Raises:
        ConfigurationError: If one is not an option's name, or decided by the runner.
    """
    if not isinstance(overrides, dict):
        raise ConfigurationError(
            f"{where}: overrides must be `option: value`, with the option as on the command line, "
            f"such as model.init_args.mi_weight; got {overrides!r}"
        )
    for key in overrides:
        if not isinstance(key, str) or key in RESERVED:
            raise ConfigurationError(
                f"{where}: {key} cannot be overridden; the study sets {', '.join(RESERVED)} itself"
            )
    return dict(overrides)


def check_keys(content: Mapping[Any, Any], known: tuple[str, ...], where: str) -> None:
    """Refuse a key that nothing reads.

    Raises:
        ConfigurationError: For the first such key.
    """
    for key in content:
        if key not in known:
            raise ConfigurationError(f"{where}: unknown key {key}; there are {', '.join(known)}")


def as_list(value: Any, kind: type, where: str) -> list[Any]:
    """Return one value or several as a list.

    Raises:
        ConfigurationError: If one is of another kind.
    """
    values = value if isinstance(value, list) else [value]
    for item in values:
        if not isinstance(item, kind) or isinstance(item, bool):
            raise ConfigurationError(f"{where}: {item!r} must be {kind.__name__}")
    return values
