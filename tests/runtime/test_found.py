"""What a run leaves of the process that it ran in: two runs in a notebook, or in a sweep."""

import logging
import os
import random
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from pytorch_lightning.callbacks import TQDMProgressBar
from pytorch_lightning.strategies import StrategyRegistry

from infogan.commands.main import main
from infogan.commands.parser import with_home
from tests.conftest import TINY, Outcome

FIT = ("fit", "--config", "infogan_mnist.yaml", *TINY)


def globals_of_the_process() -> dict[str, Any]:
    log = logging.getLogger("pytorch_lightning.utilities.rank_zero")
    return {
        "environment": {k: v for k, v in os.environ.items() if k != "WANDB_SERVICE"},
        "path": list(sys.path),
        "warnings": list(warnings.filters),
        "handlers": [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)],
        "filters": list(log.filters),
        "strategies": dict(StrategyRegistry),
        "torch": torch.get_rng_state().tolist(),
        "numpy": np.random.get_state()[1].tolist(),  # type: ignore[index]
        "python": random.getstate(),
        "argv": list(sys.argv),
    }


@pytest.mark.parametrize("arguments", [FIT, ("fit", "--config=infogan_mnist.yaml", "--nonsense=1")])
@pytest.mark.integration
def test_a_run_leaves_the_process_as_it_found_it(
    arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = globals_of_the_process()
    assert main(list(arguments)) == (0 if arguments is FIT else 2)
    after = globals_of_the_process()
    for name, value in before.items():
        assert after[name] == value, name


def test_home_is_expanded_on_the_command_line_and_in_yaml(
    command: Callable[..., Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", os.environ.get("XDG_CACHE_HOME", str(Path.home())))
    Path("mine.yaml").write_text("save_dir: ~/from_yaml\n")
    outcome = command(*FIT[:3], "--config=mine.yaml", *FIT[3:])
    assert outcome.code == 0, outcome.err
    run = tmp_path / "home/from_yaml/infogan_mnist/version_0"
    assert (run / "checkpoints/last.ckpt").is_file() and (run / "metrics.csv").is_file()
    printed = command(*FIT, "--save_dir=~/from_option", "--print_config")
    assert yaml.safe_load(printed.out)["save_dir"] == str(tmp_path / "home/from_option")
    assert not Path("~").exists()


def test_home_is_expanded_at_any_depth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    given = {"a": {"b": ["~/x", Path("~/y"), 1]}, "c": "a~/b", "d": None}
    assert with_home(given) == {
        "a": {"b": ["/home/me/x", Path("/home/me/y"), 1]},
        "c": "a~/b",
        "d": None,
    }


class AnotherBar(TQDMProgressBar):
    """A progress bar of the config's own."""


def test_the_configs_own_progress_bar_stands_in_for_ours(command: Callable[..., Outcome]) -> None:
    bar = "--trainer.callbacks+=tests.runtime.test_found.AnotherBar"
    shown = [option for option in FIT if "progress_bar" not in option]
    outcome = command(*shown, bar)
    assert outcome.code == 0, outcome.err
