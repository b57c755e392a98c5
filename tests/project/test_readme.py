"""The README's commands run as they stand, only smaller."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.report.data import Gaps, Studies
from datamodules import MNISTDataModule, read_idx, write_idx
from infogan.commands.runs import TEST_IMAGES
from tests import ROOT
from tests.conftest import TINY, TINY_TEST, Outcome
from tests.support.pictures import write_classes

README = (ROOT / "README.md").read_text()
BLOCKS = dict(re.findall(r"<!-- (\w+) command -->\n```\n(.*?)\n```", README, flags=re.DOTALL))
Command = Callable[..., Outcome]


def verbs(text: str) -> list[list[str]]:
    """Return the arguments of every `python cli.py` in a text."""
    return [
        shlex.split(arguments)
        for arguments in re.findall(r"^(?:.*&& )?\S*python cli\.py (.*)$", text, flags=re.MULTILINE)
    ]


def test_the_two_commands_are_single_lines_that_set_up_everything() -> None:
    assert set(BLOCKS) == {"main", "test"}
    for line in BLOCKS.values():
        assert "\n" not in line
        assert line.startswith("python3 -m venv .venv && .venv/bin/pip install ")
    assert verbs(BLOCKS["main"]) == [["fit", "--config", "infogan_mnist.yaml"]]
    assert BLOCKS["test"].endswith(".venv/bin/python -m pytest -n 2 --dist loadgroup")


def write_few_of_mnist(folder: str) -> None:
    """Write the first of MNIST's images and labels, so that classifiers are scored in no time."""
    mnist = MNISTDataModule()
    mnist.prepare_data()
    for name in ("images-idx3", "labels-idx1"):
        for split, number in (("train", 500), ("t10k", 100)):
            file = f"{split}-{name}-ubyte"
            write_idx(Path(folder) / "MNIST/raw" / file, read_idx(mnist.raw_dir / file)[:number])


def test_everyday_commands_run_in_their_order(command: Command) -> None:
    (main,) = verbs(BLOCKS["main"])
    assert command(*main, *TINY).code == 0
    section = README.partition("## Everyday commands")[2].partition("\n## ")[0]
    commands = verbs(section)
    verbs_in_order = "fit fit fit compare test predict render augment"
    assert [c[0] for c in commands] == verbs_in_order.split()
    for arguments in commands:
        small: tuple[str, ...] = ()
        if arguments[0] == "fit":
            small = TINY
        elif arguments[0] == "test":
            small = (*TINY_TEST, "--wandb=disabled")
        elif arguments[0] == "predict":
            small = ("--trainer.limit_predict_batches=2", "--wandb=disabled")
        elif arguments[0] == "render":
            small = ("--train_size=20", "--eval_size=10")
        elif arguments[0] == "augment":
            small = ("--labels_per_class=[1]", "--seeds=[0]", "--num_steps=2")
            small += ("--images_per_category=2", "--data.init_args.verify=false")
            small += ("--data.init_args.data_dir=few",)
            write_few_of_mnist("few")
        outcome = command(*arguments, *small)
        assert outcome.code == 0, (arguments, outcome.err)


def test_own_pictures_train_and_a_model_is_taken_away(
    command: Command, trained: Callable[..., Path]
) -> None:
    """The commands of the two sections, with pictures made here."""
    trained()
    own, away = (
        verbs(README.partition(f"## {title}")[2].partition("\n## ")[0])
        for title in ("Your own pictures", "Taking a model away")
    )
    assert [arguments[0] for arguments in (*own, *away)] == ["fit", "sample", "export"]
    write_classes(Path("pictures"))
    assert command(*own[0], *TINY).code == 0
    for arguments in away:
        outcome = command(*arguments)
        assert outcome.code == 0, (arguments, outcome.err)
    assert Path("samples/15.png").is_file()
    assert Path("export/model.json").is_file()


def test_the_python_example_runs(trained: Callable[..., Path]) -> None:
    trained()
    (example,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    names: dict[str, object] = {}
    exec(example, names)
    images = names["images"]
    assert getattr(images, "shape", None) == (16, 1, 28, 28)
    latent = names["latent"]
    assert (latent[:, 62:72].argmax(dim=1) == 3).all()  # type: ignore[index]


@pytest.mark.parametrize(
    ("study", "setting"),
    [
        ("paper", "infogan_mnist_paper"),
        ("paper", "infogan_mnist"),
        ("paper_table", "infogan_line_repaired"),
        ("rectangles", "infogan_rectangles_repaired"),
    ],
)
def test_headline_numbers_are_those_of_the_tables(study: str, setting: str) -> None:
    runs = Studies(ROOT / "benchmarks" / "studies", Gaps())(study).of(setting)
    first_screen = README.partition("## Start")[0]
    (row,) = [line for line in first_screen.splitlines() if f"`{setting}.yaml` |" in line]
    assert f"**{runs.mean_sd('test/code_accuracy')}** ({len(runs)} seed" in row
    assert ("validated on test images" in row) == (runs.val_split() == TEST_IMAGES)


def test_the_first_picture_is_the_tables_run_with_its_correlations() -> None:
    studies = ROOT / "benchmarks" / "studies"
    picture = studies / "paper" / "pictures" / "infogan_mnist_seed0_overview.png"
    assert (ROOT / "docs" / "images" / "infogan_mnist.png").read_bytes() == picture.read_bytes()
    assert README.index("![") == README.index("![Traversals of the three codes](docs/images/info")
    run = Studies(studies, Gaps())("paper").where(setting="infogan_mnist", seed=0)
    slant = run.mean("test/morpho_generative_slant_uniform1", digits=2)
    thickness = run.mean("test/morpho_generative_thickness_uniform2", digits=2)
    caption = " ".join(README.partition("![")[2].partition("\n|")[0].split())
    assert f"of 2,000 it is {slant} for the slant and {thickness} for the thickness" in caption
