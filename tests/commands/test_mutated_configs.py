"""Any config and any option, however wrong, ends in 0, 2 or 3, and 2 with one line."""

import os
import random
import shutil
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from pytorch_lightning import Trainer

from infogan.commands import main as cli
from infogan.commands.completion import options
from infogan.modules import GANModule
from tests import ROOT
from tests.conftest import Outcome
from tests.support.mutations import mutated
from tests.support.stripes import save_checkpoint

Command = Callable[..., Outcome]
NUMBER = int(os.environ.get("MUTATIONS", "300"))
SEED = int(os.environ.get("MUTATION_SEED", time.time_ns() % 2**32))
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
STUDIES = sorted((ROOT / "studies").glob("*.yaml"))


def fault_of(command: Command, *arguments: str) -> str:
    """Run a command line; return what is wrong with how it ends, empty if nothing is."""
    try:
        outcome = command(*arguments)
    except Exception:
        return traceback.format_exc()
    if outcome.code not in (0, 2, 3):
        return f"exit code {outcome.code}: {outcome.err}"
    if outcome.code == 2 and (
        len(outcome.errors) != 1
        or not outcome.err.rstrip().endswith(outcome.errors[0])
        or len(outcome.errors[0]) > 600
    ):
        return f"not one line: {outcome.err}"
    return ""


@pytest.mark.slow
def test_mutated_configs(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are parsed and built, and their optimizers too; nothing is trained."""
    monkeypatch.setattr(Trainer, "fit", lambda self, model, *_, **__: model.configure_optimizers())
    print(f"MUTATION_SEED={SEED} MUTATIONS={NUMBER}")
    stream = random.Random(SEED)
    faults = []
    for _ in range(NUMBER):
        config = stream.choice([*CONFIGS, *STUDIES])
        content = mutated(config.read_text(), stream)
        Path("mutated.yaml").write_text(content)
        arguments = ["fit", "--config=infogan_mnist.yaml", "--config=mutated.yaml"]
        if config in STUDIES:
            arguments = ["study", "mutated.yaml", "--mode=status"]
        elif "class_path" in config.read_text():
            del arguments[1]  # whole by itself
        fault = fault_of(command, *arguments)
        if fault:
            faults.append(f"{config.name}\n{content}\n{fault}")
    assert not faults, f"{len(faults)} of {NUMBER}:\n" + "\n\n".join(faults)


# What is wrong as most options' value; a folder stands where a file does.
WRONG = ("x y!", "", "missing/there", "folder", "-1", "1.5", "[1, {", "null")
LIGHTNING = ("fit", "test", "predict")
OTHERS = ("sample", "export", "compare", "augment", "study", "render", "explore")


@pytest.mark.slow
@pytest.mark.parametrize("verb", [*LIGHTNING, *OTHERS])
def test_wrong_options(
    verb: str,
    command: Command,
    build: Callable[..., GANModule],
    trainer: Callable[..., Trainer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every option of every verb, with every wrong value; of Lightning's verbs a sample."""
    for name in ("fit", "test", "predict"):
        monkeypatch.setattr(Trainer, name, lambda self, *_, **__: None)
    save_checkpoint(build(), trainer(), Path("gan.ckpt"))
    Path("folder").mkdir()
    Path("study.yaml").write_text("members: [infogan_mnist.yaml]\nseeds: [0]\n")
    needed = {
        **dict.fromkeys(LIGHTNING, ["--config=infogan_mnist.yaml"]),
        **dict.fromkeys(("sample", "export", "augment"), ["--ckpt_path=gan.ckpt"]),
        "compare": ["folder"],
        "explore": ["--ckpt_path=missing.ckpt"],
        "study": ["study.yaml", "--mode=status"],
        "render": ["--out_dir=out", "--train_size=10", "--eval_size=10"],
    }[verb]
    known = [name for name in options(cli.main, verb) if not name.endswith(("help", "config"))]
    cases = [(name, value) for name in known for value in WRONG]
    if verb in LIGHTNING:
        print(f"MUTATION_SEED={SEED} MUTATIONS={NUMBER}")
        cases = random.Random(SEED).sample(cases, min(NUMBER // 3, len(cases)))
    faults = []
    for name, value in cases:
        arguments = [part for part in needed if not part.startswith(f"{name}=")]
        fault = fault_of(command, verb, *arguments, f"{name}={value}")
        if fault:
            faults.append(f"{verb} {name}={value!r}\n{fault}")
        for made in ("out", "samples", "export", "compare.html"):
            path = Path(made)
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    assert not faults, f"{len(faults)} of {len(cases)}:\n" + "\n\n".join(faults)
