"""Values of a whole run, for whichever logger has a table of runs."""

from collections.abc import Mapping, Sequence
from typing import Any

from pytorch_lightning.loggers import Logger


def log_summary(loggers: Sequence[Logger], values: Mapping[str, Any]) -> None:
    """Show values in the table of runs of every logger that has one.

    Args:
        loggers: The trainer's loggers; those without a table, such as CSV, are passed over.
        values: By name.
    """
    for logger in loggers:
        if hasattr(logger, "log_summary"):
            logger.log_summary(values)
            continue
        summary: Any = getattr(getattr(logger, "experiment", None), "summary", None)
        if hasattr(summary, "update"):  # Lightning's own for W&B
            summary.update(dict(values))
