"""Studies: configs x seeds x overrides, run by ordinary `fit` and `test`, into one table."""
