"""The error that data which is missing, damaged or of the wrong form raises; options checked."""


class DataError(ValueError):
    """Say in one line what is wrong with the data and what to do about it."""


def check_at_least(least: int, **arguments: int) -> None:
    """Raise DataError for the first argument that is below a number."""
    for name, value in arguments.items():
        if value < least:
            raise DataError(f"{name}={value} must be at least {least}; choose a larger number")
