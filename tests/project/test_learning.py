"""Real training, small: the codes come to be readable."""

import csv
import statistics
from collections.abc import Callable
from pathlib import Path

from tests.conftest import Outcome

SMALL = (
    "--trainer.max_epochs=2",
    "--trainer.limit_train_batches=20",
    "--trainer.log_every_n_steps=1",
    "--trainer.enable_progress_bar=false",
    "--trainer.limit_val_batches=2",
    "--data.init_args.batch_size=32",
    "--traversal.every_n_epochs=0",
    "--wandb=disabled",
)


def curve(name: str, column: str) -> list[float]:
    with Path(f"runs/{name}/version_0/metrics.csv").open(newline="") as file:
        return [float(row[column]) for row in csv.DictReader(file) if row[column]]


def test_mutual_information_rises_on_mnist(command: Callable[..., Outcome]) -> None:
    assert command("fit", "--config", "infogan_mnist_paper.yaml", *SMALL).code == 0
    information = curve("infogan_mnist_paper", "train/mi_categorical")
    assert len(information) == 40
    assert statistics.mean(information[:5]) < 0.5
    assert statistics.mean(information[-5:]) > 1.0


def test_nothing_can_be_read_from_images_that_the_codes_did_not_make(
    command: Callable[..., Outcome],
) -> None:
    config = "infogan_thought_experiment_mnist.yaml"
    once = ("--trainer.max_epochs=1", "--trainer.limit_train_batches=30")
    assert command("fit", "--config", config, *SMALL, *once).code == 0
    information = curve("infogan_thought_experiment_mnist", "train/mi")
    assert len(information) == 30
    assert max(information[10:]) < 0.02


def test_a_run_stopped_by_a_callback_says_why_and_exits_with_3(
    command: Callable[..., Outcome],
) -> None:
    outcome = command(
        *("fit", "--config", "infogan_mnist.yaml", *SMALL),
        "--collapse_stopping.loss_threshold=100",
        *("--collapse_stopping.warmup_steps=0", "--collapse_stopping.window=5"),
        "--collapse_stopping.every_n_steps=5",
    )
    assert outcome.code == 3
    assert len(outcome.errors) == 1 and "discriminator_won" in outcome.errors[0]
    folder = Path("runs/infogan_mnist/version_0")
    assert '"outcome": "discriminator_won"' in (folder / "summary.json").read_text()
    assert curve("infogan_mnist", "stop/discriminator_won") == [1.0]
