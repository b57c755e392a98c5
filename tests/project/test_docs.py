"""What the documentation names exists."""

import importlib
import re

import pytest

from tests import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
REFERENCE = re.compile(
    r"`((?:infogan|datamodules|configs|tests|docs)/[\w/]+\.(?:py|yaml|md))(?::([\w.]+))?`"
)


def references() -> list[tuple[str, str, str]]:
    """Return every (page, file, name) that a page names as `file` or `file:name`."""
    return [
        (page.name, file, name)
        for page in PAGES
        for file, name in sorted(set(REFERENCE.findall(page.read_text())))
    ]


def test_there_are_references() -> None:
    assert len(references()) > 40


@pytest.mark.parametrize(("page", "file", "name"), references())
def test_reference(page: str, file: str, name: str) -> None:
    assert (ROOT / file).is_file(), f"{page} names {file}"
    if name:
        thing = importlib.import_module(file.removesuffix(".py").replace("/", "."))
        for part in name.split("."):
            thing = getattr(thing, part)


def test_every_config_is_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    missing = [p.name for p in (ROOT / "configs").glob("*.yaml") if p.name not in readme]
    assert not missing
