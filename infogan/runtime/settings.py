"""What a trainer's settings leave open, and what they must not say."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from pytorch_lightning.strategies import StrategyRegistry
from pytorch_lightning.utilities.seed import isolate_rng

from infogan.errors import ConfigurationError
from infogan.runtime.launching import given_topology, with_own_plugins
from infogan.runtime.strategies import check_strategy, register_strategies


def complete_settings(config: dict[str, Any]) -> None:
    """Check a trainer's settings, and choose what the machine and the launcher decide.

    Args:
        config: The trainer's arguments by name, changed in place.

    Raises:
        ConfigurationError: If no run can have these settings.
    """
    check_strategy(config["strategy"])
    check_precision(config["precision"])
    check_intervals(config)
    num_visible = 0 if config["accelerator"] == "cpu" else torch.cuda.device_count()
    config.update(given_topology(num_visible))
    config["plugins"] = with_own_plugins(config["plugins"])


def check_precision(precision: object) -> None:
    """Refuse to hold the weights themselves in half precision.

    Raises:
        ConfigurationError: If the precision does.
    """
    if precision in ("bf16-true", "16-true", "transformer-engine", "transformer-engine-float16"):
        mixed = "16-mixed" if "16" in str(precision) and "bf16" not in str(precision) else None
        raise ConfigurationError(
            f"trainer.precision={precision} is refused: batch normalisation and Adam need weights "
            f"in float32; use {mixed or 'bf16-mixed'}"
        )


def check_intervals(config: dict[str, Any]) -> None:
    """Refuse validation every 0 batches or epochs.

    Raises:
        ConfigurationError: If an interval is a whole number below 1.
    """
    for name in ("val_check_interval", "check_val_every_n_epoch"):
        value = config.get(name)
        if isinstance(value, int) and value < 1:
            raise ConfigurationError(
                f"trainer.{name}={value} must be at least 1; to leave validation out, set "
                "trainer.limit_val_batches to 0"
            )


@contextmanager
def validation_interval_as_error() -> Iterator[None]:
    """Turn what Lightning says of an interval longer than an epoch into a configuration error.

    Raises:
        ConfigurationError: If `val_check_interval` is above the number of batches.
    """
    try:
        yield
    except ValueError as error:
        if str(error).strip().startswith("`val_check_interval`"):
            raise ConfigurationError(f"trainer.val_check_interval: {str(error).strip()}") from error
        raise


@contextmanager
def own_settings() -> Iterator[None]:
    """Set strategies and log messages for a run; give them and all seeds back as they were."""
    names = ("utilities.rank_zero", "trainer.connectors.checkpoint_connector")
    logs = [logging.getLogger(f"pytorch_lightning.{name}") for name in names]
    strategies = dict(StrategyRegistry)
    for log in logs:
        log.addFilter(is_for_users)
    register_strategies()
    try:
        # Without CUDA's, which would start it: a forked process could not use it any more.
        with isolate_rng(include_cuda=False):
            yield
    finally:
        for log in logs:
            log.removeFilter(is_for_users)
        StrategyRegistry.clear()
        StrategyRegistry.update(strategies)


def is_for_users(record: logging.LogRecord) -> bool:
    """Return whether a line of Lightning's says something that a user can act on."""
    return not re.search("litlogger|TPU available|`weights_only` was not set", record.getMessage())
