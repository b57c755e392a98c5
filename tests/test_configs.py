"""Every shipped YAML says what it is, and trains."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.conftest import TINY, Outcome

CONFIGS = sorted((Path(__file__).parent.parent / "configs").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_config(command: Callable[..., Outcome], path: Path) -> None:
    first_line = path.read_text().splitlines()[0]
    assert first_line.startswith(("# Section ", "# Appendix "))
    assert len(first_line) <= 100
    config = yaml.safe_load(path.read_text())
    assert config["name"] == path.stem
    small = [*TINY, "--traversal.scale=1"]
    if "BasicProp" in config["data"]["class_path"]:
        small += ["--data.init_args.train_size=100", "--data.init_args.eval_size=100"]
    outcome = command("fit", "--config", path.name, *small)
    assert outcome.code == 0, outcome.err
    folder = Path("runs") / path.stem / "version_0"
    assert (folder / "overview.png").is_file()
    assert (folder / "checkpoints" / "last.ckpt").is_file()
