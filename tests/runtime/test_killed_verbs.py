"""Verbs that a signal ends at random moments: what is left is whole, or not taken for it."""

import csv
import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import onnx
import pytest
import yaml
from PIL import Image
from safetensors import safe_open

from infogan.commands import lightning  # noqa: F401
from infogan.commands import main as cli
from infogan.commands.runs import newest_run, parse_yaml
from infogan.commands.study.table import TIMES
from infogan.files import read_rows
from infogan.locks import Lock
from infogan.runtime.checkpoints import read_checkpoint
from tests.cluster.job import CONFIG, prepare
from tests.support.resumable import start
from tests.support.stripes import stripe_data

pytestmark = pytest.mark.slow

# Run in the verb's process and by every Python that it starts: writes a byte for each file that is
# opened to write, renamed, made or removed, and signals before one of these.
HOOK = """
import os, signal, sys
number, signum = int(os.environ["KILL_AT"]), int(os.environ["KILL_BY"])
first = int(os.environ.setdefault("KILL_PID", str(os.getpid())))
folder = os.environ["KILL_FOLDER"]
count = os.open(f"{os.environ['KILL_COUNTS']}/{os.getpid()}", os.O_WRONLY | os.O_CREAT)
CHANGES = ("os.rename", "os.mkdir", "os.remove", "os.link", "os.rmdir", "os.truncate")
seen = 0

def watch(event, details):
    global seen
    if event == "open":
        path, _, flags = details
        changes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    elif event in CHANGES:
        path, changes = details[0], True
    else:
        return
    if not changes or not isinstance(path, (str, os.PathLike)):
        return
    if not os.path.abspath(path).startswith(folder):
        return
    os.write(count, b".")
    seen += 1
    if seen == number:
        os.kill(first, signum)
        if signum == signal.SIGKILL:
            os.kill(os.getpid(), signum)

sys.addaudithook(watch)
"""

DATA = {"class_path": "MNISTDataModule", "init_args": {"data_dir": ".", "verify": False}}
SMALL = {
    "data": {**DATA, "init_args": {**DATA["init_args"], "batch_size": 40}},  # type: ignore[dict-item]
    "trainer": {**CONFIG["trainer"], "max_epochs": 2},  # type: ignore[dict-item]
    "sample_quality": {
        "num_images": 20,
        "judge": {"num_steps": 2, "held_out_share": 0.1},
        "judge_folder": "judges",
    },
    "encoder_probe": {"num_train": 100},
    "morphometrics": {"num_images": 20},
}
CHECKPOINT = "runs/tiny/version_0/checkpoints/last.ckpt"


class Verb(NamedTuple):
    """A command line, what it makes, and what is compared of that."""

    arguments: tuple[str, ...]
    # Taken away when it is whole: it is not written over, or there is nothing left to do.
    outputs: tuple[str, ...]
    result: Callable[[], Any]


def trained() -> Any:
    run = newest_run(Path("runs/tiny"))
    if run is None or run.outcome != "finished":
        return None
    rows = [{k: v for k, v in row.items() if k not in TIMES} for row in run.rows]
    weights = read_checkpoint(run.last_checkpoint)["state_dict"].values()
    return rows, [tensor.tolist() for tensor in weights]


def exported() -> Any:
    names = {path.name for path in Path("export").glob("*")}
    if not names:
        return None
    assert names == {"generator.onnx", "recognition.onnx", "model.safetensors", "model.json"}
    return json.loads(Path("export/model.json").read_text())


def augmented() -> Any:
    rows = read_rows(Path("augment/results.csv"))
    if not rows:
        return None
    assert Path("augment/results.md").is_file()
    return [{name: cell for name, cell in row.items() if name != "seconds"} for row in rows]


def tested() -> Any:
    run = newest_run(Path("runs/tiny/test"))
    return None if run is None else run.newest_values("test") or None


def studied() -> Any:
    rows = read_rows(Path("benchmarks/studies/study.csv"))
    left_out = {*TIMES, "git_commits"}
    return [{k: v for k, v in row.items() if k not in left_out} for row in rows] or None


FIT = ("fit", "--config=tiny.yaml", "--name=tiny", "--ckpt_path=auto")
VERBS = {
    "fit": Verb(FIT, ("runs",), trained),
    "export": Verb(("export", f"--ckpt_path={CHECKPOINT}"), ("export",), exported),
    "test": Verb(("test", f"--ckpt_path={CHECKPOINT}"), ("runs/tiny/test",), tested),
    "augment": Verb(
        (
            *("augment", f"--ckpt_path={CHECKPOINT}", "--data=MNISTDataModule"),
            *("--data.data_dir=.", "--data.verify=false", "--data.labelled=true"),
            *("--labels_per_class=[1,2]", "--images_per_category=6", "--seeds=[0,1]"),
            *("--num_steps=2", "--batch_size=8"),
        ),
        ("augment",),
        augmented,
    ),
    "study": Verb(("study", "study.yaml", "--jobs=2"), ("runs", "benchmarks"), studied),
}


def check_whole(folder: Path) -> int:
    """Read every file that has a name for keeps; return their number."""
    number = 0
    for path in sorted(folder.rglob("*")):
        # Of what is being written the name, or that of its folder, begins with a dot.
        if not path.is_file() or any(p.startswith(".") for p in path.relative_to(folder).parts):
            continue
        number += 1
        if path.suffix == ".ckpt":
            read_checkpoint(path)
        elif path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".yaml":
            assert parse_yaml(path.read_text()), path
        elif path.suffix in (".png", ".gif"):
            with Image.open(path) as picture:
                picture.load()
        elif path.suffix == ".onnx":
            onnx.checker.check_model(str(path))
        elif path.suffix == ".safetensors":
            with safe_open(path, "pt") as tensors:
                assert tensors.keys()
        elif path.suffix == ".csv":
            lines = path.read_text()
            whole = list(csv.reader(lines[: lines.rfind("\n") + 1].splitlines()))
            assert len({len(row) for row in whole}) <= 1, path
        else:
            assert path.suffix in (".log", ".lock", ".md", ".pt", ".py", ".step", ""), path
    return number


@pytest.fixture
def schedule() -> random.Random:
    """Return the stream of all random moments; set CHAOS_SEED to repeat one."""
    seed = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(10**6))
    print(f"repeat with CHAOS_SEED={seed}")
    return random.Random(seed)


class Runs:
    """Runs a verb in a folder, to its end or to its kill."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder, self.counts = folder, folder.parent / "counts"
        hook = folder.parent / "hook"
        hook.mkdir()
        (hook / "sitecustomize.py").write_text(HOOK)
        self.environment = {
            **environment,
            "PYTHONPATH": f"{hook}:{environment['PYTHONPATH']}",
            "WANDB_MODE": "disabled",
            "KILL_FOLDER": str(folder),
            "KILL_COUNTS": str(self.counts),
        }

    def run(
        self,
        arguments: tuple[str, ...],
        signum: signal.Signals = signal.SIGKILL,
        number: int = 0,
        delay: float = 600,
    ) -> int:
        """Run; signal before the change of a number, or after a delay; return the exit code."""
        shutil.rmtree(self.counts, ignore_errors=True)
        self.counts.mkdir()
        said = self.folder.parent / "said.txt"
        signalled = {"KILL_AT": str(number), "KILL_BY": str(int(signum))}

        def work() -> None:
            with said.open("w") as file:
                sys.stdout = sys.stderr = file
                for descriptor in (1, 2):
                    os.dup2(file.fileno(), descriptor)
                signal.signal(signal.SIGINT, signal.default_int_handler)
                os.environ.update({**self.environment, **signalled})
                exec(HOOK, {})
                sys.exit(cli.main(list(arguments)))

        # Not a new Python, whose imports take most of such a short run.
        process = start(work)
        process.join(delay)
        if process.exitcode is None and process.pid is not None:
            os.kill(process.pid, signum)
        process.join(120)
        assert process.exitcode is not None, "it hangs"
        self.output = said.read_text()
        # The members of a study end when they see that it is gone.
        for path in self.folder.glob("runs/**/*.lock"):
            with Lock(path, "it", patience=60):
                pass
        return process.exitcode

    def num_changes(self) -> int:
        """Return how many files the last run changed, in the process that changed most."""
        return max(path.stat().st_size for path in self.counts.iterdir())


@pytest.mark.parametrize("name", list(VERBS))
def test_a_killed_verb(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, schedule: random.Random
) -> None:
    """And the same command, run again, gives what an undisturbed one does."""
    verb, folder = VERBS[name], tmp_path / "here"
    runs = Runs(folder, prepare(folder))
    monkeypatch.chdir(folder)
    stripe_data(folder)
    Path("tiny.yaml").write_text(yaml.safe_dump({**CONFIG, **SMALL}))
    Path("study.yaml").write_text("seeds: [0, 1]\nmembers: [tiny.yaml]\n")
    if name not in ("fit", "study"):
        assert runs.run(FIT) == 0, runs.output
    started = time.monotonic()
    assert runs.run(verb.arguments) == 0, runs.output
    duration, num_changes = time.monotonic() - started, runs.num_changes()
    reference = verb.result()
    assert reference
    check_whole(folder)
    for output in (*verb.outputs, "judges"):
        shutil.rmtree(output, ignore_errors=True)

    num_killed = 0
    for _ in range(int(os.environ.get("CHAOS_KILLS") or 6)):
        signum = schedule.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
        if schedule.random() < 0.7:
            number, delay = schedule.randint(1, num_changes), 600.0
            how = f"change {number} of {num_changes}"
        else:
            number, delay = 0, duration * schedule.uniform(0.3, 1)
            how = f"{delay:.1f} of {duration:.1f} s"
        code = runs.run(verb.arguments, signum, number, delay)
        assert code in (0, -signum, 128 + signum), (how, code, runs.output)
        assert "Traceback" not in runs.output, (how, runs.output)
        num_killed += code != 0
        num_files, result = check_whole(folder), verb.result()
        state = "whole" if result == reference else "not whole"
        print(f"{name}: {signum.name} at {how}: exit {code}, {num_files} files, {state}")
        if name == "study":  # its table grows
            assert all(row in reference for row in result or ())
        else:
            assert result in (None, reference)
        if result == reference:
            for output in verb.outputs:
                shutil.rmtree(output)
    assert num_killed
    assert runs.run(verb.arguments) == 0, runs.output
    assert verb.result() == reference
    check_whole(folder)
