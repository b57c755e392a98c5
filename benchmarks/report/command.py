"""The command `report`: write the results from committed data, without training."""

import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.report.codes import Codes, highest, lowest
from benchmarks.report.data import NO_DATA, Gaps, Studies, spread
from infogan.commands.study.definition import load_study
from infogan.commands.study.records import RESULTS
from infogan.errors import ConfigurationError
from infogan.files import write_file

SHIPPED = [
    Path(__file__).parent / f"{name}.md.jinja" for name in ("results", "short_runs", "questions")
]


def report(
    data_dir: Path = Path("benchmarks/studies"),
    output_dir: Path = Path("docs"),
    templates: list[Path] = SHIPPED,
    draft: bool = False,
) -> None:
    """Write the results: the paper's table, its figures and its questions, in our numbers.

    It reads the small files that `study` leaves in `data_dir`, and trains nothing. All numbers of
    the text come from them; one without data is an error.

    Args:
        data_dir: Folder of the studies' tables, curves and pictures.
        output_dir: Folder to write the pages to; their pictures go to `images/results/` in it.
        templates: Texts with placeholders, in Jinja's language: one a page, which has its name
            without `.jinja`.
        draft: Whether to write the report although data is missing, and say where.

    Raises:
        ConfigurationError: If a placeholder has no data, or the template is wrong.
    """
    try:
        import jinja2  # noqa: F401

        from benchmarks.report import figures  # noqa: F401
    except ImportError as error:
        raise ConfigurationError(
            f"report needs {error.name}: install it with pip install -e '.[report]'"
        ) from error
    gaps = Gaps(allowed=draft)
    names = Page(Studies(data_dir, gaps), output_dir / "images" / "results").names()
    # All pages are rendered before any is written: a report is of one state of the data.
    pages = {
        template.name.removesuffix(".jinja"): render(template, names) for template in templates
    }
    for name, text in pages.items():
        if gaps.found:
            text = f"> **Draft**: {len(gaps.found)} placeholders have no data yet.\n\n{text}"
        write_file(output_dir / name, text.rstrip() + "\n")
        print(f"written  {output_dir / name}")
    for gap in gaps.found:
        print(f"no data  {gap}", file=sys.stderr)


def render(template: Path, names: Mapping[str, Any]) -> str:
    """Return a template's text with its placeholders filled.

    Raises:
        ConfigurationError: If there is no such file, a placeholder has no data, or the template is
            wrong.
    """
    import jinja2

    if not template.is_file():
        raise ConfigurationError(
            f"templates: {template} is not a file; leave it out for the shipped ones"
        )
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    try:
        return environment.from_string(template.read_text()).render(names)
    except (ConfigurationError, jinja2.TemplateError, TypeError, ValueError) as error:
        raise ConfigurationError(f"{template}, line {line_of(error)}: {error}") from error


def line_of(error: Exception) -> int | str:
    """Return the line of the template in which an error arose."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == "<template>"]
    return frames[-1].lineno or "?" if frames else getattr(error, "lineno", "?")


class Page:
    """What the template can call beside Jinja's own.

    Args:
        studies: The data.
        pictures_dir: Where the pictures go.
    """

    def __init__(self, studies: Studies, pictures_dir: Path) -> None:
        self.studies, self.pictures_dir = studies, pictures_dir

    def names(self) -> dict[str, Any]:
        """Return the names that a template can use."""
        return {
            "study": self.studies,
            "studies": self.studies.names,
            "exists": self.studies.exists,
            "not_run": self.not_run,
            "codes": Codes,
            "spread": spread,
            "lowest": lowest,
            "highest": highest,
            "curves": self.curves,
            "pictures": self.pictures,
        }

    def not_run(self, name: str) -> str:
        """Return the settings of a study's file that lack seeds, each with how many it has."""
        has_table = self.studies.exists(name)
        rows = self.studies(name).rows if has_table else []
        known = {(r["setting"], r["seed"]) for r in rows if r["outcome"] in RESULTS}
        planned: dict[str, list[bool]] = {}
        for member in load_study(name).members:
            has_run = (member.setting, str(member.seed)) in known
            planned.setdefault(member.setting, []).append(has_run)
        return ", ".join(
            f"{setting} ({sum(seeds)} of {len(seeds)} seeds)"
            for setting, seeds in planned.items()
            if not all(seeds)
        )

    def curves(self, name: str, study: str, groups: Mapping[str, tuple[str, str]]) -> str:
        """Draw the curves of some settings; return the picture's link.

        Args:
            name: Name of the picture.
            study: Name of the study.
            groups: Setting and colour by label.
        """
        from benchmarks.report.figures import draw_curves

        drawn = {
            label: (color, list(self.studies.curves(study, setting)))
            for label, (setting, color) in groups.items()
        }
        draw_curves(self.pictures_dir / f"{name}.png", drawn)
        return self._link(name)

    def pictures(self, name: str, study: str, groups: Mapping[str, str], title: str) -> str:
        """Join a traversal's pictures of some settings; return the picture's link.

        Args:
            name: Name of the picture.
            study: Name of the study.
            groups: Setting by caption.
            title: Name of the traversal, such as `overview`.
        """
        from benchmarks.report.figures import join_pictures

        found = {
            caption: picture
            for caption, setting in groups.items()
            if (picture := self.studies.picture(study, setting, title)) is not None
        }
        if not found:
            return NO_DATA
        join_pictures(self.pictures_dir / f"{name}.png", found)
        return self._link(name)

    def _link(self, name: str) -> str:
        return f"images/{self.pictures_dir.name}/{name}.png"
