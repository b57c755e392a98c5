"""Curves of several runs laid over one another, as SVG without anything from outside."""

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from infogan.commands.compare.table import as_number
from infogan.commands.runs import Point

WIDTH, HEIGHT = 460, 240
LEFT, RIGHT, TOP, BOTTOM = 52, 10, 10, 26
# More points than this are noise to the eye: they are drawn faintly, their running mean boldly.
SMOOTHED_FROM = 60
# Points of a faint curve, at most; of each group the lowest and the highest are kept.
MOST_POINTS = 300
# Okabe and Ito's colours, without yellow: told apart by colour-blind readers, too.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#333333")
DASHES = ("", "6 3", "2 2", "8 3 2 3")


class Series(NamedTuple):
    """One run's curve.

    Args:
        label: The run's name.
        number: The run's number, which gives colour, dashes and CSS class.
        points: Its values, in order of steps.
    """

    label: str
    number: int
    points: Sequence[Point]


class Axis(NamedTuple):
    """A linear map from values to pixels.

    Args:
        low: Value at `start`.
        high: Value at `end`.
        start: Pixel of `low`.
        end: Pixel of `high`.
    """

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return the pixel of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def chart(name: str, series: Sequence[Series]) -> str:
    """Draw one log name's curves as an SVG element.

    Args:
        name: The log name.
        series: A curve a run; values that are not finite leave a gap.
    """
    drawn = [(one, finite(one.points)) for one in series]
    trends = [running_mean(points) for _, points in drawn]
    values = [point.value for trend in trends for point in trend]
    steps = [point.step for _, points in drawn for point in points]
    if not values:
        return f'<p class="empty">{escape(name)}: no finite value</p>'
    x = Axis(min(steps), max(max(steps), min(steps) + 1), LEFT, WIDTH - RIGHT)
    low, high = padded(min(values), max(values))
    y = Axis(low, high, HEIGHT - BOTTOM, TOP)
    curves = "".join(
        curve(one, points, trend, x, y)
        for (one, points), trend in zip(drawn, trends, strict=True)
        if points
    )
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(name)} over batches">'
        f"{grid(x, y)}"
        # A nested element cuts off what of the faint curves is out of range.
        f'<svg x="{LEFT}" y="{TOP}" width="{WIDTH - LEFT - RIGHT}" height="{HEIGHT - TOP - BOTTOM}"'
        f' viewBox="{LEFT} {TOP} {WIDTH - LEFT - RIGHT} {HEIGHT - TOP - BOTTOM}">{curves}</svg>'
        "</svg>"
    )


def finite(points: Sequence[Point]) -> list[Point]:
    """Return the points that can be drawn."""
    return [point for point in points if math.isfinite(point.value)]


def curve(one: Series, points: Sequence[Point], trend: Sequence[Point], x: Axis, y: Axis) -> str:
    """Draw one run's curve: as it is, or faintly with its running mean, with a tooltip."""
    tooltip = f"{one.label}: {as_number(points[-1].value)} at {points[-1].step}"
    stroke = f'stroke="{colour(one.number)}" stroke-dasharray="{dash(one.number)}"'
    faint = ""
    if len(points) > SMOOTHED_FROM:
        faint = f'<polyline class="faint" {stroke} points="{path(thinned(points), x, y)}"/>'
    marks = ""
    if len(points) == 1:
        marks = (
            f'<circle {stroke} cx="{x(points[0].step):.1f}" cy="{y(points[0].value):.1f}" r="2"/>'
        )
    return (
        f'<g class="run{one.number}"><title>{escape(tooltip)}</title>{faint}{marks}'
        f'<polyline {stroke} points="{path(trend, x, y)}"/></g>'
    )


def path(points: Sequence[Point], x: Axis, y: Axis) -> str:
    """Return points in pixels, to a tenth."""
    return " ".join(f"{x(point.step):.1f},{y(point.value):.1f}" for point in points)


def colour(number: int) -> str:
    """Return the colour of a run."""
    return COLOURS[number % len(COLOURS)]


def dash(number: int) -> str:
    """Return the dashes of a run, which change when the colours are used up."""
    return DASHES[number // len(COLOURS) % len(DASHES)]


def running_mean(points: Sequence[Point]) -> list[Point]:
    """Return a noisy curve's mean over a fortieth of it around each point; a short one as it is."""
    if len(points) <= SMOOTHED_FROM:
        return list(points)
    sums = [0.0]
    for point in points:
        sums.append(sums[-1] + point.value)
    half = max(2, len(points) // 80)
    means = []
    for i, point in enumerate(points):
        # Narrow and centred where curves are steep, at the start; one-sided at the end, where
        # the newest value alone would be noise.
        first, end = i - min(half, i), i + min(half, i, len(points) - 1 - i) + 1
        means.append(Point(point.step, (sums[end] - sums[first]) / (end - first)))
    return means


def thinned(points: Sequence[Point]) -> list[Point]:
    """Return the lowest and highest point of each of MOST_POINTS / 2 groups."""
    if len(points) <= MOST_POINTS:
        return list(points)
    size = math.ceil(2 * len(points) / MOST_POINTS)
    groups = [points[i : i + size] for i in range(0, len(points), size)]
    extremes = (
        {min(group, key=lambda p: p.value), max(group, key=lambda p: p.value)} for group in groups
    )
    return [point for group in extremes for point in sorted(group)]


def padded(low: float, high: float) -> tuple[float, float]:
    """Return a range with a little room above and below, also where it is a single value."""
    room = 0.04 * (high - low) or 0.1 * abs(high) or 1.0
    return low - room, high + room


def ticks(low: float, high: float, most: int) -> list[float]:
    """Return at most `most` round numbers in a range: multiples of 1, 2 or 5 by powers of 10."""
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    steps = (power * factor for factor in (1, 2, 5, 10, 20))
    step = next(step for step in steps if (high - low) / step < most)
    return [step * i for i in range(math.ceil(low / step), math.floor(high / step) + 1)]


def grid(x: Axis, y: Axis) -> str:
    """Draw lines and numbers of both axes."""
    across = "".join(
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(v):.1f}" y2="{y(v):.1f}"/>'
        f'<text x="{LEFT - 6}" y="{y(v) + 4:.1f}" text-anchor="end">{tick_label(v)}</text>'
        for v in ticks(y.low, y.high, 6)
    )
    down = "".join(
        f'<text x="{x(v):.1f}" y="{HEIGHT - 8}" text-anchor="middle">{tick_label(v)}</text>'
        for v in ticks(x.low, x.high, 6)
    )
    return f'<g class="grid">{across}{down}</g>'


def tick_label(value: float) -> str:
    """Write a round number: 2000 as 2k, 0.30000000000000004 as 0.3."""
    if abs(value) >= 1000:
        return f"{value / 1000:.6g}k"
    return f"{0.0 if abs(value) < 1e-12 else value:.6g}"
