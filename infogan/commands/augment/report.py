"""What the study leaves behind: results.csv, results.md, generated.png and lines to follow it."""

import csv
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from torch import Tensor

from infogan.errors import ConfigurationError
from infogan.files import part_name, write_file
from infogan.pictures.grids import annotate, save_png, tile, to_bytes

PICTURE_COLUMNS = 15
# Results as they come in; their file is renamed when all are there.
UNFINISHED, RESULTS, PICTURE, TABLE = "unfinished.csv", "results.csv", "generated.png", "results.md"
OF_INTERRUPTED = {
    *(UNFINISHED, PICTURE, TABLE),
    *(part_name(Path(PICTURE)), part_name(Path(TABLE))),
}

EXPLANATIONS = {
    "recognition": "Q itself as the classifier, its categories named; nothing is trained",
    "labelled": "a classifier trained on the labelled images alone, the baseline",
    "geometric": "the same, each image turned, sheared, scaled and shifted at random",
    "generated": "trained on the labelled and the generated images together",
    "generated+geometric": "both",
}


@dataclass(frozen=True)
class Result:
    """One classifier's result; a row of results.csv.

    Args:
        labels_per_class: Labelled images a class.
        seed: Seed of the labelled images, the samples and the weights.
        condition: What it was trained on, a key of EXPLANATIONS.
        accuracy: Accuracy on the test images, a share in [0, 1].
        naming_correct: Categories that have the name they get if all labels are known.
        steps: Optimizer steps.
        seconds: Time it took.
    """

    labels_per_class: int
    seed: int
    condition: str
    accuracy: float
    naming_correct: int
    steps: int
    seconds: float


class Report:
    """Write results as they come in, to unfinished.csv until all are there.

    An interrupted study keeps what it has until the next one begins in its folder.

    Args:
        folder: Folder to write.
        overwrite: Whether to write into a folder that has files already.

    Raises:
        ConfigurationError: If `overwrite` is false and the folder has other files than those of an
            interrupted study, or it is a file.
    """

    def __init__(self, folder: Path, overwrite: bool) -> None:
        if folder.exists() and not folder.is_dir():
            raise ConfigurationError(f"output={folder} is a file; give a folder")
        found = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
        was_killed = UNFINISHED in found and found <= OF_INTERRUPTED
        if found and not was_killed and not overwrite:
            raise ConfigurationError(
                f"output={folder} has files already: give another folder, or set overwrite to true"
            )
        self.folder = folder
        self.results: list[Result] = []

    def start(self, num_classifiers: int) -> None:
        """Make the folder, begin the list of results and start the clock."""
        self.folder.mkdir(parents=True, exist_ok=True)
        # Those of an older study would stand for those of this one.
        for name in (TABLE, RESULTS):
            (self.folder / name).unlink(missing_ok=True)
        with (self.folder / UNFINISHED).open("w", newline="") as file:
            csv.writer(file).writerow([field.name for field in fields(Result)])
        self.num_classifiers = num_classifiers
        self.started = time.perf_counter()

    def add(self, result: Result) -> None:
        """Append one row to the list and say it in a line."""
        self.results.append(result)
        with (self.folder / UNFINISHED).open("a", newline="") as file:
            csv.writer(file).writerow(asdict(result).values())
        trained = sum(r.steps > 0 for r in self.results)
        remaining = ""
        if trained:
            each = (time.perf_counter() - self.started) / trained
            remaining = f", {each * (self.num_classifiers - trained) / 60:.0f} min left"
        print(
            f"[{trained:3d}/{self.num_classifiers}] {result.labels_per_class} labels a class, "
            f"seed {result.seed}, {result.condition}: {100 * result.accuracy:.1f} % "
            f"({result.seconds:.0f} s{remaining})",
            flush=True,
        )

    def save_picture(self, generated: Tensor, names: Sequence[Tensor]) -> None:
        """Write generated.png: a row a category, in the order of the names.

        Args:
            generated: Images in [0, 1], (categories, per_category, channels, side, side).
            names: The class of each category, (categories,), in every run.
        """
        votes = [Counter(int(name[k]) for name in names) for k in range(len(generated))]
        called = [votes[k].most_common(1)[0] for k in range(len(generated))]
        order = sorted(range(len(generated)), key=lambda k: (called[k][0], k))
        labels = [f"{called[k][0]}  (c={k}, {called[k][1]} of {len(names)})" for k in order]
        picture = tile(to_bytes(generated[order, :PICTURE_COLUMNS]))
        title = "Name (category c, in how many runs it is so named): sampled images"
        save_png(self.folder / PICTURE, annotate(picture, title, labels))

    def save_table(self, setting: Sequence[str], num_categories: int) -> str:
        """Write results.md, let the list be results.csv, and return the table.

        Args:
            setting: Lines on how the study was set up.
            num_categories: Number of categories that have been named.
        """
        table = self.table(num_categories)
        num_seeds = len({result.seed for result in self.results})
        spread = ", mean ± standard deviation" if num_seeds > 1 else ""
        explanations = [f"- **{name}**: {text}." for name, text in EXPLANATIONS.items()]
        lines = [
            "# An InfoGAN as data augmentation (appendix D)",
            "",
            f"Accuracy on the test images in percent over {num_seeds} seed(s){spread}.",
            "",
            table,
            "",
            *explanations,
            "- **names**: categories that are named as they would be if all labels were known.",
            "",
            *[f"- {line}" for line in setting],
        ]
        write_file(self.folder / TABLE, "\n".join(lines) + "\n")
        (self.folder / UNFINISHED).replace(self.folder / RESULTS)
        return table

    def table(self, num_categories: int) -> str:
        """Return the results as a table in Markdown, a row a number of labels."""
        rows = [["labels a class", *EXPLANATIONS, "names"]]
        for number in sorted({result.labels_per_class for result in self.results}):
            here = [r for r in self.results if r.labels_per_class == number]
            by_condition = [
                summary([100 * r.accuracy for r in here if r.condition == condition])
                for condition in EXPLANATIONS
            ]
            named = [r.naming_correct for r in here if r.condition == "recognition"]
            names = f"{statistics.mean(named):.3g} of {num_categories}"
            rows.append([str(number), *by_condition, names])
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        rows.insert(1, ["-" * (width - 1) + ":" for width in widths])
        return "\n".join(
            f"| {' | '.join(cell.rjust(w) for cell, w in zip(row, widths, strict=True))} |"
            for row in rows
        )


def summary(values: Sequence[float]) -> str:
    """Return mean ± sample standard deviation; of one value, the value."""
    if len(values) == 1:
        return f"{values[0]:.1f}"
    return f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f}"
