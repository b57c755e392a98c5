"""The judge: the same weights for the same recipe, trained once, and right."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from datamodules import BasicPropDataModule, MNISTDataModule
from infogan.judge import Judge, JudgedFactor, JudgeRecipe, find_judge, judged_factor
from infogan.judge.cache import judge_path, load_judge
from infogan.judge.networks import NETWORKS, TrunkClassifier
from infogan.judge.training import labelled_training_images, train_judge
from infogan.modules.classifier import ClassifierModule
from tests import ROOT
from tests.conftest import Outcome
from tests.support.stripes import stripe_data, stripes

FACTOR = JudgedFactor(0, "label", 4)
RECIPE = JudgeRecipe(num_steps=60, batch_size=32)
QUICK = replace(RECIPE, num_steps=8)


@pytest.fixture
def data(tmp_path: Path) -> MNISTDataModule:
    """Return stripes as a GAN gets them: the training images without labels."""
    made = stripe_data(tmp_path)
    made.labelled = False
    return made


@pytest.mark.parametrize("network", list(NETWORKS))
def test_it_learns_what_the_classes_are(data: MNISTDataModule, network: str) -> None:
    """On held-out images, and on new ones whose classes are known."""
    recipe = JudgeRecipe(network=network, num_steps=60, batch_size=32)  # type: ignore[arg-type]
    judge = train_judge(labelled_training_images(data, FACTOR), recipe)
    assert judge.held_out_accuracy > 0.95
    assert judge.held_out_features.shape == (round(400 / 6), 128)
    classes = torch.arange(40) % 4
    features, seen = judge.judge(stripes(classes))
    assert (seen == classes).float().mean() > 0.95
    assert features.shape == (40, 128)
    assert not judge.network.training


def test_the_weights_are_a_function_of_recipe_and_images(data: MNISTDataModule) -> None:
    """Whatever was drawn before, under any number of threads, also within a test."""
    labelled = labelled_training_images(data, FACTOR)
    first = train_judge(labelled, QUICK)
    torch.rand(3)
    state = torch.get_rng_state()
    with torch.inference_mode():
        again = train_judge(labelled, QUICK)
    assert torch.equal(torch.get_rng_state(), state)
    assert again.digest == first.digest
    assert torch.equal(again.held_out_features, first.held_out_features)
    other = train_judge(labelled, replace(QUICK, seed=1))
    assert other.digest != first.digest


def test_the_supervised_classifier_is_d_s_trunk_with_q_s_head() -> None:
    ours, reference = TrunkClassifier((1, 8, 8), 4), ClassifierModule(4, 1, 8)
    reference.load_state_dict(ours.state_dict())
    images = torch.rand(8, 1, 8, 8)
    assert torch.equal(ours.eval()(images), reference.eval()(images))


def test_it_is_trained_once(data: MNISTDataModule, tmp_path: Path) -> None:
    """The second call reads the file, other recipes have other files, a damaged one is replaced."""
    folder = tmp_path / "judges"
    first = find_judge(data, FACTOR, QUICK, folder)
    (path,) = folder.glob("*.pt")
    assert path == judge_path(folder, data.fingerprint(), FACTOR, QUICK)
    written = path.stat().st_mtime_ns
    again = find_judge(data, FACTOR, QUICK, folder)
    assert path.stat().st_mtime_ns == written
    assert (again.digest, again.held_out_accuracy) == (first.digest, first.held_out_accuracy)
    assert torch.equal(again.held_out_features, first.held_out_features)
    find_judge(data, FACTOR, replace(QUICK, num_steps=2), folder)
    assert len(list(folder.glob("*.pt"))) == 2
    path.write_bytes(path.read_bytes()[:1000])
    assert load_judge(path, data.image_shape, 4, QUICK) is None
    assert find_judge(data, FACTOR, QUICK, folder).digest == first.digest


# Trains once a line comes in, so that the test knows what happens when.
TRAINER = """
import sys
from pathlib import Path
from datamodules import MNISTDataModule
from infogan.judge import JudgedFactor, JudgeRecipe, cache
train = cache.train_judge
def when_told(*arguments):
    print("begins", flush=True)
    input()
    return train(*arguments)
cache.train_judge = when_told
data = MNISTDataModule(sys.argv[1], verify=False)
recipe = JudgeRecipe(num_steps=8, batch_size=32)
print(cache.find_judge(data, JudgedFactor(0, "label", 4), recipe, Path("judges")).digest)
"""


def start_trainer(folder: Path) -> subprocess.Popen:
    """Start a process that needs a judge."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", TRAINER, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=folder,
    )


def line(process: subprocess.Popen) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


@pytest.mark.integration
@pytest.mark.parametrize("is_killed", [False, True])
def test_one_process_trains_it_while_others_wait(
    data: MNISTDataModule, tmp_path: Path, is_killed: bool
) -> None:
    """And of those that wait, one trains it when the first is killed."""
    first = start_trainer(tmp_path)
    assert "trained once" in line(first) and line(first) == "begins\n"
    second = start_trainer(tmp_path)
    assert f"trained by process {first.pid} on" in line(second)
    if is_killed:
        first.kill()
        first.wait()
        assert "trained once" in line(second) and line(second) == "begins\n"
        out = second.communicate("\n", timeout=60)[0]
    else:
        digest = first.communicate("\n", timeout=60)[0]
        out = second.communicate(timeout=60)[0]
        assert out == digest
    assert second.returncode == 0
    assert out.strip() == find_judge(data, FACTOR, QUICK, tmp_path / "judges").digest


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC, errno.ENOLCK])
def test_a_folder_without_locks_or_room(
    data: MNISTDataModule,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: int,
) -> None:
    """A judge is trained, and kept where that is possible."""

    def check(path: Path) -> Path:
        if path.parent.name == "judges" and (path.suffix == ".lock" or number != errno.ENOLCK):
            raise OSError(number, os.strerror(number), str(path))
        return path

    open_file, rename = Path.open, Path.replace
    monkeypatch.setattr(Path, "open", lambda path, *o, **n: open_file(check(path), *o, **n))
    monkeypatch.setattr(Path, "replace", lambda path, to: rename(check(path), to))
    folder = tmp_path / "judges"
    judge = find_judge(data, FACTOR, QUICK, folder)
    is_kept = number == errno.ENOLCK
    assert len(list(folder.iterdir())) == is_kept
    assert ("not kept" in capsys.readouterr().out) != is_kept
    assert judge.digest == find_judge(data, FACTOR, QUICK, folder).digest


def test_a_folder_that_is_a_file_is_an_error(data: MNISTDataModule, tmp_path: Path) -> None:
    (tmp_path / "judges").write_text("")
    with pytest.raises(FileExistsError):
        find_judge(data, FACTOR, QUICK, tmp_path / "judges")


def test_the_digest_sees_every_weight(data: MNISTDataModule) -> None:
    judge = train_judge(labelled_training_images(data, FACTOR), JudgeRecipe(num_steps=2))
    digests = {judge.digest}
    for tensor in judge.network.state_dict().values():
        tensor.view(-1)[0] += 1
        digests.add(judge.digest)
    assert len(digests) == 1 + len(judge.network.state_dict())
    assert Judge(judge.network, torch.empty(0, 0), 0.0).digest == judge.digest


def test_which_factor_is_judged() -> None:
    assert judged_factor(BasicPropDataModule("rectangles")) == (0, "left_height", 10)
    assert judged_factor(BasicPropDataModule("line", continuous=True)) is None
    assert judged_factor(object()) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"network": "huge"},
        {"num_steps": 1},
        {"batch_size": 1},
        {"learning_rate": 0.0},
        {"held_out_share": 1.0},
    ],
)
def test_wrong_recipes(wrong: dict[str, float]) -> None:
    # A name that is none fails the types' check of the tests first, which is a TypeError.
    with pytest.raises((ValueError, TypeError), match=next(iter(wrong))):
        JudgeRecipe(**wrong)  # type: ignore[arg-type]


def test_the_command_trains_and_says_which_weights(
    command: Callable[..., Outcome], data: MNISTDataModule, tmp_path: Path
) -> None:
    options = ("--data.data_dir", str(tmp_path), "--data.verify", "false")
    small = ("--recipe.num_steps=60", "--recipe.batch_size=32", "--folder", str(tmp_path / "j"))
    outcome = command("judge", "--data", "MNISTDataModule", *options, *small)
    assert outcome.code == 0, outcome.err
    expected = find_judge(data, FACTOR, RECIPE, tmp_path / "j")
    assert f"weights     {expected.digest}\n" in outcome.out
    assert f"accuracy    {expected.held_out_accuracy:.4f} of label on 67 training" in outcome.out
    refused = command(
        "judge", "--data", "BasicPropDataModule", "--data.variant", "line", "--data.continuous=true"
    )
    assert refused.code == 2
    assert len(refused.errors) == 1 and "no discrete factor" in refused.errors[0]
