"""The command line: what a person types, finds on disk, and can do again."""

import csv
import json
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image

from infogan.modules import InfoGANModule
from tests import ROOT
from tests.conftest import RUN, TINY, TINY_TEST, Outcome

CLI = ROOT / "cli.py"
FIT = ("fit", "--config", "infogan_mnist.yaml", *TINY)

Command = Callable[..., Outcome]
Trained = Callable[..., Path]


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_fit_leaves_what_it_says(command: Command) -> None:
    outcome = command(*FIT)
    assert outcome.code == 0, outcome.err
    assert f"run folder  {RUN}" in outcome.out
    assert f"overview    {RUN / 'overview.png'}" in outcome.out
    checkpoint = RUN / "checkpoints" / "last.ckpt"
    assert outcome.out.endswith(
        f"next        python cli.py test --ckpt_path {checkpoint}, or explore\n"
    )
    files = {str(path.relative_to(RUN)) for path in RUN.rglob("*") if path.is_file()}
    grids = {f"traversals/step_00000002/{n}.png" for n in ("categorical0", "uniform1", "uniform2")}
    expected = {
        "config.yaml",
        "metrics.csv",
        "summary.json",
        "overview.png",
        "overview.gif",
        "checkpoints/last.ckpt",
        "checkpoints/best-step=2.ckpt",
    }
    assert expected | grids <= files
    assert Image.open(RUN / "overview.png").size[0] > 100
    summary = json.loads((RUN / "summary.json").read_text())
    assert summary["outcome"] == "finished" and summary["steps"] == 2
    assert summary["best/val/code_accuracy"] == float(rows(RUN)[-1]["val/code_accuracy"])


def test_global_step_counts_batches_everywhere(command: Command) -> None:
    assert command(*FIT, "--trainer.max_epochs=2").code == 0
    train = [int(row["step"]) for row in rows(RUN) if row["train/mi"]]
    assert train == [1, 2, 3, 4]
    assert [int(row["step"]) for row in rows(RUN) if row["val/nmi"]] == [2, 4]
    checkpoint = torch.load(RUN / "checkpoints/last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 4
    assert {path.name for path in (RUN / "traversals").iterdir()} == {
        "step_00000002",
        "step_00000004",
    }


def test_max_steps_counts_batches(command: Command) -> None:
    assert command(*FIT, "--trainer.max_steps=1").code == 0
    assert torch.load(RUN / "checkpoints/last.ckpt", weights_only=True)["global_step"] == 1


def test_configs_are_found_and_merged_from_left_to_right(command: Command) -> None:
    Path("mine.yaml").write_text("model: {init_args: {mi_weight: 0.5, noise_dim: 7}}\n")
    outcome = command(
        "fit",
        *("--config", "infogan_mnist", "--config", "mine.yaml"),
        *("--model.init_args.noise_dim", "9", "--print_config"),
    )
    assert outcome.code == 0, outcome.err
    arguments = yaml.safe_load(outcome.out)["model"]["init_args"]
    assert (arguments["mi_weight"], arguments["noise_dim"]) == (0.5, 9)
    assert len(arguments["codes"]) == 3


def test_a_config_in_the_working_directory_comes_first(command: Command) -> None:
    Path("infogan_mnist.yaml").write_text("name: mine\n")
    outcome = command("fit", "--config", "infogan_mnist.yaml", "--print_config")
    assert yaml.safe_load(outcome.out)["name"] == "mine"


def test_print_config_round_trips(command: Command) -> None:
    first = command("fit", "--config", "infogan_mnist.yaml", "--print_config").out
    Path("printed.yaml").write_text(first)
    assert command("fit", "--config", "printed.yaml", "--print_config").out == first


def test_a_run_can_be_repeated_from_its_saved_config(command: Command, trained: Trained) -> None:
    trained()
    assert command("fit", "--config", str(RUN / "config.yaml")).code == 0
    first, second = (
        torch.load(RUN.with_name(name) / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for name in ("version_0", "version_1")
    )
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_resume_goes_on_in_the_same_folder_as_if_uninterrupted(
    command: Command, trained: Trained
) -> None:
    assert command(*FIT, "--trainer.max_epochs=2", "--name=whole").code == 0
    whole, parts = Path("runs/whole/version_0"), trained()
    assert command(*FIT, "--trainer.max_epochs=2", "--ckpt_path=last").code == 0
    assert [path.name for path in parts.parent.iterdir()] == ["version_0"]
    first, second = (
        torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for folder in (whole, parts)
    )
    assert all(torch.equal(first[name], second[name]) for name in first)

    def lasting(folder: Path) -> list[dict[str, str]]:
        return [{k: v for k, v in r.items() if "per_second" not in k} for r in rows(folder)]

    assert lasting(whole) == lasting(parts)


def test_a_run_is_found_by_its_name_alone(command: Command, trained: Trained) -> None:
    trained("elsewhere/first/version_0")
    trained("runs/other/version_0")
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        predicted = command(
            *("predict", "--ckpt_path", "last", "--name", "first", "--save_dir=elsewhere"),
            "--trainer.limit_predict_batches=1",
        )
    assert predicted.code == 0, predicted.err
    assert not [w for w in warned if "dirpath has changed" in str(w.message)]
    assert Path("elsewhere/first/predict/version_0/codes.csv").is_file()
    missing = command("predict", "--ckpt_path=best", "--name=othr")
    assert missing.code == 2 and "runs of the name other" in missing.err


def test_lightnings_name_for_the_folder_of_runs_is_heard(command: Command) -> None:
    assert command(*FIT, "--trainer.default_root_dir=mine").code == 0
    assert Path("mine/infogan_mnist/version_0/metrics.csv").is_file()
    assert not Path("runs").exists()
    predict = ("predict", "--ckpt_path=last", "--name=infogan_mnist")
    assert command(*predict, "--trainer.default_root_dir=mine").code == 0


def test_a_checkpoint_is_scored_and_read_without_its_yaml(command: Command) -> None:
    # A test computes in float32, so that validation in float32 has the same scores.
    assert command(*FIT, "--trainer.precision=32-true").code == 0
    checkpoint = str(RUN / "checkpoints/last.ckpt")
    tested = command("test", "--ckpt_path", checkpoint, *TINY_TEST)
    assert tested.code == 0
    scores = rows(Path("runs/infogan_mnist/test/version_0"))[0]
    assert 0 <= float(scores["test/nmi"]) <= 1 and not any(s.startswith("val/") for s in scores)
    assert "test/code_accuracy" in tested.out
    everything = ("mig", "sap", "fid", "fid_real", "class_consistency", "mi", "probe_linear")
    assert {f"test/{name}" for name in everything} <= scores.keys()
    assert "test/morpho_inferential_thickness_uniform2" in scores
    pictures = {path.name for path in Path("runs/infogan_mnist/test/version_0").glob("*.png")}
    assert pictures == {"confusion_categorical0.png", "information_real.png"}
    limit = "--trainer.limit_predict_batches=2"
    predicted = command("predict", "--ckpt_path", checkpoint, limit)
    assert predicted.code == 0
    # A prediction has nothing to track.
    assert "W&B" not in predicted.err + predicted.out
    codes = Path("runs/infogan_mnist/predict/version_0/codes.csv")
    assert f"codes       {codes}" in predicted.out
    table = list(csv.DictReader(codes.open(newline="")))
    assert len(table) == 100 and table[99]["image"] == "99"
    assert {row["split"] for row in table} == {"test"}
    for row in table:
        shares = [float(row[f"categorical0={value}"]) for value in range(10)]
        assert abs(sum(shares) - 1) < 1e-4
        assert shares[int(row["categorical0"])] == max(shares)
    module = InfoGANModule.load_from_checkpoint(checkpoint, weights_only=True)
    assert module.latents.dim == 74


def test_a_folder_of_another_run_is_refused(command: Command) -> None:
    logger = "--trainer.logger={class_path: RunFolder, init_args: {version: 0}}"
    assert command(*FIT, logger).code == 0
    before = (RUN / "config.yaml").read_text()
    outcome = command(*FIT, logger, "--seed_everything=3")
    assert outcome.code == 2 and len(outcome.errors) == 1
    assert f"{RUN}/config.yaml is there already, of another run" in outcome.errors[0]
    assert (RUN / "config.yaml").read_text() == before


def test_the_program_is_called_as_it_was_typed(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path, name in (
        ("/usr/bin/infogan", "infogan"),
        ("/lib/infogan/__main__.py", "infogan"),
        ("cli.py", "cli.py"),
    ):
        monkeypatch.setattr(sys, "argv", [path])
        for verb in ((), ("fit",), ("sample",), ("study",), ("completion",)):
            outcome = command(*verb, "--help")
            usage = outcome.out.partition("\n")[0].split()
            assert usage[:2] == ["usage:", name] and {*verb} <= {*usage}, usage


def test_the_networks_are_listed_without_a_count_that_is_not_known(
    command: Command, caplog: pytest.LogCaptureFixture
) -> None:
    assert command(*FIT).code == 0
    listed = [record.getMessage() for record in caplog.records if "weights" in record.getMessage()]
    assert any("generator" in text and "discriminator" in text for text in listed)
    caplog.clear()
    assert command(*FIT, "--trainer.enable_model_summary=false").code == 0
    assert not any("weights" in record.getMessage() for record in caplog.records)
    assert "lops" not in caplog.text.lower()


@pytest.mark.parametrize("arguments", [["--help"], ["fit", "--help"]])
@pytest.mark.integration
def test_help_answers_soon_from_anywhere(arguments: list[str], tmp_path: Path) -> None:
    start = time.perf_counter()
    result = subprocess.run(
        [sys.executable, str(CLI), *arguments], cwd=tmp_path, capture_output=True, text=True
    )
    assert result.returncode == 0
    assert time.perf_counter() - start < 60
    assert ("fit" in result.stdout) and ("infogan_mnist.yaml" in result.stdout) == (
        arguments == ["--help"]
    )


@pytest.mark.integration
def test_training_imports_no_heavy_library_that_it_does_not_use() -> None:
    code = (
        "import sys, datamodules, infogan.modules, infogan.commands.lightning\n"
        "print([m for m in ('sklearn', 'wandb', 'gradio', 'onnx', 'pandas') if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=CLI.parent, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
