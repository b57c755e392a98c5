"""The comparison as one HTML page that needs nothing else: no script, no file, no network."""

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path

from infogan.commands.compare.chart import Series, chart, colour, dash
from infogan.commands.compare.table import (
    IN_DETAIL,
    Fact,
    as_number,
    measure_facts,
    run_labels,
    setting_facts,
    without_details,
)
from infogan.commands.runs import TESTED, Picture, RunRecord
from infogan.errors import ConfigurationError
from infogan.pictures.grids import small_png

STYLE = Path(__file__).with_name("page.css").read_text()
# Shown when the page opens; the others wait for a click.
FIRST_CHARTS = (
    "val/code_accuracy",
    "train/mi",
    "val/nmi",
    "train/discriminator_loss",
    "train/generator_loss",
    "train/d_fake",
)


def comparison_page(runs: Sequence[RunRecord]) -> str:
    """Return the page: tables, curves over one another, traversals side by side.

    Args:
        runs: The runs, at least one.
    """
    labels = run_labels(runs)
    names = chart_names(runs)
    title = page_title(runs, labels)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}{switches(len(runs), len(names))}</style>\n"
        f"</head>\n<body>\n<h1>{escape(title)}</h1>\n{legend(runs, labels)}\n"
        f"<h2>How they ended</h2>\n{measures(labels, measure_facts(runs))}\n"
        f"<h2>Settings that differ</h2>\n{settings(labels, setting_facts(runs))}\n"
        f"<h2>Curves</h2>\n{curves(runs, labels, names)}\n"
        f"<h2>Pictures</h2>\n{pictures(runs, labels)}\n</body>\n</html>\n"
    )


def page_title(runs: Sequence[RunRecord], labels: Sequence[str]) -> str:
    """Return how many runs there are, and of which experiment if it is one."""
    experiments = {run.folder.resolve().parent.name for run in runs}
    if len(runs) == 1:
        return f"Run {labels[0]}"
    of = f" of {experiments.pop()}" if len(experiments) == 1 else ""
    return f"{len(runs)} runs{of} compared"


def chart_names(runs: Sequence[RunRecord]) -> list[str]:
    """Return all log names, those first that are shown first."""
    known = sorted({name for run in runs for name in run.curves})
    first = [name for name in FIRST_CHARTS if name in known] or known[:6]
    return [*first, *(name for name in known if name not in first)]


def switches(num_runs: int, num_charts: int) -> str:
    """Return the style rules by which a cleared box hides what it stands for."""
    things = [f"run{i}" for i in range(num_runs)] + [f"chart{i}" for i in range(num_charts)]
    return "".join(f"body:has(#{t}:not(:checked)) .{t}{{display:none}}" for t in things)


def box(identity: str, label: str, checked: bool, swatch: str = "") -> str:
    """Return a box to tick, with its label."""
    state = " checked" if checked else ""
    return f'<label><input type="checkbox" id="{identity}"{state}>{swatch}{escape(label)}</label>'


def swatch(number: int) -> str:
    """Return a sample of a run's line."""
    return (
        '<svg class="swatch" viewBox="0 0 22 10"><line x1="0" x2="22" y1="5" y2="5" '
        f'stroke="{colour(number)}" stroke-dasharray="{dash(number)}"/></svg>'
    )


def legend(runs: Sequence[RunRecord], labels: Sequence[str]) -> str:
    """Return the runs' names with their lines, which stay in sight and switch runs off."""
    boxes = [box(f"run{i}", label, True, swatch(i)) for i, label in enumerate(labels)]
    return f'<nav class="legend" aria-label="runs">{"".join(boxes)}</nav>'


def table(labels: Sequence[str], lines: Sequence[Fact]) -> str:
    """Return facts as a table, a column a run, the best values marked."""
    head = "".join(
        f'<th scope="col" class="run{i}">{swatch(i)}{escape(label)}</th>'
        for i, label in enumerate(labels)
    )
    body = "".join(
        f'<tr><th scope="row">{escape(fact.name)}</th>'
        + "".join(cell(fact, i) for i in range(len(labels)))
        + "</tr>"
        for fact in lines
    )
    return f'<div class="wide"><table><tr><td></td>{head}</tr>{body}</table></div>'


def measures(labels: Sequence[str], lines: Sequence[Fact]) -> str:
    """Return how the runs ended as a table, and its details as another that opens on a click."""
    shown, details = without_details(lines)
    return table(labels, shown) + (folded(len(details), table(labels, details)) if details else "")


def folded(number: int, content: str) -> str:
    """Return details that open on a click."""
    return f"<details><summary>{number} correlations with shape</summary>{content}</details>"


def cell(fact: Fact, number: int) -> str:
    """Return one run's value of a fact."""
    text = escape(fact.values[number])
    stopped = fact.name == "outcome" and text not in ("finished", TESTED)
    marks = ["best"] * (number in fact.best) + ["stopped"] * stopped
    return f'<td class="{" ".join([f"run{number}", *marks])}">{text}</td>'


def settings(labels: Sequence[str], lines: Sequence[Fact]) -> str:
    """Return the differing settings as a table, or that there are none."""
    return table(labels, lines) if lines else "<p>None: the runs have the same settings.</p>"


def curves(runs: Sequence[RunRecord], labels: Sequence[str], names: Sequence[str]) -> str:
    """Return a box for every log name, and every log name's chart."""
    if not names:
        return "<p>No run has logged a value yet.</p>"
    boxes: list[str] = []
    details: list[str] = []
    for i, name in enumerate(names):
        part = details if IN_DETAIL in name else boxes
        part.append(box(f"chart{i}", name, name in FIRST_CHARTS or i < 6))
    figures = []
    for i, name in enumerate(names):
        series = [
            Series(label, number, run.curves[name])
            for number, (run, label) in enumerate(zip(runs, labels, strict=True))
            if name in run.curves
        ]
        newest = "".join(
            f'<span class="run{one.number}" style="color:{colour(one.number)}">'
            f"{as_number(one.points[-1].value)}</span>"
            for one in series
        )
        figures.append(
            f'<figure class="chart{i}"><figcaption>{escape(name)}<span class="newest">{newest}'
            f"</span></figcaption>{chart(name, series)}</figure>"
        )
    return (
        '<p class="note">Over the number of batches; in colour, the newest values. Of noisy curves '
        "the running mean is drawn boldly.</p>"
        f'<nav aria-label="curves">{"".join(boxes)}</nav>'
        + (folded(len(details), f"<nav>{''.join(details)}</nav>") if details else "")
        + f'<div class="charts">{"".join(figures)}</div>'
    )


def pictures(runs: Sequence[RunRecord], labels: Sequence[str]) -> str:
    """Return the newest picture of every code, the runs' side by side."""
    shown = {name for run in runs for name in run.pictures} - {"overview"}
    names = sorted(shown, key=lambda n: ("_" in n, n))
    if not names:
        return "<p>No run has drawn a traversal yet.</p>"
    rows = []
    for name in names:
        figures = "".join(
            picture(name, run.pictures[name], label, number)
            for number, (run, label) in enumerate(zip(runs, labels, strict=True))
            if name in run.pictures
        )
        rows.append(f'<h3>{escape(name)}</h3><div class="pictures">{figures}</div>')
    return (
        '<p class="note">Traversals: a row is one value of the code, a column one draw of '
        "everything else.</p>" + "".join(rows)
    )


def picture(name: str, drawn: Picture, label: str, number: int) -> str:
    """Return one run's picture within the page."""
    when = "at the end" if drawn.step is None else f"after {drawn.step} batches"
    text = escape(f"{name} of {label}, {when}")
    return (
        f'<figure class="run{number}"><figcaption>{swatch(number)}{escape(label)}, {when}'
        f'</figcaption><img alt="{text}" src="{data_uri(drawn)}"></figure>'
    )


def data_uri(drawn: Picture) -> str:
    """Return a picture as a data URI.

    Raises:
        ConfigurationError: If the file is no picture.
    """
    try:
        content = small_png(drawn.path)
    except OSError as error:
        raise ConfigurationError(
            f"runs: {drawn.path} cannot be read as a picture; remove it or leave that run out"
        ) from error
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"
