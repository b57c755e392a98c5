"""Every shipped YAML says what it is, and trains."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import ROOT
from tests.conftest import TINY, Outcome
from tests.support.archives import enter, write_archives
from tests.support.pictures import write_classes

SHIPPED = sorted((ROOT / "configs").glob("*.yaml"))
# Overlays, such as ddp.yaml, are no experiments and have no name; their own tests use them.
CONFIGS = [path for path in SHIPPED if "\nname:" in path.read_text()]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_config(
    command: Callable[..., Outcome], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first_line = path.read_text().splitlines()[0]
    assert first_line.startswith(("# Section ", "# Appendix ", "# Beyond the paper, "))
    assert len(first_line) <= 100
    config = yaml.safe_load(path.read_text())
    assert config["name"] == path.stem
    small = [*TINY, "--traversal.scale=1"]
    small += data_options(config["data"], monkeypatch)
    outcome = command("fit", "--config", path.name, *small)
    assert outcome.code == 0, outcome.err
    folder = Path("runs") / path.stem / "version_0"
    assert (folder / "overview.png").is_file()
    assert (folder / "checkpoints" / "last.ckpt").is_file()


def data_options(data: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Make the data that a config reads, where it is not MNIST, and return options that fit it."""
    kind = data["class_path"].removeprefix("datamodules.").removesuffix("DataModule")
    if kind == "BasicProp":
        return ["--data.init_args.train_size=100", "--data.init_args.eval_size=100"]
    if kind == "ImageFolder":
        write_classes(Path(data["init_args"]["data_dir"]))
    elif kind in ("FashionMNIST", "KMNIST"):
        enter(monkeypatch, kind, write_archives(Path("data"), kind))
        return ["--data.init_args.data_dir=data"]
    return []


@pytest.mark.parametrize(
    ("config", "recipe", "differs"),
    [
        ("infogan_fashion_mnist", "infogan_clustering_mnist", {"data.class_path"}),
        ("infogan_kmnist", "infogan_clustering_mnist", {"data.class_path"}),
        ("infogan_encoder_loss_mnist", "infogan_mnist_paper", {"model.class_path"}),
        ("infogan_thought_experiment_mnist", "infogan_mnist_paper", {"model.class_path"}),
        ("infogan_no_noise_mnist", "infogan_mnist_paper", {"model.init_args.noise_dim"}),
        ("infogan_20_categories_mnist", "infogan_mnist_paper", {"model.init_args.codes"}),
        ("infogan_line", "infogan_rectangles", {"data.init_args.variant"}),
        (
            "infogan_rectangles_background_noise",
            "infogan_rectangles",
            {"data.init_args.background_noise"},
        ),
        (
            "infogan_rectangles_slow_discriminator",
            "infogan_rectangles",
            {"model.init_args.discriminator_optimizer"},
        ),
        ("infogan_rectangles_two_codes", "infogan_rectangles", {"model.init_args.codes"}),
        ("vanilla_gan_mnist", "vanilla_gan_codes_mnist", {"model.init_args.codes"}),
        (
            "vanilla_gan_sgd_mnist",
            "vanilla_gan_mnist",
            {"model.init_args.discriminator_optimizer"},
        ),
        (
            "vanilla_gan_codes_probed_mnist",
            "infogan_mnist_paper",
            {"model.init_args.mi_gradient_to"},
        ),
    ],
)
def test_configs_of_one_recipe_differ_where_they_say(
    config: str, recipe: str, differs: set[str], command: Callable[..., Outcome]
) -> None:
    """In what a run of them holds, after all defaults."""
    one, other = (
        flat(yaml.safe_load(command("fit", f"--config={name}.yaml", "--print_config").out))
        for name in (config, recipe)
    )
    found = {key for key in one.keys() | other.keys() if one.get(key) != other.get(key)}
    assert found == {"name", *differs}


def flat(config: Any, prefix: str = "") -> dict[str, Any]:
    """Return a config's values by their dotted names; a list, or a class of no settings, is one."""
    if not isinstance(config, dict) or not config or prefix.endswith("_optimizer."):
        return {prefix.rstrip("."): config}
    parts = [flat(value, f"{prefix}{key}.") for key, value in config.items()]
    return {key: value for part in parts for key, value in part.items()}


def test_quick_changes_the_budget_and_the_batch_of_the_same_model(
    command: Callable[..., Outcome],
) -> None:
    plain, quick = (
        yaml.safe_load(command("fit", "--config=infogan_mnist.yaml", *more, "--print_config").out)
        for more in ((), ("--config=quick.yaml",))
    )
    steps = quick["trainer"].pop("max_epochs") * quick["trainer"]["limit_train_batches"]
    assert steps < plain["trainer"].pop("max_epochs") * plain["trainer"]["limit_train_batches"]
    for config in (plain, quick):
        config["data"]["init_args"].pop("batch_size")
        config["model"]["init_args"].pop("learning_rate_decay_steps")
    assert quick == plain
