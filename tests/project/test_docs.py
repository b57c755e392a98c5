"""What the documentation names exists."""

import importlib
import re

import pytest

from tests import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
REFERENCE = re.compile(
    r"`((?:infogan|datamodules|configs|studies|examples|benchmarks|tests|docs)/"
    r"(?:[\w/]+\.(?:py|yaml|md|png)|[\w/]*))(?::([\w.]+))?`"
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
    assert (ROOT / file).exists(), f"{page} names {file}"
    if name:
        thing = importlib.import_module(file.removesuffix(".py").replace("/", "."))
        for part in name.split("."):
            thing = getattr(thing, part)


def test_every_config_is_in_the_table_of_experiments() -> None:
    page = (ROOT / "docs" / "experiments.md").read_text()
    missing = [p.name for p in (ROOT / "configs").glob("*.yaml") if p.name not in page]
    assert not missing


def test_every_page_is_in_the_sites_navigation() -> None:
    """Strict builds check the rest: that pages, links and documented modules exist."""
    docs = ROOT / "docs"
    navigation = (ROOT / "mkdocs.yml").read_text().partition("\nnav:\n")[2]
    listed = re.findall(r"[\w/-]+\.md", navigation)
    assert sorted(listed) == sorted(str(page.relative_to(docs)) for page in docs.rglob("*.md"))


def test_a_relative_link_of_a_page_outside_the_site_leads_somewhere() -> None:
    for page in ("README.md", "CONTRIBUTING.md"):
        for target in re.findall(r"\]\(([^)#:]+)\)", (ROOT / page).read_text()):
            assert (ROOT / target).exists(), f"{page} links to {target}"
