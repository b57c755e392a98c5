"""The error that data which is missing, damaged or of the wrong form raises."""


class DataError(ValueError):
    """Say in one line what is wrong with the data and what to do about it."""
