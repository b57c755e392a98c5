"""The progress bar shows the time left of the whole run."""

import math
import time
from types import SimpleNamespace
from typing import Any

import pytest

from infogan.callbacks.progress import LossProgressBar


def bar_at(step: int, num_batches: float, is_training: bool = True) -> tuple[LossProgressBar, Any]:
    """Return a bar that began at batch 100, 60 s ago, and its trainer."""
    bar = LossProgressBar()
    bar.started, bar.first_step = time.perf_counter() - 60.0, 100
    trainer = SimpleNamespace(
        global_step=step,
        training=is_training,
        estimated_stepping_batches=num_batches,
        callback_metrics={},
    )
    return bar, trainer


@pytest.mark.parametrize(
    ("step", "num_batches", "left"),
    # 60 s for 100 batches, resumed at 100: 0.6 s a batch.
    [(200, 5000, "0:48:00"), (200, 12200, "2:00:00"), (200, 200, "0:00:00")],
)
def test_the_time_left_is_that_of_the_run(step: int, num_batches: int, left: str) -> None:
    bar, trainer = bar_at(step, num_batches)
    assert bar.time_left(trainer) == left
    assert bar.get_metrics(trainer, None) == {"left": left}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("step", "num_batches", "is_training"),
    [(100, 5000, True), (200, math.inf, True), (200, 5000, False)],
    ids=["before the first batch", "without an end", "in a validation"],
)
def test_there_is_none(step: int, num_batches: float, is_training: bool) -> None:
    bar, trainer = bar_at(step, num_batches, is_training)
    assert bar.time_left(trainer) is None
