"""A loss or gradient that is not finite ends the run before it reaches the weights."""

import csv
from pathlib import Path

import pytest
import torch
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger, WandbLogger
from pytorch_lightning.plugins.precision import MixedPrecision
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from infogan.callbacks.nan_stopping import NonFiniteStopping, describe
from infogan.callbacks.stopping import RunStoppedError
from tests.support.small_gan import (
    BAD_STEP,
    BATCH_SIZE,
    INFINITY,
    NAN,
    Poisoned,
    bars,
    fit,
    meet_nan_on_second_rank,
    run_on_two_ranks,
    saver,
)


def assert_good_checkpoint(path: Path, step: int) -> None:
    """Check that a checkpoint is of this step, finite, and goes on training."""
    checkpoint = torch.load(path, weights_only=True)
    assert checkpoint["global_step"] == step
    assert all(value.isfinite().all() for value in checkpoint["state_dict"].values())
    module = Poisoned()
    fit(module, steps=6, ckpt_path=path)
    assert module.global_step == 6
    assert all(value.isfinite().all() for value in module.state_dict().values())


@pytest.mark.parametrize(
    ("network", "poison", "found"),
    [
        ("discriminator", NAN, "NaN in the loss, in the update of discriminator, recognition_head"),
        ("generator", -INFINITY, "infinity in the loss, in the update of generator"),
    ],
)
def test_a_bad_loss_stops_before_the_update(network: str, poison: float, found: str) -> None:
    module, stopping = Poisoned(network, poison), NonFiniteStopping()
    with pytest.raises(RunStoppedError) as stopped:
        fit(module, stopping)
    module.assert_untouched()
    reason = f"{found}; last checkpoint: none was saved"
    assert (stopping.outcome, stopping.reason) == ("non_finite", reason)
    assert (stopped.value.outcome, stopped.value.reason) == ("non_finite", reason)
    assert stopped.value.step == module.global_step == BAD_STEP
    assert str(stopped.value) == f"run stopped at step 3 (non_finite): {reason}"


def test_the_losses_that_the_module_records_are_named() -> None:
    module, images = Poisoned(), bars()
    images[BAD_STEP * BATCH_SIZE, 0, 0, 0] = NAN
    with pytest.raises(RunStoppedError, match="NaN in discriminator_loss, d_real, jsd, in the up"):
        fit(module, NonFiniteStopping(), images=images)
    assert module.global_step == BAD_STEP
    assert all(value.isfinite().all() for value in module.parameters())


@pytest.mark.parametrize("clip_norm", [None, 1.0])
@pytest.mark.parametrize("poison", [NAN, INFINITY])
@pytest.mark.parametrize("name", ["discriminator.trunk.layers.1.weight", "generator.0.weight"])
def test_a_bad_gradient_is_named(name: str, poison: float, clip_norm: float | None) -> None:
    module = Poisoned(gradient_clip_norm=clip_norm)
    module.poison_gradient(name, poison)
    kind = "NaN" if poison != poison else "infinity"
    with pytest.raises(RunStoppedError, match=f": {kind} in the gradient of {name}, in the update"):
        fit(module, NonFiniteStopping())
    assert module.global_step == BAD_STEP
    assert all(value.isfinite().all() for value in module.parameters())


def test_large_finite_gradients_do_not_stop() -> None:
    module = Poisoned()
    # Its square, and so the total norm, is infinite in float32.
    module.poison_gradient("generator.0.weight", 1e30)
    assert fit(module, NonFiniteStopping()).global_step == 8


def test_many_names_are_cut_short() -> None:
    tensors = {str(i): torch.tensor([1.0, NAN if i else INFINITY]) for i in range(8)}
    assert describe(tensors) == "NaN in 1, 2, 3, 4, 5 and 2 more and infinity in 0"
    assert describe({"a": torch.tensor(1.0)}) == ""


class TestGradientScaler:
    """Under a gradient scaler, infinite gradients are its own affair, infinite losses are not."""

    def fit(self, module: Poisoned, scale: float) -> torch.amp.GradScaler:
        scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        fit(
            module,
            NonFiniteStopping(),
            steps=5,
            plugins=[MixedPrecision("16-mixed", "cpu", scaler)],
        )
        return scaler

    def test_an_infinite_gradient_is_skipped(self) -> None:
        module = Poisoned()
        module.poison_gradient("generator.0.weight", INFINITY)
        assert self.fit(module, scale=1024.0).get_scale() == 512.0
        assert all(value.isfinite().all() for value in module.parameters())

    def test_an_infinite_gradient_stops_once_scaling_cannot_be_its_cause(self) -> None:
        module = Poisoned()
        module.poison_gradient("generator.0.weight", INFINITY)
        with pytest.raises(RunStoppedError, match="infinity in the gradient of generator.0"):
            self.fit(module, scale=0.5)

    def test_a_bad_loss_stops(self) -> None:
        module = Poisoned("generator")
        with pytest.raises(RunStoppedError, match="NaN in the loss"):
            self.fit(module, scale=1024.0)
        module.assert_untouched()


def test_the_kept_checkpoint_is_the_last_good_one(tmp_path: Path) -> None:
    stopping = NonFiniteStopping()
    with pytest.raises(RunStoppedError):
        fit(Poisoned("generator"), stopping, saver(tmp_path))
    assert stopping.reason is not None
    assert stopping.reason.endswith(f"last checkpoint: {tmp_path / 'last.ckpt'}")
    newest = max(tmp_path.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    assert newest.name == "last.ckpt"
    assert_good_checkpoint(newest, step=2)


def test_every_logger_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_SILENT", "true")
    csv_logger, board = CSVLogger(tmp_path), TensorBoardLogger(tmp_path, name="board")
    wandb_logger = WandbLogger(save_dir=tmp_path, offline=True)
    stopping = NonFiniteStopping()
    try:
        with pytest.raises(RunStoppedError):
            fit(Poisoned("generator"), stopping, logger=[csv_logger, board, wandb_logger])
        summary = dict(wandb_logger.experiment.summary)
    finally:
        wandb_logger.experiment.finish()
    with Path(csv_logger.log_dir, "metrics.csv").open() as file:
        (row,) = [row for row in csv.DictReader(file) if row["stop/non_finite"]]
    assert (row["step"], float(row["stop/non_finite"])) == ("3", 1.0)
    assert (summary["outcome"], summary["reason"]) == ("non_finite", stopping.reason)
    assert (summary["stop/non_finite"], summary["trainer/global_step"]) == (1.0, 3)
    events = EventAccumulator(board.log_dir).Reload()
    (text,) = events.Tensors("reason/text_summary")
    assert text.tensor_proto.string_val == [str(stopping.reason).encode()]
    (scalar,) = events.Scalars("stop/non_finite")
    assert (scalar.step, scalar.value) == (3, 1.0)


def test_a_debugging_run_stops_too() -> None:
    module, images = Poisoned(), bars()
    images[0] = NAN
    with pytest.raises(RunStoppedError):
        fit(module, NonFiniteStopping(), images=images, fast_dev_run=True, logger=True)


# ---- two processes -----------------------------------------------------------------------------


@pytest.mark.integration
def test_two_ranks_stop_in_the_same_batch(tmp_path: Path) -> None:
    first, second = run_on_two_ranks(meet_nan_on_second_rank, tmp_path)
    assert first == second
    assert first[0] == 3
    assert first[1] == (
        "run stopped at step 3 (non_finite): NaN in the loss on rank 1, in the update of generator;"
        f" last checkpoint: {tmp_path / 'last.ckpt'}"
    )
    assert_good_checkpoint(tmp_path / "last.ckpt", step=2)
