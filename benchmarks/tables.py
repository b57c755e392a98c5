"""The tables of `throughput.py`: medians, quarters, and ratios of the same round."""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

PRECISIONS = ("bf16-mixed", "32-true")


@dataclass
class Measurement:
    """What one variant reached.

    Args:
        rates: Real images a second by round; of matrix products, how many images' updates a second
            would take as many operations.
        peak_megabytes: Peak resident memory of a process, the largest of several.
        seconds_to_first_update: From the start of the process, once.
    """

    rates: list[float] = field(default_factory=list)
    peak_megabytes: float = 0.0
    seconds_to_first_update: float | None = None


def spread(values: Sequence[float], form: str) -> str:
    """Return the median and, in brackets, the quarters."""
    if len(values) < 2:
        return format(values[0], form)
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"{median:{form}} ({low:{form}} to {high:{form}})"


def in_words(results: dict[str, Measurement], firsts: set[str]) -> list[str]:
    """Return the section's table as Markdown; ratios are of the same round."""
    lines = [
        "| variant | images/s | ratio to | | peak memory in MB | s to the first update |",
        "|---|---|---|---|---|---|",
    ]
    reference = ""
    for name, result in results.items():
        if not reference or name in firsts:
            reference = name
        pairs = zip(result.rates, results[reference].rates, strict=True)
        ratio = spread([a / b for a, b in pairs], ".3f")
        start = result.seconds_to_first_update
        cells = (
            name,
            spread(result.rates, ",.0f"),
            "" if name == reference else reference,
            "" if name == reference else ratio,
            f"{result.peak_megabytes:,.0f}",
            f"{start:.1f}" if start is not None and not name.startswith("limit") else "",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def step_summary(results: dict[str, Measurement]) -> Iterator[str]:
    """Yield what follows from the section `step`, by precision."""
    for precision in PRECISIONS:
        of = {
            name: results[f"{name}, {precision}"].rates
            for name in ("fit", "bare updates", "plain updates", "compiled updates")
        }
        for one, other in (
            ("fit", "bare updates"),
            ("fit", "plain updates"),
            ("compiled updates", "bare updates"),
        ):
            pairs = zip(of[one], of[other], strict=True)
            ratio = spread([a / b for a, b in pairs], ".3f")
            yield f"- {precision}: {one} at {ratio} of the rate of {other}"
