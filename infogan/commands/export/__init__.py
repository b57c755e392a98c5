"""Take a trained model away: files that other tools load."""

from infogan.commands.export.command import export

__all__ = ["export"]
