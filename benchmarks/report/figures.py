"""Draw the report's figures: curves over training, and pictures next to one another."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from infogan.files import Row

# The paper's four graphs, with the quantity that the original plotted.
PANELS = {
    "train/generator_loss": "generator loss (nats)",
    "train/discriminator_loss": "discriminator loss (nats)",
    "train/mi_gaussian_prior": "mutual information, the original's estimate (nats)",
    "train/cross_entropy": "cross entropy of the codes (nats)",
}
# The paper marks a NaN by a triangle.
END_MARKS = {"nan": "^", "collapsed": "X"}
END_NAMES = {"nan": "NaN", "collapsed": "stopped as collapsed"}
INK, GRID, PAPER = "#303030", "#e2e2e2", "white"
STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": "#9a9a9a",
    "axes.labelcolor": INK,
    "axes.grid": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "grid.color": GRID,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
}

Curves = Sequence[tuple[Row, list[Row]]]


def draw_curves(path: Path, groups: Mapping[str, tuple[str, Curves]]) -> None:
    """Draw losses, information and cross entropy over training, a line a seed.

    Args:
        path: PNG to write; equal data gives equal bytes.
        groups: Colour, and every run's row of the table with its curve, by label.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.2, 6.0), dpi=110, facecolor=PAPER, layout="constrained")
        panels = figure.subplots(2, 2, sharex=True)
        for axes, (column, title) in zip(panels.flat, PANELS.items(), strict=True):
            axes.set_title(title)
            for color, curves in groups.values():
                for row, curve in curves:
                    draw_line(axes, row, curve, column, color)
        for axes in panels[-1]:
            axes.set_xlabel("batches")
        ends = {row["outcome"] for _, curves in groups.values() for row, _ in curves}
        colors = {label: color for label, (color, _) in groups.items()}
        draw_legend(figure, panels[0][0], colors, ends)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, metadata={"Software": None})


def draw_line(axes: Axes, row: Row, curve: Sequence[Row], column: str, color: str) -> None:
    """Draw one run's curve, with a mark where it ended early."""
    points = [(int(point["step"]), float(point[column])) for point in curve if column in point]
    finite = [point for point in points if math.isfinite(point[1])]
    if not finite:
        return
    steps, values = zip(*finite, strict=True)
    axes.plot(steps, values, color=color, linewidth=1.1, alpha=0.75)
    if row["outcome"] in END_MARKS:
        mark = END_MARKS[row["outcome"]]
        axes.plot(steps[-1], values[-1], mark, color=color, markersize=7, markeredgecolor=PAPER)


def draw_legend(figure: Figure, axes: Axes, colors: Mapping[str, str], ends: set[str]) -> None:
    """Name the colours and the marks that occur, above all panels."""
    handles = [axes.plot([], [], color=color, label=label)[0] for label, color in colors.items()]
    for end in [name for name in END_MARKS if name in ends]:
        style: Any = {"color": INK, "linestyle": "none", "label": END_NAMES[end]}
        handles += axes.plot([], [], marker=END_MARKS[end], **style)
    figure.legend(handles=handles, loc="outside upper left", ncols=min(len(handles), 4))


def join_pictures(path: Path, pictures: Mapping[str, Path], gap: int = 16) -> None:
    """Put pictures below one another, each with its caption above it.

    Args:
        path: PNG to write.
        pictures: The picture by its caption.
        gap: Pixels between two of them.
    """
    font = ImageFont.load_default(16)
    images = []
    for source in pictures.values():
        with Image.open(source) as opened:
            images.append(opened.convert("RGB"))
    line = 24
    widths = [image.width for image in images] + [int(font.getlength(c)) + 16 for c in pictures]
    height = sum(image.height + line + gap for image in images) - gap
    canvas = Image.new("RGB", (max(widths), height), PAPER)
    draw, top = ImageDraw.Draw(canvas), 0
    for caption, image in zip(pictures, images, strict=True):
        draw.text((8, top + 3), caption, fill=INK, font=font)
        canvas.paste(image, (0, top + line))
        top += line + image.height + gap
    path.parent.mkdir(parents=True, exist_ok=True)
    canvas.save(path, optimize=True)
