"""Two processes train as one would on their joined batches, and never apart from each other."""

import csv
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import yaml
from pytorch_lightning.strategies import DDPStrategy, ModelParallelStrategy, StrategyRegistry
from torch import Tensor

from datamodules import BasicPropDataModule, BatchLoader
from datamodules.loader import TensorSource
from infogan.callbacks.global_batch import GlobalBatch
from infogan.errors import ConfigurationError
from infogan.latents import LatentSpec
from infogan.modules import InfoGANModule
from infogan.modules import gan as gan_file
from infogan.runtime.settings import own_settings
from infogan.runtime.strategies import AlternatingDDPStrategy, check_strategy
from infogan.terms import Clustering, View
from tests.cluster.job import prepare
from tests.conftest import TINY, Outcome
from tests.support.resumable import SEED, RestlessGAN, SmallData, SmallNetworks, gan, in_child

pytestmark = pytest.mark.integration

Command = Callable[..., Outcome]
State = dict[str, Tensor]


class Report(pl.Callback):
    """Write what each rank holds at the end, because the ranks are other processes."""

    def __init__(self, folder: Path = Path()) -> None:
        self.folder = folder
        self.images: list[Tensor] = []

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.images.append(batch)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        report = {
            "state": pl_module.state_dict(),
            "images": self.images,
            "latents": getattr(pl_module, "seen_latents", []),
            "noise": getattr(pl_module, "seen_noise", []),
            "metrics": dict(trainer.callback_metrics),
            "rates": [o.param_groups[0]["lr"] for o in trainer.optimizers],
            "sync_layers": sum("Sync" in type(m).__name__ for m in pl_module.modules()),
        }
        torch.save(report, self.folder / f"rank{trainer.global_rank}.pt")


def reports(folder: Path) -> list[dict[str, Any]]:
    paths = sorted(folder.glob("rank*.pt"))
    return [torch.load(path, weights_only=True) for path in paths]


def fit(module: InfoGANModule, data: Any, devices: int, *callbacks: pl.Callback, **flags: Any):
    """Train on forked CPU processes, which is a strategy that Python users have too."""
    strategy = flags.pop("strategy", None)
    strategy = strategy or AlternatingDDPStrategy(start_method="fork", timeout_minutes=2)
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=devices,
        strategy=strategy if devices > 1 else "auto",
        callbacks=list(callbacks),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
        **{"logger": False, "max_epochs": 1, **flags},
    )
    is_module = isinstance(data, pl.LightningDataModule)
    trainer.fit(module, None if is_module else data, datamodule=data if is_module else None)
    return trainer


@pytest.fixture(autouse=True)
def seeded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PL_GLOBAL_SEED", str(SEED))


# ---- both updates average their gradients ------------------------------------------------------


class JoinedLatents(LatentSpec):
    """Draw what several ranks draw, one after the other, each from its own stream."""

    streams: list[Tensor]
    num_ranks: int

    def seed(self, step: int) -> None:
        seeds = [np.random.SeedSequence([SEED, rank, step]) for rank in range(self.num_ranks)]
        drawn = [torch.Generator().manual_seed(int(s.generate_state(1)[0])) for s in seeds]
        object.__setattr__(self, "streams", [generator.get_state() for generator in drawn])

    def sample(self, num_samples: int, device: torch.device | str = "cpu") -> Tensor:
        parts = []
        for rank in range(self.num_ranks):
            torch.set_rng_state(self.streams[rank])
            parts.append(super().sample(num_samples // self.num_ranks, device))
            self.streams[rank] = torch.get_rng_state()
        return torch.cat(parts)


class JoinedGAN(InfoGANModule):
    """Train in one process on the latents of several."""

    def seed_rng(self, *purpose: int) -> None:
        self.latents.seed(self.global_step)  # type: ignore[attr-defined]


@dataclass(frozen=True)
class WholeClustering(Clustering):
    """Show all real images twice: the first halves of the ranks' batches are not the joined one."""

    def views(self, real: Tensor, fake: Tensor) -> tuple[View, ...]:
        return (View(real.flip(3)),)


@pytest.mark.parametrize(
    ("settings", "num_ranks"),
    [
        ({}, 2),
        ({"r1_weight": 0.5, "gradient_clip_norm": 0.3}, 2),
        ({"num_discriminator_updates": 2, "num_generator_updates": 2}, 2),
        ({"mi_gradient_to": ("head",)}, 2),
        ({"terms": [WholeClustering(1.0)]}, 2),
        ({"terms": [WholeClustering(1.0)]}, 4),
    ],
    ids=str,
)
def test_processes_equal_one_on_the_joined_batch(
    settings: dict[str, Any], num_ranks: int, float64: None
) -> None:
    """To 1e-6 in float64, for both networks, over 20 updates, without batch normalisation."""
    stream = torch.Generator().manual_seed(1)
    source = TensorSource(torch.rand(20 * 16, 1, 8, 8, generator=stream))

    def loader(batch_size: int) -> BatchLoader:
        return BatchLoader(source, batch_size, shuffle=True, drop_last=True, seed=0)

    settings = {"noisy": False, "instance_noise_std": 0.0, **settings}
    start, several, one = (gan(k, **settings) for k in (InfoGANModule, InfoGANModule, JoinedGAN))
    one.latents = JoinedLatents(one.latents.noise_dim, one.latents.codes)
    object.__setattr__(one.latents, "num_ranks", num_ranks)
    assert fit(one, loader(16), devices=1).global_step == 20
    fit(several, loader(16 // num_ranks), devices=num_ranks)
    for name, value in one.state_dict().items():
        before = start.state_dict()[name]
        assert value.ne(before).any(), f"{name} has not been trained"
        torch.testing.assert_close(several.state_dict()[name], value, rtol=1e-6, atol=1e-12)


def test_a_network_of_which_a_part_is_unused_can_be_searched(tmp_path: Path) -> None:
    module = gan()
    module.generator = SmallNetworks(unused=True).generator(module.latents.dim, (1, 8, 8))
    strategy = AlternatingDDPStrategy(start_method="fork", find_unused_parameters=True)
    fit(module, SmallData(), 2, Report(tmp_path), strategy=strategy)
    first, second = (report["state"] for report in reports(tmp_path))
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    assert first["generator.unused"].tolist() == [1.0, 1.0]


@pytest.mark.parametrize("compression", ["bf16", "fp16"])
def test_gradients_can_be_sent_in_half_the_bytes(tmp_path: Path, compression: Any) -> None:
    """All ranks apply the same ones, which are those of full length but for rounding."""
    states = []
    for name, wanted in (("whole", None), ("half", compression)):
        (tmp_path / name).mkdir()
        strategy = AlternatingDDPStrategy(start_method="fork", compression=wanted)
        sgd = partial(torch.optim.SGD, lr=0.1)
        module = gan(
            InfoGANModule, noisy=False, discriminator_optimizer=sgd, generator_optimizer=sgd
        )
        report = Report(tmp_path / name)
        fit(module, SmallData(), 2, report, strategy=strategy, max_steps=2, limit_val_batches=0)
        first, second = (report["state"] for report in reports(tmp_path / name))
        torch.testing.assert_close(first, second, rtol=0, atol=0)
        states.append(first)
    whole, half = states
    assert any(not torch.equal(whole[name], half[name]) for name in whole)
    torch.testing.assert_close(half, whole, rtol=0, atol=2e-3)


def test_an_unknown_compression_is_refused() -> None:
    wrong: Any = "zip"
    with pytest.raises(ValueError, match="compression must be null or 'bf16' or 'fp16', got 'zip'"):
        AlternatingDDPStrategy(compression=wrong)


# ---- the shipped config ------------------------------------------------------------------------


@pytest.mark.parametrize("num_updates", [10, pytest.param(200, marks=pytest.mark.slow)])
def test_the_ranks_of_the_shipped_config_never_differ_by_a_bit(
    command: Command, num_updates: int
) -> None:
    """Parameters and running statistics, though each rank normalises by its own batch."""
    outcome = command(
        *("fit", "--config", "infogan_mnist.yaml", "--config", "ddp.yaml", *TINY),
        *("--trainer.devices=2", "--trainer.accelerator=cpu"),
        "--trainer.strategy.init_args.start_method=fork",
        "--trainer.strategy.init_args.timeout_minutes=2",
        f"--trainer.limit_train_batches={num_updates}",
        "--trainer.callbacks+=tests.runtime.test_ddp.Report",
    )
    assert outcome.code == 0, outcome.err
    first, second = reports(Path())
    assert [len(report["images"]) for report in (first, second)] == [num_updates] * 2
    torch.testing.assert_close(first["state"], second["state"], rtol=0, atol=0)
    assert first["sync_layers"] == 0
    # Written once, by rank 0.
    (run,) = Path("runs/infogan_mnist").iterdir()
    rows = list(csv.DictReader((run / "metrics.csv").open(newline="")))
    steps = [int(row["step"]) for row in rows if row["train/mi"]]
    assert steps == list(range(1, num_updates + 1))
    assert len(list(run.glob("traversals/*/overview.png"))) == 1
    saved = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
    torch.testing.assert_close(saved["state_dict"], first["state"], rtol=0, atol=0)


# ---- what differs by rank ----------------------------------------------------------------------


class RecordingGAN(RestlessGAN):
    """Remember the latents."""

    def discriminator_information_loss(self, latent: Tensor, *features: Any) -> Any:
        self.seen_latents = [*getattr(self, "seen_latents", []), latent]
        return super().discriminator_information_loss(latent, *features)

    def generator_information_loss(self, latent: Tensor, fake_features: Tensor) -> Any:
        self.seen_latents.append(latent)
        return super().generator_information_loss(latent, fake_features)


def test_draws_differ_by_rank_and_follow_from_the_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Latents, instance noise and BasicProp images."""
    add_noise = gan_file.add_instance_noise
    noise: list[Tensor] = []

    def recorded(images: Tensor, std: Tensor) -> Tensor:
        noisy = add_noise(images, std)
        noise.append((noisy - images).detach())
        return noisy

    monkeypatch.setattr(gan_file, "add_instance_noise", recorded)

    def train(folder: Path, seed: int) -> list[dict[str, list[Tensor]]]:
        folder.mkdir()
        monkeypatch.setenv("PL_GLOBAL_SEED", str(seed))
        module = gan(RecordingGAN, noisy=True, image_size=28, instance_noise_steps=0)
        module.seen_noise = noise
        images = BasicPropDataModule("line", on_the_fly=True, batch_size=4, eval_size=10)
        fit(module, images, 2, Report(folder), max_steps=3, limit_val_batches=0)
        return reports(folder)

    first, again = train(tmp_path / "first", SEED), train(tmp_path / "again", SEED)
    other = train(tmp_path / "other", SEED + 1)
    for name, number in (("latents", 6), ("noise", 9), ("images", 3)):
        ranks = [rank[name] for rank in first]
        assert [len(draws) for draws in ranks] == [number, number]
        everything = [draw for draws in ranks for draw in draws]
        for i, draw in enumerate(everything):
            assert not any(torch.equal(draw, d) for d in everything[:i]), (name, i)
        for rank in range(2):
            torch.testing.assert_close(first[rank][name], again[rank][name], rtol=0, atol=0)
            assert not torch.equal(first[rank][name][0], other[rank][name][0])


# ---- metrics -----------------------------------------------------------------------------------


def test_metrics_count_every_image_once(tmp_path: Path) -> None:
    """33 validation images on two ranks: 17 and 16, none of them padded."""
    for devices in (1, 2):
        folder = tmp_path / str(devices)
        folder.mkdir()
        data = SmallData()
        data.batch_size = 8 // devices
        # With hardly any learning rate, both validate the same networks.
        still = partial(torch.optim.SGD, lr=1e-12)
        module = gan(noisy=False, discriminator_optimizer=still, generator_optimizer=still)
        fit(module, data, devices, Report(folder), max_steps=1, val_check_interval=1)
    one, two = (reports(tmp_path / str(devices))[0]["metrics"] for devices in (1, 2))
    for name in ("val/d_real", "val/nmi", "val/ari"):
        torch.testing.assert_close(two[name], one[name], rtol=1e-5, atol=1e-7)


def test_logged_scalars_are_means_over_the_ranks(tmp_path: Path) -> None:
    class Own(Report):
        def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
            pl_module.seen_noise = [pl_module.scalars["d_fake"]]

    fit(gan(), SmallData(), 2, Own(tmp_path), max_steps=1, limit_val_batches=0)
    ranks = reports(tmp_path)
    own = [float(rank["noise"][0]) for rank in ranks]
    assert own[0] != own[1]
    for rank in ranks:
        assert float(rank["metrics"]["train/d_fake"]) == pytest.approx(np.mean(own), rel=1e-6)


# ---- configuration -----------------------------------------------------------------------------


@pytest.mark.parametrize("overlay", ["ddp.yaml", "multi_node.yaml"])
def test_overlays_say_what_they_are_and_merge(command: Command, overlay: str) -> None:
    outcome = command("fit", "--config=infogan_mnist.yaml", f"--config={overlay}", "--print_config")
    assert outcome.code == 0, outcome.err
    config = yaml.safe_load(outcome.out)
    assert config["name"] == "infogan_mnist" and config["trainer"]["max_epochs"] == 50
    strategy = config["trainer"]["strategy"]["class_path"]
    assert strategy == "infogan.runtime.strategies.AlternatingDDPStrategy"


def test_an_overlay_is_the_same_run_on_one_process(command: Command) -> None:
    prepare(Path())
    plain = ("fit", "--config=tiny.yaml", "--trainer.max_epochs=1")
    assert command(*plain, "--name=plain").code == 0
    # In a process of its own, because a process group of one stays behind.
    arguments = (*plain, "--config=ddp.yaml", "--name=ddp", "--trainer.accelerator=cpu")
    assert in_child(command, *arguments) == 0
    first, second = (
        torch.load(f"runs/{name}/version_0/checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for name in ("plain", "ddp")
    )
    torch.testing.assert_close(first, second, rtol=0, atol=0)


def test_sharding_strategies_are_refused_in_one_line(command: Command) -> None:
    outcome = command("fit", "--config=infogan_mnist.yaml", *TINY, "--trainer.strategy=fsdp")
    assert outcome.code == 2
    (line,) = outcome.errors
    assert "strategy=fsdp is refused" in line and "ddp.yaml" in line
    for strategy in ("fsdp_cpu_offload", "deepspeed_stage_2", ModelParallelStrategy()):
        with pytest.raises(ConfigurationError, match="is refused: it shards all parameters"):
            check_strategy(strategy)


def test_plain_ddp_is_refused_in_python_with_the_way_out() -> None:
    with pytest.raises(ConfigurationError, match="wait in D's update.*AlternatingDDPStrategy"):
        check_strategy(DDPStrategy())
    check_strategy(DDPStrategy(find_unused_parameters=True))
    check_strategy(AlternatingDDPStrategy())


def test_ddp_by_its_plain_name_is_the_alternating_one_in_a_run_alone() -> None:
    """As users write it, and as `auto` chooses it."""
    before = dict(StrategyRegistry)
    with own_settings():
        for strategy in ("ddp", "ddp_find_unused_parameters_true", "auto"):
            trainer = pl.Trainer(accelerator="cpu", devices=2, strategy=strategy, logger=False)
            assert isinstance(trainer.strategy, AlternatingDDPStrategy)
            is_searching = trainer.strategy.find_unused_parameters
            assert is_searching == strategy.endswith("true")
    assert dict(StrategyRegistry) == before


class TestGlobalBatch:
    """The batch of all processes, and what it does to the learning rates."""

    def train(self, folder: Path, callback: GlobalBatch, devices: int = 2) -> dict[str, Any]:
        fit(gan(), SmallData(), devices, callback, Report(folder), max_steps=1, limit_val_batches=0)
        return reports(folder)[0]

    def test_a_size_is_divided_among_the_processes(self, tmp_path: Path) -> None:
        report = self.train(tmp_path, GlobalBatch(size=12))
        assert len(report["images"][0]) == 6
        assert report["rates"] == [2e-4, 1e-3]

    @pytest.mark.parametrize(("rule", "factor"), [("linear", 4.0), ("sqrt", 2.0)])
    def test_rates_follow_the_global_batch(self, tmp_path: Path, rule: Any, factor: float) -> None:
        # Two processes of 8 images each, against a reference of 4.
        report = self.train(tmp_path, GlobalBatch(learning_rate_rule=rule, reference_size=4))
        assert len(report["images"][0]) == 8
        assert report["rates"] == pytest.approx([2e-4 * factor, 1e-3 * factor])

    def test_what_cannot_be_divided_is_refused(self) -> None:
        class TwoProcesses:
            world_size, datamodule = 2, SmallData()

        with pytest.raises(ConfigurationError, match=r"size=13 does not divide among 2 processes"):
            GlobalBatch(size=13).setup(TwoProcesses(), gan(), "fit")  # type: ignore[arg-type]

    def test_data_without_a_batch_size_is_refused(self) -> None:
        images = BatchLoader(
            TensorSource(torch.rand(8, 1, 8, 8)), 4, shuffle=False, drop_last=True, seed=0
        )
        with pytest.raises(ConfigurationError, match="size=8 and .* need a datamodule"):
            fit(gan(), images, 1, GlobalBatch(size=8))

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"size": 0}, "size must be at least 1, got 0"),
            ({"reference_size": 0}, "reference_size must be at least 1, got 0"),
            (
                {"learning_rate_rule": "cubic"},
                "learning_rate_rule must be 'constant' or 'linear'",
            ),
        ],
    )
    def test_wrong_values_are_refused(self, arguments: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            GlobalBatch(**arguments)
