"""Errors whose message alone tells a user what to change."""


class ConfigurationError(ValueError):
    """Raised for input that a run cannot start or go on with; shown as one line."""
