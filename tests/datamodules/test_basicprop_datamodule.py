"""BasicPropDataModule: fixed sets, fresh images, and what a trainer receives."""

from typing import Any, get_args

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.cli import LightningCLI
from pytorch_lightning.demos.boring_classes import BoringModel
from torch import Tensor

from datamodules import BatchLoader
from datamodules.basicprop import VARIANTS, BasicPropDataModule, Noise
from datamodules.basicprop.sources import RenderSource
from datamodules.basicprop.variants import VariantName


def ready(**arguments: Any) -> BasicPropDataModule:
    datamodule = BasicPropDataModule(**{"train_size": 600, "val_size": 200, **arguments})
    datamodule.setup("fit")
    return datamodule


def images_of(batches: Any) -> Tensor:
    return torch.cat([batch if isinstance(batch, Tensor) else batch[0] for batch in batches])


def test_defaults_are_the_authors_numbers() -> None:
    datamodule = BasicPropDataModule("rectangles", on_the_fly=True)
    datamodule.setup("fit")
    datamodule.setup("test")
    assert len(datamodule.train_dataloader()) == 100_000 // 128
    factors = torch.cat([factors for _, factors in datamodule.test_dataloader()])
    assert datamodule.variant_spec.cell_index(factors).bincount().tolist() == [100] * 100


def test_fixed_training_set_is_balanced() -> None:
    datamodule = ready(variant="rectangles", batch_size=100)
    factors, valid = datamodule.invert(images_of(datamodule.train_dataloader()))
    assert valid.all()
    assert datamodule.variant_spec.cell_index(factors).bincount().tolist() == [6] * 100
    assert datamodule.cells_covered(factors, valid) == datamodule.num_cells == 100


@pytest.mark.parametrize("on_the_fly", [False, True])
@pytest.mark.parametrize("variant", VARIANTS)
def test_training_has_images_alone_and_evaluation_their_factors(
    variant: Any, on_the_fly: bool
) -> None:
    datamodule = ready(variant=variant, on_the_fly=on_the_fly, background_noise=True)
    assert len(datamodule.train_dataloader()) == 4
    for batch in datamodule.train_dataloader():
        assert isinstance(batch, Tensor)
        assert batch.shape == (128, *datamodule.image_shape)
        assert batch.dtype == torch.uint8
        assert datamodule.invert(batch)[1].all()
    images, factors = next(iter(datamodule.val_dataloader()))
    assert factors.shape == (200, len(datamodule.factors))
    images, factors = datamodule.on_after_batch_transfer((images, factors), 0)
    assert images.dtype == factors.dtype == torch.float32
    assert images.max() <= 1
    assert datamodule.invert(images)[0].equal(factors)


@pytest.mark.parametrize("on_the_fly", [False, True])
def test_labelled_training_has_the_factors_too(on_the_fly: bool) -> None:
    labelled, plain = (ready(on_the_fly=on_the_fly, labelled=value) for value in (True, False))
    for (images, factors), alone in zip(
        labelled.train_dataloader(), plain.train_dataloader(), strict=True
    ):
        assert isinstance(alone, Tensor)
        assert images.equal(alone)
        assert labelled.invert(images)[0].equal(factors)


@pytest.mark.parametrize("on_the_fly", [False, True])
def test_runs_repeat_by_seed_and_share_the_evaluation_set(on_the_fly: bool) -> None:
    first, again, other = (ready(seed=seed, on_the_fly=on_the_fly) for seed in (1, 1, 2))
    trains = [images_of(datamodule.train_dataloader()) for datamodule in (first, again, other)]
    assert trains[0].equal(trains[1])
    assert not trains[0].equal(trains[2])
    evals = [images_of(datamodule.val_dataloader()) for datamodule in (first, again, other)]
    assert evals[0].equal(evals[1])
    assert evals[0].equal(evals[2])
    assert not images_of(ready(data_seed=1).val_dataloader()).equal(evals[0])
    seen = {image.numpy().tobytes() for image in torch.cat([trains[0], trains[2]])}
    assert not any(image.numpy().tobytes() in seen for image in evals[0])


def test_fresh_images_differ_by_batch_epoch_and_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    source = RenderSource(VARIANTS["line"], Noise(foreground=True), 40)
    loader = BatchLoader(source, 10, shuffle=True, drop_last=True, seed=0)
    batches = list(loader)
    loader.set_epoch(1)
    batches += list(loader)
    for rank in (0, 1):
        monkeypatch.setattr("datamodules.loader.rank_and_world_size", lambda rank=rank: (rank, 2))
        batches += list(BatchLoader(source, 10, shuffle=True, drop_last=True, seed=5))
    images = images_of(batches)
    assert len(images) == 120
    assert len(images.flatten(1).unique(dim=0)) == 120


def test_fresh_images_go_on_after_a_resume() -> None:
    source = RenderSource(VARIANTS["shapes"], Noise(foreground=True), 50)
    whole = list(BatchLoader(source, 10, shuffle=True, drop_last=True, seed=0))
    first = BatchLoader(source, 10, shuffle=True, drop_last=True, seed=0)
    iterator = iter(first)
    next(iterator), next(iterator)
    second = BatchLoader(source, 10, shuffle=True, drop_last=True, seed=0)
    second.load_state_dict(first.state_dict())
    rest = list(second)
    assert len(rest) == 3
    assert images_of(rest).equal(images_of(whole[2:]))


class Judge(pl.LightningModule):
    """Judges the evaluation images by the datamodule's inverse, as an evaluator would."""

    def __init__(self) -> None:
        super().__init__()
        self.correct: list[bool] = []
        self.num_valid = 0

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        images, factors = batch
        found, valid = self.trainer.datamodule.invert(images)  # type: ignore[attr-defined]
        self.correct += (found == factors).all(dim=1).tolist()
        self.num_valid += int(valid.sum())


def test_a_trainer_reaches_the_inverse() -> None:
    judge = Judge()
    datamodule = BasicPropDataModule("rectangles", background_noise=True, val_size=300)
    trainer = pl.Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_checkpointing=False
    )
    trainer.validate(judge, datamodule, verbose=False)
    assert len(judge.correct) == judge.num_valid == 300
    assert all(judge.correct)


def test_evaluating_alone_renders_no_training_set() -> None:
    datamodule = BasicPropDataModule(val_size=20)
    datamodule.setup("validate")
    assert len(datamodule.val_dataloader()) == 1
    with pytest.raises(ValueError, match="setup"):
        datamodule.train_dataloader()


def test_fingerprints_are_equal_exactly_if_the_data_are() -> None:
    assert BasicPropDataModule().fingerprint() == BasicPropDataModule(seed=3).fingerprint()
    changes: list[dict[str, Any]] = [
        {},
        {"variant": "rectangles"},
        {"foreground_noise": False},
        {"background_noise": True},
        {"continuous": True},
        {"on_the_fly": True},
        {"train_size": 10},
        {"eval_size": 10},
        {"data_seed": 1},
    ]
    fingerprints = [BasicPropDataModule(**change).fingerprint() for change in changes]
    assert len(set(fingerprints)) == len(changes)
    assert all(name.startswith("basicprop-") for name in fingerprints)


@pytest.mark.parametrize("name", ["train_size", "eval_size", "val_size", "data_seed"])
def test_impossible_numbers_are_refused(name: str) -> None:
    setting: dict[str, Any] = {name: -1}
    with pytest.raises(ValueError, match=f"^{name}=-1 must"):
        BasicPropDataModule(**setting)


def parse(*arguments: str) -> BasicPropDataModule:
    flags = ["--trainer.accelerator=cpu", "--trainer.logger=false", *arguments]
    cli = LightningCLI(
        BoringModel,
        BasicPropDataModule,
        save_config_callback=None,
        seed_everything_default=False,
        run=False,
        args=flags,
    )
    return cli.datamodule


@pytest.mark.parametrize("name", get_args(VariantName))
def test_the_command_line_builds_every_variant(name: str) -> None:
    datamodule = parse(f"--data.variant={name}", "--data.continuous=true")
    assert datamodule.variant_spec == VARIANTS[name].continuous()


def test_the_command_line_names_the_variants(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse("--data.variant=circles")
    assert "diameters" in capsys.readouterr().err
