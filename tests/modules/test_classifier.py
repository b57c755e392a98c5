"""ClassifierModule: what it learns, what it reports and what it refuses."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from jsonargparse import ArgumentParser
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from datamodules import Factor
from infogan.differentiable_augmentation import RandomAffine
from infogan.errors import ConfigurationError
from infogan.modules.classifier import ClassifierModule

MakeTrainer = Callable[..., pl.Trainer]


def stripes(number: int, num_classes: int = 4) -> TensorDataset:
    """Return 8x8 images of a noisy stripe, whose row tells the second factor."""
    classes = torch.arange(number) % num_classes
    images = 0.3 * torch.rand(number, 1, 8, 8)
    images[torch.arange(number), 0, 2 * classes] += 0.7
    factors = torch.stack([torch.rand(number), classes.float()], dim=1)
    return TensorDataset(images, factors)


def small(**arguments: Any) -> ClassifierModule:
    return ClassifierModule(**{"num_classes": 4, "image_size": 8, "factor": 1, **arguments})


@pytest.mark.parametrize("augmentation", [None, RandomAffine(degrees=5, translate=0.05)])
def test_it_learns_the_class_in_its_column(
    trainer: MakeTrainer, augmentation: RandomAffine | None
) -> None:
    made, model = trainer(max_steps=30), small(augmentation=augmentation)
    made.fit(model, DataLoader(stripes(320), 32), DataLoader(stripes(80), 40))
    assert made.callback_metrics["val/accuracy"] > 0.95
    assert made.callback_metrics["train/loss"] < 0.5


def test_it_reports_the_share_of_right_answers(trainer: MakeTrainer) -> None:
    model, data = small(), stripes(50)
    model.eval()
    images, factors = data.tensors
    with torch.no_grad():
        logits = model(images)
    right = (logits.argmax(dim=1) == factors[:, 1]).float().mean().item()
    # Batches of unequal sizes.
    (scores,) = trainer().test(model, DataLoader(data, 20), verbose=False)
    assert scores["test/accuracy"] == pytest.approx(right)
    assert scores["test/loss"] == pytest.approx(
        F.cross_entropy(logits, factors[:, 1].long()).item()
    )


def test_it_predicts_the_most_probable_class(trainer: MakeTrainer) -> None:
    model, data = small(), stripes(30)
    predictions = trainer().predict(model, DataLoader(data, 30))
    assert predictions is not None
    with torch.no_grad():
        expected = model.eval()(data.tensors[0]).argmax(dim=1)
    torch.testing.assert_close(predictions, [expected])


def test_only_training_images_are_augmented(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Tensor] = []
    monkeypatch.setattr(ClassifierModule, "log", lambda *args, **kwargs: None)
    model, batch = small(augmentation=RandomAffine()), stripes(16)[:]
    model.trunk.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    model.training_step(batch, 0)
    model.test_step(batch, 0)
    assert not torch.allclose(seen[0], batch[0])
    assert torch.equal(seen[1], batch[0])


def test_a_checkpoint_gives_the_same_classifier(trainer: MakeTrainer, tmp_path: Path) -> None:
    made, model = trainer(max_steps=2), small(augmentation=RandomAffine())
    made.fit(model, DataLoader(stripes(64), 32), [])
    made.save_checkpoint(tmp_path / "classifier.ckpt")
    loaded = ClassifierModule.load_from_checkpoint(tmp_path / "classifier.ckpt", weights_only=True)
    images = stripes(20).tensors[0]
    assert (loaded.num_classes, loaded.factor, loaded.image_shape) == (4, 1, (1, 8, 8))
    assert torch.equal(loaded.eval()(images), model.eval()(images))


def test_the_command_line_sets_its_optimizer() -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(ClassifierModule, "model")
    arguments = ["--model=ClassifierModule", "--model.image_size=8"]
    optimizer = ["--model.optimizer=torch.optim.SGD", "--model.optimizer.lr=0.5"]
    config = parser.parse_args([*arguments, *optimizer])
    model = parser.instantiate(config).model
    made = model.configure_optimizers()
    assert isinstance(made, torch.optim.SGD)
    assert made.param_groups[0]["lr"] == 0.5
    assert isinstance(small().configure_optimizers(), torch.optim.Adam)


def test_images_without_labels_are_refused(trainer: MakeTrainer) -> None:
    with pytest.raises(ConfigurationError, match="set the data's `labelled` to true"):
        small().with_labels(torch.rand(2, 1, 8, 8))
    unlabelled = DataLoader(TensorDataset(torch.rand(8, 1, 8, 8)), 8)
    with pytest.raises(ConfigurationError, match="set the data's `labelled` to true"):
        trainer(max_steps=1).fit(small(), unlabelled, [])


@pytest.mark.parametrize(
    ("shape", "num_values", "message"),
    [
        ((1, 28, 28), 4, r"image_size=8 do not fit the data's images of shape \(1, 28, 28\)"),
        ((1, 8, 8), 6, r"factor=1 with num_classes=4 .* 0: height \(None\), 1: row \(6\)"),
    ],
)
def test_other_data_is_refused(shape: tuple[int, int, int], num_values: int, message: str) -> None:
    factors = (Factor("height", None, 0, 1), Factor("row", num_values, 0, num_values - 1))
    model = small()
    data = SimpleNamespace(image_shape=shape, factors=factors)
    model._trainer = SimpleNamespace(datamodule=data)  # type: ignore[assignment]
    with pytest.raises(ConfigurationError, match=message):
        model.setup("fit")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"num_classes": 1}, "num_classes must be at least 2, got 1"), ({"factor": -1}, "got -1")],
)
def test_wrong_arguments_are_refused(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(**arguments)
