"""Configs that older versions have saved beside their runs."""

from pathlib import Path

import yaml

# `last_checkpoint` took the options of Lightning's ModelCheckpoint, none of which it needs.
GONE = {
    *("dirpath", "monitor", "verbose", "save_last", "save_top_k", "save_weights_only", "mode"),
    *("auto_insert_metric_name", "every_n_train_steps", "train_time_interval", "every_n_epochs"),
    *("save_on_train_epoch_end", "enable_version_counter", "save_on_exception"),
}


def without_old_options(config: str) -> str:
    """Return a config file's path; its text without options that are gone, if it has any."""
    if "\n" in config:
        return config
    try:
        settings = yaml.safe_load(Path(config).read_text())
    except (yaml.YAMLError, OSError, UnicodeDecodeError):
        return config  # the parser says what is wrong
    last = settings.get("last_checkpoint") if isinstance(settings, dict) else None
    if not isinstance(last, dict) or not GONE & last.keys():
        return config
    kept = {name: value for name, value in last.items() if name not in GONE}
    return yaml.safe_dump({**settings, "last_checkpoint": kept})
