"""What the project uses of Lightning's private names stands in one file, and still is there."""

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.cli import LightningCLI
from pytorch_lightning.strategies import DDPStrategy

import datamodules
import infogan
from infogan.runtime.private import OpenLightningCLI, finds_unused_parameters
from tests import ROOT

# Documented, in spite of the underscore.
PUBLIC = {"_exit", "_replace", "_asdict", "_fields"}
FILES = [*(ROOT / "infogan").rglob("*.py"), *(ROOT / "datamodules").rglob("*.py"), ROOT / "cli.py"]


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in PUBLIC and name != "_"


def own_names() -> set[str]:
    """Return the private names that the project defines itself."""
    names = set()
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                names.add(node.name)
            elif isinstance(node, ast.Attribute | ast.Name) and isinstance(node.ctx, ast.Store):
                names.add(node.attr if isinstance(node, ast.Attribute) else node.id)
    return names


def overridden() -> Iterator[tuple[Path, str]]:
    """Yield the private methods of libraries that classes of the project replace."""
    for package in (infogan, datamodules):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if found.name.endswith("__main__"):
                continue
            for kind in vars(importlib.import_module(found.name)).values():
                if not inspect.isclass(kind) or kind.__module__ != found.name:
                    continue
                theirs = [base for base in kind.__mro__ if not base.__module__.startswith(
                    ("infogan", "datamodules"))]  # fmt: skip
                for name in filter(is_private, vars(kind)):
                    # What abc, typing and dataclasses leave in every class is no override.
                    if inspect.isfunction(vars(kind)[name]) and any(
                        name in vars(base) for base in theirs
                    ):
                        yield Path(inspect.getfile(kind)), name


def test_private_names_of_libraries_are_in_one_file() -> None:
    own = own_names()
    lines: dict[Path, set[str]] = {}
    replaced = set(overridden())
    for path, name in replaced:
        lines.setdefault(path, set()).add(f"def {name}")
    for path in FILES:
        text = path.read_text()
        for node in ast.walk(ast.parse(text)):
            used = []
            if isinstance(node, ast.Attribute) and is_private(node.attr):
                is_theirs = node.attr not in own or node.attr in {name for _, name in replaced}
                used = [node.attr] if is_theirs else []
            elif isinstance(node, ast.ImportFrom) and not (node.module or "").startswith("infogan"):
                used = [alias.name for alias in node.names if is_private(alias.name)]
            for name in used:
                lines.setdefault(path, set()).add(f"{getattr(node, 'lineno', 0)}: {name}")
    private = ROOT / "infogan/runtime/private.py"
    assert {str(path): names for path, names in lines.items() if path != private} == {}
    assert 0 < len(lines[private]) <= 10


@pytest.mark.parametrize(
    ("method", "parameters"),
    [("_parse_ckpt_path", ["self"]), ("_instantiate_trainer", ["self", "config", "callbacks"])],
)
def test_lightnings_command_line_still_calls(method: str, parameters: list[str]) -> None:
    theirs = getattr(LightningCLI, method, None)
    assert theirs is not None, f"LightningCLI.{method} is gone: see OpenLightningCLI"
    assert list(inspect.signature(theirs).parameters) == parameters
    callers = (LightningCLI.__init__, LightningCLI.instantiate_trainer)
    assert any(f"self.{method}(" in inspect.getsource(caller) for caller in callers)
    assert method in vars(OpenLightningCLI)


@pytest.mark.parametrize("finds", [True, False])
def test_ddp_still_keeps_what_it_was_given(finds: bool) -> None:
    assert hasattr(DDPStrategy(), "_ddp_kwargs"), "DDPStrategy._ddp_kwargs is gone"
    assert finds_unused_parameters(DDPStrategy(find_unused_parameters=finds)) == finds
    assert not finds_unused_parameters(DDPStrategy())


def test_the_scan_sees_what_it_looks_for() -> None:
    assert is_private("_ddp_kwargs") and not is_private("__init__") and not is_private("_exit")
    assert "_save_checkpoint" in vars(ModelCheckpoint)  # such as an override would be
    assert {name for _, name in overridden()} == {"_parse_ckpt_path", "_instantiate_trainer"}
