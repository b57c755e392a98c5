"""The benchmarks' own machinery, at sizes that take seconds."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests import ROOT

BENCHMARKS = ROOT / "benchmarks"


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let `benchmarks/` be imported from, as it is when one of its files runs."""
    known = set(sys.modules)
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield
    for name in set(sys.modules) - known:
        if (BENCHMARKS / f"{name}.py").is_file():
            del sys.modules[name]


@pytest.mark.integration
def test_processes_work_when_it_is_their_turn(tmp_path: Path) -> None:
    from turns import Process

    small = ("2", "bf16-mixed", "4", "1", "8")
    processes = [Process(kind, (kind, *small), 1, tmp_path / kind) for kind in ("bare", "plain")]
    try:
        for _ in range(2):
            for process in processes:
                assert 0 < process.turn() < 60
        for process in processes:
            assert process.seconds_to_first_update > 0 and process.peak_megabytes > 100
    finally:
        for process in processes:
            process.end()


@pytest.mark.integration
def test_a_process_that_fails_says_why(tmp_path: Path) -> None:
    from turns import Process

    with pytest.raises(SystemExit, match=r"odd failed:(.|\n)*image_size must be a positive mult"):
        Process("odd", ("bare", "2", "32-true", "4", "1", "7"), 1, tmp_path / "odd")


def test_ratios_are_of_the_same_round() -> None:
    from tables import Measurement, in_words

    results = {
        "limit": Measurement([100.0, 10.0, 100.0]),
        "fit": Measurement([50.0, 5.0, 25.0], 1000.4, 8.04),
    }
    *_, limit, fit = in_words(results, {"limit"})
    assert limit == "| limit | 100 (55 to 100) |  |  | 0 |  |"
    assert fit == "| fit | 25 (15 to 38) | limit | 0.500 (0.375 to 0.500) | 1,000 | 8.0 |"


def test_shares_of_an_epoch() -> None:
    from around import by_part

    hooks = {
        "run_training_epoch": 50.0,
        "[Callback]LatentTraversal.on_validation_end": 2.0,
        "[Callback]LatentTraversal.on_train_epoch_end": 0.5,
        "[Callback]LatentTraversal.setup": 9.0,
        "[Strategy]SingleDeviceStrategy.validation_step": 1.0,
    }
    assert by_part(hooks) == {"LatentTraversal": 0.05, "validation steps": 0.02}


def test_agreement_is_by_measure() -> None:
    from agreement import agreement

    from infogan.metrics.morphometrics import MEASURES

    published = np.random.default_rng(0).normal(size=(50, len(MEASURES)))
    measured = published.copy()
    measured[:, MEASURES.index("slant")] *= -1
    measured[:, MEASURES.index("width")] += 0.25
    rows = {row["measure"]: row for row in agreement(measured, published)}
    assert list(rows) == list(MEASURES) and rows["area"]["images"] == "50"
    assert (rows["area"]["correlation"], rows["area"]["median_error"]) == ("1", "0")
    assert rows["slant"]["correlation"] == "-1"
    assert (rows["width"]["correlation"], rows["width"]["median_error"]) == ("1", "0.25")
