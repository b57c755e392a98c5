"""Given settings rule on a resume, what differs is printed, and ranks start from one checkpoint."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, distributed

from datamodules import ImageFolderDataModule, MNISTDataModule
from infogan.callbacks.logged_config import say_if_other_split
from infogan.callbacks.resume import ResumedSettings, check_same_start
from infogan.errors import ConfigurationError
from infogan.runtime.checkpoints import read_checkpoint
from tests.cluster.job import prepare
from tests.conftest import TINY_TEST, Outcome
from tests.support.pictures import gray, save
from tests.support.stripes import stripe_data

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


# ---- which images were held out ------------------------------------------------------------------

STRIPES = (
    "--data=MNISTDataModule",
    "--data.data_dir=.",
    "--data.verify=false",
    "--data.batch_size=40",
    "--trainer.max_epochs=1",
)


@pytest.fixture
def stripe_run(command: Command) -> Path:
    """Return the config.yaml of a run on stripes, 33 of which are held out for validation."""
    prepare(Path())
    stripe_data(Path())
    outcome = command("fit", "--config=tiny.yaml", "--name=tiny", *STRIPES)
    assert outcome.code == 0, outcome.err
    return Path("runs/tiny/version_0/config.yaml")


def resumed_verbs(command: Command, *options: str) -> dict[str, list[str]]:
    """Return what the verbs that use a checkpoint warn of held-out images, by verb."""
    verbs = {
        "test": (*TINY_TEST, "--sample_quality.judge.held_out_share=0.1"),
        "validate": (),
        "predict": (),
        "fit": ("--config=tiny.yaml", *STRIPES, "--trainer.max_epochs=2"),
    }
    said = {}
    for verb, own in verbs.items():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            outcome = command(verb, "--name=tiny", "--ckpt_path=last", *own, *options)
        assert outcome.code == 0, (verb, outcome.err)
        messages = [str(warning.message) for warning in caught]
        said[verb] = [text for text in messages if "held out" in text]
    return said


def test_a_checkpoint_from_before_images_were_held_out(command: Command, stripe_run: Path) -> None:
    config = yaml.safe_load(stripe_run.read_text())
    del config["data"]["init_args"]["val_size"]
    stripe_run.write_text(yaml.safe_dump(config))
    said = resumed_verbs(command)
    assert said.pop("predict") == []
    for verb, texts in said.items():
        assert len(texts) == 1, verb
        assert "the checkpoint is older than val_size" in texts[0]


def test_a_checkpoint_whose_run_held_out_the_same(command: Command, stripe_run: Path) -> None:
    assert not any(resumed_verbs(command).values())


def test_a_checkpoint_whose_run_held_out_others(command: Command, stripe_run: Path) -> None:
    said = resumed_verbs(command, "--data.init_args.val_size=80")
    assert said.pop("predict") == []
    for verb, texts in said.items():
        assert len(texts) == 1, verb
        assert "now val_size=80 (was None)" in texts[0]


@pytest.mark.parametrize(
    "content", [None, "text", {}, {"data": None}, {"data": {"init_args": None}}]
)
def test_a_config_that_tells_no_data_is_no_ground_for_a_warning(content: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        say_if_other_split(content, MNISTDataModule())


def test_a_folder_from_before_the_test_share(tmp_path: Path) -> None:
    save(tmp_path / "a.png", gray(0))
    data = ImageFolderDataModule(str(tmp_path))
    before = {"data": {"init_args": {"val_share": 0.1, "split_seed": 0}}}
    with pytest.warns(UserWarning, match="older than test_share"):
        say_if_other_split(before, data)
