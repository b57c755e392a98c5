"""The wheel: what is in it, and that it works without the checkout."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from infogan import __version__
from tests import ROOT
from tests.conftest import TINY

# One worker builds the wheel for all.
pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("wheel")]

SOURCES = ("infogan", "datamodules", "configs", "studies", "pyproject.toml", "setup.py")
PAGES = ("README.md", "LICENSE")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Build the wheel from a copy and return a folder with its contents."""
    folder = tmp_path_factory.mktemp("wheel")
    copy = folder / "copy"
    copy.mkdir()
    for name in (*SOURCES, *PAGES):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, copy)
    build = ("wheel", "-q", "--no-build-isolation", "--no-deps", "--wheel-dir", str(folder), ".")
    subprocess.run([sys.executable, "-m", "pip", *build], cwd=copy, check=True, timeout=120)
    shutil.rmtree(copy)
    (wheel,) = folder.glob("infogan-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site-packages")
    yield folder / "site-packages"
    shutil.rmtree(folder)


def run(site_packages: Path, folder: Path, *arguments: str) -> str:
    """Run Python with the installed package in a folder and return what it prints."""
    result = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(site_packages), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_wheel_holds_the_packages_and_nothing_else(installed: Path) -> None:
    """Two packages at the top; every module, config and study; the types' marks."""
    tops = {path.name for path in installed.iterdir()}
    assert tops == {"infogan", "datamodules", f"infogan-{__version__}.dist-info"}
    held = {str(p.relative_to(installed)) for p in installed.rglob("*") if p.is_file()}
    expected = {"infogan/py.typed", "datamodules/py.typed"}
    for package in ("infogan", "datamodules"):
        for kind in ("*.py", "*.css", "*.js"):
            expected |= {str(path.relative_to(ROOT)) for path in (ROOT / package).rglob(kind)}
    for folder in ("configs", "studies"):
        found = (ROOT / folder).rglob("*.yaml")
        expected |= {f"infogan/{path.relative_to(ROOT)}" for path in found}
    assert {name for name in held if ".dist-info/" not in name} == expected


def test_the_wheel_trains_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    """Without the checkout: its configs and studies are found."""
    run(installed, tmp_path, "-m", "infogan", "fit", "--config", "infogan_line.yaml", *TINY)
    (folder,) = (tmp_path / "runs").glob("*/version_0")
    assert json.loads((folder / "summary.json").read_text())["outcome"] == "finished"
    find = "from infogan.commands.study.definition import load_study; "
    find += "print(len(load_study('rectangles').members))"
    assert int(run(installed, tmp_path, "-c", find)) > 10


def test_the_version_names_the_commit_of_the_packages_own_checkout(
    installed: Path, tmp_path: Path
) -> None:
    """Not that of somebody else's repository, in which it is installed."""
    code = "from infogan.version import code_version; print(code_version())"
    commit_empty(installed.parent)
    assert run(installed, installed.parent, "-c", code) == f"{__version__}\n"
    assert run(installed, tmp_path, "-m", "infogan", "--version") == f"infogan {__version__}\n"
    own = commit_empty(installed)
    assert run(installed, tmp_path, "-c", code) == f"{__version__}+{own}\n"


def commit_empty(folder: Path) -> str:
    """Make a folder a repository with one commit, and return the commit."""
    git = ("git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b.c")
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    head = [*git, "rev-parse", "--short=12", "HEAD"]
    return subprocess.run(head, capture_output=True, text=True, check=True).stdout.strip()
