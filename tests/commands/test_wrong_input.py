"""Wrong input: one clear line, a non-zero exit code, no traceback, nothing lost."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from datamodules.mnist import MNISTDataModule
from infogan.modules import InfoGANModule
from tests.conftest import TINY, Outcome

Command = Callable[..., Outcome]
BASE = ("fit", "--config", "infogan_mnist.yaml", *TINY)


def adam(network: str, arguments: str) -> str:
    """Return a config of an optimizer."""
    factory = f"{{class_path: torch.optim.Adam, init_args: {{{arguments}}}}}"
    return f"model: {{init_args: {{{network}_optimizer: {factory}}}}}"


def one_clear_line(outcome: Outcome, *words: str) -> None:
    """Check the contract: the last line is the only error, and says these words."""
    assert outcome.code == 2
    assert "Traceback" not in outcome.err + outcome.out
    assert len(outcome.errors) == 1
    (line,) = outcome.errors
    assert outcome.err.rstrip().endswith(line)
    assert len(line) < 400
    for word in words:
        assert word in line, line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model.init_args.foo=3"], ["foo", "not accepted"]),
        (["--trainer.epochs=3"], ["epochs"]),
        (["--model.init_args.noise_dim=many"], ["noise_dim", "int", "many"]),
        (["--model.init_args.noise_dim=-1"], ["noise_dim", "-1"]),
        (["--model.init_args.mi_weight=-0.5"], ["mi_weight", "-0.5"]),
        (["--data.init_args.batch_size=0"], ["batch_size", "0"]),
        (["--traversal.num_columns=0"], ["num_columns", "0"]),
        (
            [
                '--model.init_args.codes=[{"class_path": "CategoricalCode", "init_args": '
                '{"num_categories": 1}}]'
            ],
            ["num_categories", "1", "at least 2"],
        ),
        (["--model.init_args.codes=[]"], ["codes", "VanillaGANModule"]),
        (
            ["--model.init_args.codes=[]", "--model.init_args.noise_dim=0"],
            ["noise_dim=0", "codes=[]"],
        ),
        (
            [f"--model.init_args.noise_dim={2**70}"],
            [f"noise_dim={2**70}, codes=[10, 1, 1]: networks", "do not fit into memory"],
        ),
        (["--model.init_args.image_size=65536"], ["image_size=65536", "do not fit into memory"]),
        (["--model.init_args.image_size=30"], ["image_size", "30", "multiple of 4"]),
        (["--model.init_args.image_size=32"], ["image_size=32", "(1, 28, 28)"]),
        (["--ckpt_path=missing.ckpt"], ["ckpt_path=missing.ckpt"]),
        (["--ckpt_path=last"], ["ckpt_path=last", "runs/infogan_mnist", "--name"]),
        (["--trainer.gradient_clip_val=1"], ["gradient_clip_val"]),
        (["--trainer.accumulate_grad_batches=2"], ["accumulate_grad_batches"]),
    ],
    ids=lambda value: " ".join(value)[:60],
)
def test_wrong_values(command: Command, arguments: list[str], words: list[str]) -> None:
    one_clear_line(command(*BASE, *arguments), *words)
    assert not list(Path().glob("runs/**/*.ckpt"))


def test_unknown_config(command: Command) -> None:
    one_clear_line(command("fit", "--config", "nope.yaml"), "nope.yaml", "infogan_mnist.yaml")


def test_bad_yaml(command: Command) -> None:
    Path("bad.yaml").write_text("model: [\n")
    one_clear_line(command("fit", "--config", "bad.yaml"), "bad.yaml", "line 2")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("trainr: {max_epochs: 3}", ["trainr", "did you mean trainer.max_epochs?"]),
        ("trainer: {max_epoch: 3}", ["max_epoch", "did you mean trainer.max_epochs?"]),
        ("trainer: 3", ["trainer must hold", "got 3"]),
        ("trainer: {limit_val_batches: many}", ["limit_val_batches", "int or float", "many"]),
        ("model: {class_path: InfoGANModul}", ["x.yaml", "did you mean InfoGANModule?"]),
        ("model: {class_path: infogan.module.InfoGANModule}", ["did you mean InfoGANModule?"]),
        ("model: {init_args: {mi_wieght: 2}}", ["x.yaml", "did you mean mi_weight?"]),
        (
            "model: {init_args: {codes: [{class_path: CategoricalCod}]}}",
            ["codes", "did you mean CategoricalCode?"],
        ),
        (
            "model: {init_args: {generator_optimizer: {class_path: Adam, init_args: {rate: 1}}}}",
            ["generator_optimizer", "rate", "there are", "lr"],
        ),
        ("data: {clas_path: MNISTDataModule}", ["did you mean class_path?"]),
        (
            "model: {init_args: {codes: [{class_path: UniformCode, init_rgs: {low: 0}}]}}",
            ["codes: Expected LatentCode, by class_path and init_args", "did you mean init_args?"],
        ),
        (f"model: {{init_args: {{noise_dim: {'many' * 100}}}}}", ["noise_dim", "Got value: many"]),
        ("model: {init_args: {noise_dim: null}}", ["noise_dim", "Expected int", "null"]),
        (
            "model: {init_args: {codes: [{class_path: UniformCode, init_args: {low: null}}]}}",
            ["codes: UniformCode: low", "Expected float", "null"],
        ),
        ("traversal: {num_columns: null}", ["traversal.num_columns", "Expected int", "null"]),
        (adam("generator", "lr: 0"), ["generator_optimizer has lr=0", "positive"]),
        (adam("discriminator", "lr: -1"), ["discriminator_optimizer", "-1"]),
        (adam("generator", "lr: .nan"), ["generator_optimizer", "nan"]),
        (adam("generator", "betas: [2, 0.9]"), ["generator_optimizer: Invalid beta"]),
        ("name: on", ["name", "True", "quotes"]),
        ("", ["x.yaml", "`key: value`"]),
        ("- a", ["x.yaml", "`key: value`", "- a"]),
    ],
)
def test_wrong_yaml_names_what_is_near(command: Command, content: str, words: list[str]) -> None:
    Path("x.yaml").write_text(content)
    one_clear_line(command(*BASE, "--config", "x.yaml"), *words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fit"], ["model", "--config infogan_mnist.yaml"]),
        (["predict"], ["model", "--config", "--ckpt_path"]),
        (["sample"], ["ckpt_path is missing", "cli.py sample --help"]),
        (["sample", "--ckpt_pth=x"], ["--ckpt_pth=x", "did you mean ckpt_path?"]),
        (["study", "--mod", "status"], ["study takes one file"]),
        (["sampel"], ["'sampel'", "did you mean sample?"]),
        (["--config", "x"], ["VERB"]),
    ],
)
def test_what_is_missing_or_misspelt(
    command: Command, arguments: list[str], words: list[str]
) -> None:
    one_clear_line(command(*arguments), *words)


def test_nothing_at_all_lists_the_verbs(command: Command) -> None:
    outcome = command()
    assert outcome.code == 0 and "fit --config infogan_mnist.yaml" in outcome.out


def test_unwritable_run_folder(command: Command) -> None:
    Path("runs").write_text("a file, not a folder")
    one_clear_line(command(*BASE), "save_dir=runs", "--save_dir")
    assert Path("runs").read_text() == "a file, not a folder"


def test_corrupted_data(command: Command) -> None:
    source = MNISTDataModule()
    source.prepare_data()
    shutil.copytree(source.raw_dir, "data/MNIST/raw")
    damaged = Path("data/MNIST/raw/t10k-labels-idx1-ubyte")
    damaged.write_bytes(damaged.read_bytes()[:5000])
    outcome = command(*BASE, "--data.init_args.data_dir=data", "--data.init_args.download=false")
    one_clear_line(outcome, "t10k-labels-idx1-ubyte", "27ae3e4e09519cfbb04c329615203637")
    assert damaged.stat().st_size == 5000


def test_checkpoint_of_another_architecture(command: Command, trained: Callable[..., Path]) -> None:
    checkpoint = trained() / "checkpoints/last.ckpt"
    outcome = command(*BASE, "--model.init_args.noise_dim=30", f"--ckpt_path={checkpoint}")
    one_clear_line(outcome, "another architecture", "generator.dense.0.weight", "(1024, 74)")


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", None])
def test_a_file_that_is_no_checkpoint(
    command: Command, trained: Callable[..., Path], content: bytes | None
) -> None:
    if content is None:  # cut short
        whole = (trained() / "checkpoints/last.ckpt").read_bytes()
        content = whole[: len(whole) // 2]
    Path("x.ckpt").write_bytes(content)
    outcome = command(*BASE, "--ckpt_path=x.ckpt")
    one_clear_line(outcome, "ckpt_path=x.ckpt", "cannot be read")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), ["batch_size"]),
        (
            RuntimeError(
                "grid_sampler_2d_backward_cuda does not have a deterministic implementation, but "
                "you set 'torch.use_deterministic_algorithms(True)'."
            ),
            ["trainer.deterministic=True", "grid_sampler_2d_backward_cuda", "warn"],
        ),
    ],
)
def test_what_a_card_cannot_is_one_line(
    command: Command, monkeypatch: pytest.MonkeyPatch, error: Exception, words: list[str]
) -> None:
    def step(module: InfoGANModule, *arguments: object) -> None:
        raise error

    monkeypatch.setattr(InfoGANModule, "discriminator_objective", step)
    one_clear_line(command(*BASE), *words)


def test_a_defect_keeps_its_traceback(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def step(module: InfoGANModule, *arguments: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(InfoGANModule, "discriminator_objective", step)
    with pytest.raises(RuntimeError, match="a defect"):
        command(*BASE)
