"""Shared fixtures: tiny modules, an in-memory loader, and shapes checked at run time."""

import gc
import os
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytorch_lightning as pl
import torch
from jaxtyping import install_import_hook
from torch import Tensor
from torch.optim import Optimizer
from torch.utils.data import BatchSampler, DataLoader

from tests import ROOT

# Before anything of the package: every call of an annotated file checks its shapes.
ANNOTATED = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for package in ("infogan", "datamodules")
    for path in sorted((ROOT / package).rglob("*.py"))
    if "from jaxtyping import" in path.read_text()
]
TYPES = "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"
install_import_hook(ANNOTATED, TYPES)

import benchmarks.report.__main__  # noqa: E402
from infogan.commands import main as cli  # noqa: E402
from infogan.latents import CategoricalCode, UniformCode  # noqa: E402
from infogan.modules import GANModule, InfoGANModule  # noqa: E402

SEED = 7

# One thread a process: the workers share the cores, and sums keep their order on any machine.
os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)


# ---- tiers -------------------------------------------------------------------------------------

TIERS = ("integration", "slow", "cluster", "gpu")
# The test of the fast tier that runs, if one does; names what an audit hook then forbids.
fast_test: str | None = None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that run whole verbs `integration`, and all that have no tier `fast`.

    The fast ones come last: a process that has pretended to have a card can fork no ranks.
    """
    for item in items:
        if "run_main" in getattr(item, "fixturenames", ()):
            item.add_marker("integration")
        if not any(item.get_closest_marker(tier) for tier in TIERS):
            item.add_marker("fast")
    items.sort(key=lambda item: item.get_closest_marker("fast") is not None)


def pytest_collection_finish() -> None:
    """Spare what is imported by now from the search for garbage."""
    gc.collect()
    gc.freeze()


def forbid_processes(event: str, details: tuple[Any, ...]) -> None:
    """Refuse to fork or to start a Python process in a test of the fast tier."""
    is_python = event == "subprocess.Popen" and sys.executable in map(str, details[1])
    if fast_test and (is_python or event == "os.fork"):
        raise RuntimeError(f"{fast_test} starts a process: mark it `integration`")


sys.addaudithook(forbid_processes)


@pytest.fixture(autouse=True)
def tier(request: pytest.FixtureRequest) -> Iterator[None]:
    """Hold a test of the fast tier to it."""
    global fast_test
    fast_test = request.node.nodeid if request.node.get_closest_marker("fast") else None
    yield
    # A trainer and its networks point at one another, and Python would let hundreds of MB pile up.
    if fast_test is None:
        gc.collect()
    fast_test = None


class Loader:
    """Batches in memory, in a fixed order."""

    def __init__(self, batches: Sequence[Any]) -> None:
        self.batches = batches

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self.batches)

    def __iter__(self) -> Iterator[Any]:
        """Walk through the batches."""
        return iter(self.batches)


class GradientRecorder(pl.Callback):
    """Keeps the gradients that every optimizer step applies, by the parameter's name."""

    def __init__(self) -> None:
        self.steps: list[dict[str, Tensor]] = []

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        """Copy the gradients of the optimizer's own parameters."""
        own = {id(p) for group in optimizer.param_groups for p in group["params"]}
        self.steps.append(
            {
                name: torch.zeros_like(p) if p.grad is None else p.grad.clone()
                for name, p in pl_module.named_parameters()
                if id(p) in own
            }
        )


@pytest.fixture(autouse=True)
def random_state() -> None:
    """Start every test from the same random state."""
    torch.manual_seed(SEED)


# What Lightning replaces of torch's loaders while it asks for them, and leaves so after an error.
REPLACED = [
    (kind, name, vars(kind).get(name))
    for kind in (DataLoader, BatchSampler)
    for name in ("__init__", "__setattr__", "__delattr__")
]


@pytest.fixture(autouse=True)
def loaders_as_found() -> Iterator[None]:
    """Give torch's loaders back after every test."""
    yield
    for kind, name, method in REPLACED:
        if method is not None:
            setattr(kind, name, method)
        elif name in vars(kind):
            delattr(kind, name)


@pytest.fixture
def float64() -> Iterator[None]:
    """Compute in float64 for the length of a test."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def build() -> Callable[..., Any]:
    """Return a builder of 8x8 modules whose weights depend on their architecture alone."""

    def build_module(kind: type[GANModule] = InfoGANModule, **arguments: Any) -> GANModule:
        torch.manual_seed(SEED)
        defaults: dict[str, Any] = {
            "codes": [CategoricalCode(4), UniformCode()],
            "noise_dim": 3,
            "image_size": 8,
        }
        return kind(**(defaults | arguments))

    return build_module


@pytest.fixture
def batches() -> Callable[..., list[Tensor]]:
    """Return a maker of batches of random images in [0, 1], the same for the same arguments."""

    def make(num: int = 1, size: int = 16, shape: tuple[int, int, int] = (1, 8, 8)) -> list[Tensor]:
        stream = torch.Generator().manual_seed(SEED)
        return [torch.rand(size, *shape, generator=stream) for _ in range(num)]

    return make


@pytest.fixture
def trainer() -> Callable[..., pl.Trainer]:
    """Return a maker of silent trainers on one CPU process."""

    def make(**flags: Any) -> pl.Trainer:
        silent: dict[str, Any] = {
            "accelerator": "cpu",
            "devices": 1,
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "log_every_n_steps": 1,
            "max_epochs": -1,
        }
        return pl.Trainer(**{**silent, **flags})

    return make


@pytest.fixture
def fit(
    trainer: Callable[..., pl.Trainer], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., pl.Trainer]:
    """Return a function that trains a module on batches under one seed, and returns the trainer."""
    monkeypatch.setenv("PL_GLOBAL_SEED", str(SEED))

    def run(
        module: GANModule, images: Sequence[Tensor], ckpt: Path | None = None, **flags: Any
    ) -> pl.Trainer:
        steps = flags.get("max_steps", len(images))
        # One epoch a step is more than enough, and ends a run that counts no steps.
        made = trainer(**{"max_steps": steps, "max_epochs": steps, **flags})
        with warnings.catch_warnings():
            for nothing_wrong in (
                "You defined a `validation_step` but",
                "You're resuming from a ch",
            ):
                warnings.filterwarnings("ignore", message=nothing_wrong)
            made.fit(module, Loader(images), ckpt_path=ckpt)
        return made

    return run


@pytest.fixture
def gradients(fit: Callable[..., pl.Trainer]) -> Callable[..., list[dict[str, Tensor]]]:
    """Return a function that trains a module and returns the gradients of every update."""

    def run(module: GANModule, images: Sequence[Tensor], **flags: Any) -> list[dict[str, Tensor]]:
        recorder = GradientRecorder()
        fit(module, images, callbacks=[recorder], **flags)
        return recorder.steps

    return run


class Outcome(NamedTuple):
    """What a command left: its exit code, what it printed, and the lines of it that are errors."""

    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        """Return the lines that name an error."""
        return [line for line in self.err.splitlines() if line.startswith("error: ")]


@pytest.fixture
def command(run_main: Callable[..., Outcome]) -> Callable[..., Outcome]:
    """Return a function that runs `cli.py` with arguments, in an empty working directory."""
    return lambda *arguments: run_main(cli.main, arguments)


@pytest.fixture
def report_command(run_main: Callable[..., Outcome]) -> Callable[..., Outcome]:
    """Return a function that writes the report, in an empty working directory."""
    return lambda *arguments: run_main(benchmarks.report.__main__.main, arguments)


@pytest.fixture
def run_main(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Outcome]:
    """Return a function that runs a program's `main` in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")

    def run(main: Callable[[list[str]], int], arguments: Sequence[str]) -> Outcome:
        capsys.readouterr()
        try:
            code = main(list(arguments))
        except SystemExit as leaving:
            code = leaving.code if isinstance(leaving.code, int) else 1
        return Outcome(code, *capsys.readouterr())

    return run


TINY = (
    "--trainer.max_epochs=1",
    "--trainer.limit_train_batches=2",
    "--trainer.limit_val_batches=2",
    "--trainer.log_every_n_steps=1",
    "--trainer.enable_progress_bar=false",
    "--data.init_args.batch_size=8",
    "--data.init_args.eval_batch_size=50",
    "--traversal.num_columns=2",
    "--morphometrics.num_end_images=0",
    "--wandb=disabled",
)

RUN = Path("runs/infogan_mnist/version_0")


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a tiny run on MNIST, trained once in each process of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("trained"))
        patch.setenv("WANDB_MODE", "disabled")
        patch.setenv("PL_GLOBAL_SEED", "0")
        assert cli.main(["fit", "--config", "infogan_mnist.yaml", *TINY]) == 0
        return RUN.absolute()


@pytest.fixture
def trained(command: Callable[..., Outcome], trained_run: Path) -> Callable[..., Path]:
    """Return a function that puts a copy of the tiny run below the working directory."""
    return lambda place=RUN: Path(shutil.copytree(trained_run, place))


# What a test of a MNIST checkpoint takes to be quick, with a judge of its own.
TINY_TEST = (
    "--trainer.limit_test_batches=2",
    "--sample_quality.num_images=20",
    "--sample_quality.judge.num_steps=2",
    "--sample_quality.judge.held_out_share=0.001",
    "--sample_quality.judge_folder=judges",
    "--encoder_probe.num_train=200",
    "--morphometrics.num_images=20",
)
