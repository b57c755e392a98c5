"""Metrics: pure functions and their torchmetrics classes."""
