"""The explorer: a local web page on which a person plays with a trained model's codes."""

from infogan.commands.explore.command import explore

__all__ = ["explore"]
