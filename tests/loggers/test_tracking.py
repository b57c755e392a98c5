"""Weights & Biases without an account: an offline run that can be read back."""

import csv
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import wandb
from PIL import Image
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from infogan.commands import main as cli
from infogan.commands.tracking import Plan, Tracking
from infogan.errors import ConfigurationError
from infogan.latents import BernoulliCode, CategoricalCode, LatentCode, UniformCode
from infogan.loggers import log_picture
from infogan.loggers.labels import RunLabels, code_tags
from infogan.loggers.wandb_run import WandbRun
from tests import ROOT
from tests.conftest import TINY, Outcome

pytestmark = pytest.mark.integration

CLI = ROOT / "cli.py"


def records(run_file: Path) -> list[dict[str, Any]]:
    """Read an offline run record by record with W&B's own reader."""
    result = subprocess.run(
        [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(run_file)],
        capture_output=True,
        text=True,
        check=True,
    )
    return [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]


def by_type(run_file: Path) -> dict[str, list[dict[str, Any]]]:
    """Return an offline run's records by their type: `config`, `history`, `summary`, ..."""
    grouped: dict[str, list[dict[str, Any]]] = {}
    for record in records(run_file):
        grouped.setdefault(record["type"], []).append(record[record["type"]])
    return grouped


def curve(folder: Path, name: str) -> dict[int, float]:
    """Return a log name's values by step from the only run folder."""
    with (folder / "runs/infogan_mnist/version_0/metrics.csv").open(newline="") as file:
        return {int(row["step"]): float(row[name]) for row in csv.DictReader(file) if row[name]}


@pytest.fixture(scope="module")
def offline_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run made by a user without an account, key or terminal."""
    folder = tmp_path_factory.mktemp("offline")
    home = folder / "home"
    home.mkdir()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("WANDB")}
    cache = os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))
    environment |= {"HOME": str(home), "XDG_CACHE_HOME": cache, "OMP_NUM_THREADS": "1"}
    options = [option for option in TINY if not option.startswith("--wandb")]
    result = subprocess.run(
        [sys.executable, str(CLI), "fit", "--config", "infogan_mnist.yaml", *options],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    lines = [line for line in result.stderr.splitlines() if "wandb sync" in line]
    assert len(lines) == 1 and "not logged in" in lines[0]
    return folder


@pytest.mark.xdist_group("offline run")
def test_an_offline_run_holds_config_curves_and_grids(offline_run: Path) -> None:
    (run_file,) = offline_run.glob("runs/wandb/offline-run-*/run-*.wandb")
    found = by_type(run_file)
    config = {k: v for record in found["config"] for k, v in record["update"].items()}
    assert config["model"]["init_args"]["mi_weight"] == 1.0
    assert config["data_fingerprint"].startswith("mnist-")
    assert config["code_version"]
    assert config["torch_version"] == str(torch.__version__)
    history = [record["item"] for record in found["history"]]
    sent = {r["trainer/global_step"]: r["train/mi"] for r in history if "train/mi" in r}
    assert sent == curve(offline_run, "train/mi")
    assert list(sent) == [1, 2]
    # W&B's own step, which its media panels go by, is the number of batches, too.
    assert [r["_step"] for r in history] == [1, 2]
    assert any("val/code_accuracy" in r and r["trainer/global_step"] == 2 for r in history)
    saved = offline_run / "runs/infogan_mnist/version_0"
    drawn = {
        f"traversal/{path.stem}": path for path in saved.glob("traversals/step_00000002/*.png")
    }
    del drawn["traversal/overview"]
    drawn["overview"] = saved / "overview.png"
    drawn["confusion/categorical0"] = saved / "confusion_categorical0.png"
    assert len(drawn) == 5
    for key, path in drawn.items():
        (filenames,) = (r[f"{key}.filenames"] for r in history if f"{key}.filenames" in r)
        picture = run_file.parent / "files" / filenames[0]
        assert np.array_equal(np.asarray(Image.open(picture)), np.asarray(Image.open(path))), key


@pytest.mark.xdist_group("offline run")
def test_the_table_view_names_groups_and_sums_up_a_run(offline_run: Path) -> None:
    (run_file,) = offline_run.glob("runs/wandb/offline-run-*/run-*.wandb")
    found = by_type(run_file)
    (run,) = found["run"]
    assert run["display_name"] == "infogan_mnist categorical10 2xuniform seed0"
    assert (run["run_group"], run["job_type"]) == ("infogan_mnist", "fit")
    kinds = ["InfoGANModule", "MNISTDataModule"]
    assert run["tags"] == [*kinds, "categorical10", "2xuniform"]
    summary = {k: v for record in found["summary"] for k, v in record["update"].items()}
    folder = offline_run / "runs/infogan_mnist/version_0"
    # The table view of W&B and the run folder say the same.
    assert {**summary, **json.loads((folder / "summary.json").read_text())} == summary
    assert summary["outcome"] == "finished" and summary["duration_seconds"] > 0
    for name in ("best/val/code_accuracy", "last/val/code_accuracy", "last/train/mi"):
        assert isinstance(summary[name], float)
    record = json.loads((folder / "wandb.json").read_text())
    assert run_file.stem == f"run-{record['id']}"
    assert (record["project"], record["url"]) == ("infogan", None)


@pytest.fixture(scope="module")
def resumed_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return the folder of a run that was killed after step 4, resumed at step 2, ended at 6."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("resumed"))
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("PL_GLOBAL_SEED", "0")
        Path("board.yaml").write_text("trainer: {logger+: infogan.loggers.TensorBoardRun}\n")
        small = [option for option in TINY if not option.startswith("--wandb")]
        fit = ["fit", "--config", "infogan_mnist.yaml", "--config", "board.yaml", *small]
        fit += ["--traversal.scale=1", "--group=g"]
        assert cli.main([*fit, "--trainer.max_epochs=2"]) == 0
        wandb.finish()
        # What a kill leaves that comes before the checkpoint of step 4 is written.
        Path("runs/infogan_mnist/version_0/checkpoints/last.ckpt").unlink()
        assert cli.main([*fit, "--trainer.max_epochs=3", "--ckpt_path=last"]) == 0
        wandb.finish()
        yield Path.cwd()


@pytest.mark.xdist_group("resumed run")
def test_a_resumed_run_goes_on_in_the_same_run_without_a_step_twice(resumed_run: Path) -> None:
    files = sorted(resumed_run.glob("runs/wandb/offline-run-*/run-*.wandb"))
    assert len(files) == 2 and len({path.name for path in files}) == 1
    found = [by_type(file) for file in files]
    assert [part["run"][0]["run_group"] for part in found] == ["g", "g"]
    tracked = [[record["item"] for record in part["history"]] for part in found]
    assert [[row["_step"] for row in rows] for rows in tracked] == [[1, 2, 3, 4], [5, 6]]
    for name in ("train/mi", "val/nmi"):
        values = {row["_step"]: row[name] for rows in tracked for row in rows if name in row}
        assert values == curve(resumed_run, name)


@pytest.mark.xdist_group("resumed run")
def test_tensorboard_is_one_line_and_shares_the_run_folder(resumed_run: Path) -> None:
    (folder,) = (resumed_run / "runs/infogan_mnist").iterdir()
    events = EventAccumulator(str(folder), {"images": 0, "scalars": 0}).Reload()
    for name in ("train/mi", "val/nmi"):
        shown = [(event.step, event.value) for event in events.Scalars(name)]
        assert dict(shown) == pytest.approx(curve(resumed_run, name))
        assert [step for step, _ in shown] == list(curve(resumed_run, name))
    assert [event.step for event in events.Images("traversal/uniform1")] == [2, 4, 6]
    assert {"overview", "confusion/categorical0"} <= set(events.Tags()["images"])
    assert "config/text_summary" in events.Tags()["tensors"]


LABELS = RunLabels("line c", "line", "fit", ("A", "c"))
OURS = {"name": "mine", "group": "ours", "tags": ["c", "x"]}
THEIRS = {"WANDB_NAME": "theirs", "WANDB_RUN_GROUP": "g", "WANDB_TAGS": "x,y"}


@pytest.mark.parametrize(
    ("given", "variables", "expected"),
    [
        ({}, {}, ("line c", "line", ["A", "c"])),
        (OURS, {}, ("mine", "ours", ["A", "c", "x"])),
        ({}, THEIRS, ("theirs", "g", ["A", "c", "x", "y"])),
        (OURS, THEIRS, ("mine", "ours", ["A", "c", "x"])),
    ],
)
def test_what_the_config_gives_comes_before_wandbs_variables_and_what_the_run_is(
    given: dict[str, Any],
    variables: dict[str, str],
    expected: tuple[str, str, list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    (run,) = Tracking("runs", "line", LABELS).build([Plan(WandbRun, given)])
    assert isinstance(run, WandbRun)
    assert (run.init["name"], run.init["group"], run.init["tags"]) == expected


def test_wandbs_variables_are_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {
        "WANDB_MODE": "offline",
        "WANDB_PROJECT": "p",
        "WANDB_NAME": "n",
        "WANDB_RUN_GROUP": "g",
        "WANDB_TAGS": "x,y",
        "WANDB_NOTES": "why",
        "WANDB_JOB_TYPE": "sweep",
    }
    for name, value in names.items():
        monkeypatch.setenv(name, value)
    (logger,) = Tracking(str(tmp_path), "line", LABELS).build([Plan(WandbRun, {})])
    assert isinstance(logger, WandbRun)
    run = logger.experiment
    found = (run.project, run.name, run.group, run.tags, run.notes, run.job_type)
    logger.finalize("success")
    assert found == ("p", "n", "g", ("A", "c", "x", "y"), "why", "sweep")
    assert list(tmp_path.glob("wandb/offline-run-*"))


@pytest.fixture
def fresh_wandb(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let W&B read its variables as in a new process, before and after the test."""
    wandb.teardown()
    os.environ.pop("WANDB_SERVICE", None)  # the address of a service that has ended
    for name in [name for name in os.environ if name.startswith("WANDB")]:
        monkeypatch.delenv(name)
    yield
    wandb.teardown()
    os.environ.pop("WANDB_SERVICE", None)


@pytest.mark.parametrize(
    ("mode", "key", "reason"),
    [
        ("online", None, "not logged in"),
        (None, None, "not logged in"),
        (None, "malformed", "api key|API key|WANDB_API_KEY"),
        ("offline", "malformed", "--wandb offline"),
    ],
)
def test_no_login_and_no_key_stop_a_run(
    mode: Any,
    key: str | None,
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    fresh_wandb: None,
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    if key is not None:
        monkeypatch.setenv("WANDB_API_KEY", key)
    before = dict(os.environ)
    logger = WandbRun(save_dir=str(tmp_path), mode=mode)
    with caplog.at_level("INFO", logger="pytorch_lightning.utilities.rank_zero"):
        logger.log_metrics({"a": 1.0}, step=1)
    logger.finalize("success")
    (line,) = [m for m in caplog.messages if "wandb sync" in m]
    assert re.search(reason, line), line
    assert list(tmp_path.glob("wandb/offline-run-*"))
    # The address of its service is W&B's own.
    assert {k: v for k, v in os.environ.items() if k != "WANDB_SERVICE"} == before


def test_a_run_of_the_process_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_wandb: None
) -> None:
    """Two trainings in a notebook, with a W&B run of its own around them."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    own = wandb.init(dir=str(tmp_path))
    ids = set()
    for value in (1, 2):
        logger = WandbRun(save_dir=str(tmp_path))
        logger.log_hyperparams({"lr": value})
        logger.log_metrics({"a": value}, step=1)
        ids.add(logger.experiment.id)
        logger.finalize("success")
        assert wandb.run is own
    own.finish()
    assert len({own.id, *ids}) == 3
    for run_id in ids:
        (file,) = tmp_path.glob(f"wandb/offline-run-*/run-{run_id}.wandb")
        found = by_type(file)
        assert [record["item"]["a"] for record in found["history"]] in ([1], [2])
    (file,) = tmp_path.glob(f"wandb/offline-run-*/run-{own.id}.wandb")
    assert "config" not in by_type(file)


def test_wandb_need_not_be_installed(
    command: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert command("fit", "--config", "infogan_mnist.yaml", *TINY).code == 0
    config = Path("runs/infogan_mnist/version_0/config.yaml").read_text()
    assert "wandb: disabled\n" in config and not Path("runs/wandb").exists()
    small = [option for option in TINY if not option.startswith("--wandb")]
    monkeypatch.delenv("WANDB_MODE", raising=False)
    assert command("fit", "--config", "infogan_mnist.yaml", *small).code == 0
    with pytest.raises(ConfigurationError, match="pip install wandb"):
        WandbRun()


@pytest.mark.parametrize(
    ("codes", "tags"),
    [
        ([], ["no-codes"]),
        ([CategoricalCode(10), UniformCode(), UniformCode()], ["categorical10", "2xuniform"]),
        ([CategoricalCode(3), BernoulliCode(), CategoricalCode(4)],
         ["categorical3", "bernoulli", "categorical4"]),
    ],
)  # fmt: skip
def test_code_tags(codes: list[LatentCode], tags: list[str]) -> None:
    assert code_tags(codes) == tags


@pytest.mark.parametrize(
    ("stage", "seed", "name"),
    [("fit", 3, "line no-codes seed3"), ("test", False, "line/test no-codes")],
)
def test_a_run_is_named_by_its_stage_and_seed(stage: str, seed: int | bool, name: str) -> None:
    assert RunLabels.of("line", stage, seed, None, None).name == name


def test_checkpoints_as_artifacts_need_a_server(
    command: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    logger = "--trainer.logger={class_path: infogan.loggers.WandbRun, init_args: {log_model: true}}"
    small = [option for option in TINY if not option.startswith("--wandb")]
    outcome = command("fit", "--config", "infogan_mnist.yaml", *small, logger)
    assert outcome.code == 2
    assert outcome.errors == [
        "error: log_model=true needs W&B online (WANDB_MODE=offline): run `wandb login`, or set "
        "log_model to false"
    ]


def test_the_best_and_the_last_checkpoint_are_versions_of_one_artifact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "runs/line/version_0"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "config.yaml").write_text("name: line\n")
    run = WandbRun(save_dir=str(tmp_path))
    callbacks = []
    for name, monitor in (("best-step=2", "val/code_accuracy"), ("last", None)):
        callback = ModelCheckpoint(folder / "checkpoints", monitor=monitor)
        callback.best_model_path = str(folder / f"checkpoints/{name}.ckpt")
        Path(callback.best_model_path).write_bytes(name.encode())
        callbacks.append(callback)
    callbacks[0].best_model_score = torch.tensor(0.5)
    monkeypatch.setenv("WANDB_MODE", "offline")
    _ = run.experiment
    run.log_model = True  # refused offline, where the upload can be looked at, though
    for callback in (*callbacks, *callbacks):
        run.after_save_checkpoint(callback)
    run.finalize("failed")
    run.finalize("failed")
    name = f"model-{run.id}"
    (run_file,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    logged = by_type(run_file)["artifact"]
    # `latest` is W&B's own, and goes to the one that is logged last.
    assert [set(a["aliases"]) - {"latest"} for a in logged] == [{"best"}, {"last"}]
    artifacts = dict(zip(("best", "last"), logged, strict=True))
    for alias, artifact in artifacts.items():
        assert (artifact["name"], artifact["type"]) == (name, "model")
        paths = {entry["path"] for entry in artifact["manifest"]["contents"]}
        # Laid out like a run folder, so that `test` finds the config.
        assert paths == {f"checkpoints/{alias}.ckpt", "config.yaml"}
    assert json.loads(artifacts["best"]["metadata"]) == {
        "file": "best-step=2.ckpt",
        "monitor": "val/code_accuracy",
        "score": 0.5,
    }


def test_tensorboard_alone_is_placed_as_well(command: Callable[..., Outcome]) -> None:
    logger = "--trainer.logger=infogan.loggers.TensorBoardRun"
    assert command("fit", "--config", "infogan_mnist.yaml", *TINY, logger).code == 0
    folder = Path("runs/infogan_mnist/version_0")
    assert len(list(folder.glob("events.out.tfevents.*"))) == 1
    assert (folder / "overview.png").is_file()


def test_pictures_reach_tensorboard_and_pass_over_csv(tmp_path: Path) -> None:
    picture = np.zeros((6, 9, 3), dtype=np.uint8)
    picture[2, 3] = (255, 0, 128)
    board = TensorBoardLogger(str(tmp_path), name="board")
    log_picture([CSVLogger(str(tmp_path)), board], "overview", picture, step=7)
    board.finalize("success")
    events = EventAccumulator(board.log_dir).Reload()
    (image,) = events.Images("overview")
    assert (image.step, image.height, image.width) == (7, 6, 9)
