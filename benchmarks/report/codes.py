"""What the two continuous codes of a run stand for, by the partial correlations in a table."""

from itertools import permutations

from benchmarks.report.data import NO_DATA, Runs
from infogan.files import Row

MEASURES = ("slant", "thickness")


def lowest(values: list[float], digits: int = 3) -> str:
    """Return the smallest of some values as a text."""
    return f"{min(values):.{digits}f}" if values else NO_DATA


def highest(values: list[float], digits: int = 3) -> str:
    """Return the largest of some values as a text."""
    return f"{max(values):.{digits}f}" if values else NO_DATA


def correlation(row: Row, way: str, measure: str, code: str) -> float:
    """Return one partial correlation r of a row, `way` being `generative` or `inferential`."""
    return float(row[f"test/morpho_{way}_{measure}_{code}"])


def codes_of(row: Row) -> list[str]:
    """Return the names of a row's continuous codes, such as `uniform1`, in their order."""
    first = "test/morpho_generative_slant_"
    return sorted((name.removeprefix(first) for name in row if name.startswith(first)), key=place)


def place(code: str) -> str:
    """Return a code's place among all codes, the end of its name."""
    return code[-1]


def assigned(row: Row) -> tuple[str, ...]:
    """Return the code that stands for the slant, and the one for the thickness.

    Of the two ways to give each measure a code of its own, it is the one with the larger sum of
    |r|, by the generative correlations.
    """

    def total(codes: tuple[str, ...]) -> float:
        pairs = zip(MEASURES, codes, strict=True)
        return sum(abs(correlation(row, "generative", measure, code)) for measure, code in pairs)

    return max(permutations(codes_of(row), 2), key=total)


class Codes:
    """The |r| of some runs' codes with the slant and the thickness of strokes, one value a run.

    Args:
        runs: The runs; those without the measures do not count.
        way: `generative`, by what G draws, or `inferential`, by what Q reads from real images.
    """

    def __init__(self, runs: Runs, way: str = "generative") -> None:
        runs.values(f"test/morpho_{way}_slant_uniform2")
        self.rows, self.way = [row for row in runs.rows if len(codes_of(row)) == 2], way

    def strongest(self, measure: str) -> list[float]:
        """Return the larger |r| of the two codes with a measure."""
        return [
            max(self._absolute(row, measure, code) for code in codes_of(row)) for row in self.rows
        ]

    def own(self, measure: str) -> list[float]:
        """Return the |r| with a measure of the code that stands for it."""
        index = MEASURES.index(measure)
        return [self._absolute(row, measure, assigned(row)[index]) for row in self.rows]

    def other(self) -> list[float]:
        """Return the larger |r| of a code with the measure that the other code stands for."""
        return [
            max(
                self._absolute(row, measure, code)
                for measure, code in zip(MEASURES, reversed(assigned(row)), strict=True)
            )
            for row in self.rows
        ]

    def misses(self, own: float, other: float) -> int:
        """Return the number of runs with a code under `own` or over `other`."""
        columns = (self.own("slant"), self.own("thickness"), self.other())
        return sum(
            min(slant, thickness) < own or across > other
            for slant, thickness, across in zip(*columns, strict=True)
        )

    def pairs(self, at_least: float, others: tuple[str, ...] = ("thickness", "width")) -> int:
        """Return the number of runs with the slant in one code and one of `others` in the other.

        Args:
            at_least: The |r| that both must reach.
            others: Measures that the second code may stand for.
        """
        return sum(
            any(
                self._absolute(row, "slant", first) >= at_least
                and any(self._absolute(row, other, second) >= at_least for other in others)
                for first, second in permutations(codes_of(row))
            )
            for row in self.rows
        )

    def _absolute(self, row: Row, measure: str, code: str) -> float:
        return abs(correlation(row, self.way, measure, code))
