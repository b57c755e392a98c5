"""Given settings rule on a resume, what differs is printed, and ranks start from one checkpoint."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, distributed

from infogan.callbacks.resume import ResumedSettings, check_same_start
from infogan.errors import ConfigurationError
from infogan.runtime.checkpoints import read_checkpoint
from tests.cluster.job import prepare
from tests.conftest import Outcome

Command = Callable[..., Outcome]
DECAY = "--model.init_args.learning_rate_decay_steps=5"
RATE = "--model.init_args.generator_optimizer={class_path: torch.optim.Adam, init_args: {lr: %g}}"


def rates(path: Path = Path("runs/tiny/version_0/checkpoints/last.ckpt")) -> list[float]:
    states = read_checkpoint(path)["optimizer_states"]
    return [state["param_groups"][0]["lr"] for state in states]


@pytest.fixture
def tiny(command: Command) -> Callable[..., Outcome]:
    """Return a function that trains the tiny config to an epoch."""
    prepare(Path())

    def fit(max_epochs: int, *options: str) -> Outcome:
        base = ("fit", "--config=tiny.yaml", "--name=tiny", f"--trainer.max_epochs={max_epochs}")
        outcome = command(*base, *options)
        assert outcome.code == 0, outcome.err
        return outcome

    return fit


def test_a_given_learning_rate_rules(
    tiny: Callable[..., Outcome], caplog: pytest.LogCaptureFixture
) -> None:
    tiny(1, RATE % 1e-3)
    assert rates()[1] == 1e-3
    caplog.clear()
    tiny(2, RATE % 1e-5, "--ckpt_path=last")
    assert rates()[1] == 1e-5
    said = [record.getMessage() for record in caplog.records if "resumed with" in record.message]
    assert (
        "resumed with other settings than before: generator_optimizer.lr=1e-05 (was 0.001)" in said
    )
    (of_config,) = [text for text in said if "another config" in text]
    assert "generator_optimizer.init_args.lr=1e-05 (was 0.001)" in of_config
    assert "trainer.max_epochs=2 (was 1)" in of_config


def test_a_run_whose_rates_have_fallen_starts_from_the_given_ones(
    tiny: Callable[..., Outcome], caplog: pytest.LogCaptureFixture
) -> None:
    tiny(1, RATE % 1e-3, DECAY)
    assert rates()[1] == pytest.approx(1e-3 / 5)
    caplog.clear()
    tiny(2, RATE % 1e-3, "--ckpt_path=last")
    assert rates()[1] == 1e-3
    assert not any("generator_optimizer.lr" in record.getMessage() for record in caplog.records)


class TwoRanks:
    """A trainer of two ranks, of which the other is at a step and an epoch of its own."""

    world_size = 2

    class strategy:  # noqa: N801
        root_device = torch.device("cpu")

    def __init__(self, step: int, epoch: int) -> None:
        self.global_step, self.current_epoch = step, epoch


@pytest.mark.parametrize(
    ("other", "is_refused"), [((20, 2), False), ((10, 2), True), ((20, 1), True), ((30, 3), True)]
)
def test_ranks_that_resume_from_different_checkpoints_are_refused(
    monkeypatch: pytest.MonkeyPatch, other: tuple[int, int], is_refused: bool
) -> None:
    def with_the_other(values: Tensor, op: Any) -> None:
        assert op == distributed.ReduceOp.MAX
        values.copy_(values.maximum(torch.tensor([*other, *(-n for n in other)])))

    monkeypatch.setattr(distributed, "all_reduce", with_the_other)
    trainer: Any = TwoRanks(20, 2)
    if is_refused:
        with pytest.raises(ConfigurationError, match="the ranks resume from different checkpoints"):
            check_same_start(trainer)
    else:
        check_same_start(trainer)


def test_rates_on_a_card_are_set_in_place() -> None:
    """A captured graph reads a tensor."""
    parameter = torch.nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.Adam([parameter], lr=torch.tensor(0.5), betas=(0.5, 0.9))

    class One:
        optimizers = [optimizer]

    callback, trainer = ResumedSettings(), One()
    callback.on_fit_start(trainer, None)  # type: ignore[arg-type]
    rate = optimizer.param_groups[0]["lr"]
    rate.fill_(0.25)
    optimizer.param_groups[0]["betas"] = [0.5, 0.9]
    assert list(callback.restore(trainer)) == ["optimizer 0.lr=0.5 (was 0.25)"]  # type: ignore[arg-type]
    assert optimizer.param_groups[0]["lr"] is rate and rate == 0.5


def test_configs_that_older_versions_saved_are_read(command: Command) -> None:
    """There `last_checkpoint` had the options of Lightning's own callback."""
    prepare(Path())
    config = yaml.safe_load(Path("tiny.yaml").read_text())
    config["last_checkpoint"] = {"every_n_minutes": 3.0, "dirpath": None, "save_last": None}
    Path("old.yaml").write_text(yaml.safe_dump(config))
    outcome = command("fit", "--config=old.yaml", "--print_config")
    assert outcome.code == 0, outcome.err
    assert yaml.safe_load(outcome.out)["last_checkpoint"]["every_n_minutes"] == 3.0
