"""The settings in which runs differ, in as few and as short lines as tell them apart."""

from collections.abc import Sequence
from typing import Any

ABSENT = "-"
# Of an object that is not in all configs; those of one that is are compared one by one.
MOST_ARGUMENTS = 4
# Where a run writes and what it shows does not change what it is.
PRESENTATION = {
    "name",
    "group",
    "save_dir",
    "ckpt_path",
    "weights_only",
    "wandb",
    "progress_bar",
    "trainer.logger",
    "trainer.default_root_dir",
    "trainer.enable_progress_bar",
    "trainer.enable_model_summary",
}


class _Absent:
    """A setting that a config does not have."""


Setting = dict[str, Any] | list[Any] | str | float | bool | None | type[_Absent]


def differing_settings(configs: Sequence[Any]) -> dict[str, list[str]]:
    """Return the settings whose values are not the same in all configs, as text, by their name.

    Args:
        configs: Configs as nested dictionaries. `class_path` and `init_args` are left out of the
            names: `model.mi_weight` is `model.init_args.mi_weight`.
    """
    return _differences("", list(configs))


def _differences(name: str, values: list[Setting]) -> dict[str, list[str]]:
    """Return the differences at and below one setting."""
    if name in PRESENTATION or all(value == values[0] for value in values):
        return {}
    dicts = [value for value in values if isinstance(value, dict)]
    lists = [value for value in values if isinstance(value, list)]
    if len(dicts) == len(values):
        return _differences_of_dicts(name, dicts)
    if len(lists) == len(values) and len({len(value) for value in lists}) == 1:
        return {
            key: texts
            for index, items in enumerate(zip(*lists, strict=True))
            for key, texts in _differences(f"{name}.{index}", list(items)).items()
        }
    return {name: [as_text(value) for value in values]}


def _differences_of_dicts(name: str, values: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Return the differences below a group of settings, or of an object and its arguments."""
    if any("class_path" in value for value in values):
        return _differences_of_objects(name, values)
    keys = dict.fromkeys(key for value in values for key in value)
    prefix = f"{name}." if name else ""
    return {
        full: texts
        for key in keys
        for full, texts in _differences(
            f"{prefix}{key}", [value.get(key, _Absent) for value in values]
        ).items()
    }


def _differences_of_objects(name: str, values: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Return the class with what only some objects take, then the arguments that all take."""
    arguments = [value.get("init_args") or {} for value in values]
    shared = set(arguments[0]).intersection(*arguments[1:])
    own = [
        {
            "class_path": value.get("class_path", ABSENT),
            "init_args": {k: v for k, v in given.items() if k not in shared},
        }
        for value, given in zip(values, arguments, strict=True)
    ]
    alike = all(value == own[0] for value in own)
    differences = {} if alike else {name: [as_text(value) for value in own]}
    for key in (key for key in arguments[0] if key in shared):
        differences |= _differences(f"{name}.{key}", [given[key] for given in arguments])
    return differences


def as_text(value: Setting) -> str:
    """Write a setting in short: an object as `Adam (lr=0.0002)`, with its first arguments."""
    if value is _Absent:
        return ABSENT
    if isinstance(value, dict) and "class_path" in value:
        arguments = as_text(value.get("init_args") or {})
        return value["class_path"].rpartition(".")[2] + (f" ({arguments})" if arguments else "")
    if isinstance(value, dict):
        given = [f"{key}={as_text(v)}" for key, v in value.items() if v is not None]
        return ", ".join([*given[:MOST_ARGUMENTS], *["..."] * (len(given) > MOST_ARGUMENTS)])
    if isinstance(value, list):
        return f"[{', '.join(map(as_text, value))}]"
    if isinstance(value, bool) or value is None:
        return str(value).lower().replace("none", "null")
    return str(value)
