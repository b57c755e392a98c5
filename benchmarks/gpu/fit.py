"""Train the main config to its end, then test it: seconds and accuracy."""

import csv
import shutil
import statistics
from pathlib import Path

from benchmarks.gpu.part import Part, timed


def main() -> None:
    """Run `fit` and `test`."""
    part = Part.of_arguments()
    runs = part.scratch / "fit"
    shutil.rmtree(runs, ignore_errors=True)
    fit = timed(
        *("cli.py", "fit", "--config=infogan_mnist.yaml", f"--save_dir={runs}"),
        *("--wandb=disabled", *part.accelerator, *(short_fit(part.batches))),
    )
    folder = runs / "infogan_mnist" / "version_0"
    rows = list(csv.DictReader((folder / "metrics.csv").open()))
    rate = statistics.median(values(rows, "train/images_per_second"))
    accuracies = values(rows, "val/code_accuracy")
    shutil.copy(folder / "overview.png", part.out / "fit_overview.png")
    shutil.copy(folder / "metrics.csv", part.out / "fit_metrics.csv")
    result = {"fit_seconds": fit, "images_per_second": rate, "val_code_accuracy": accuracies[-1]}
    line = f"fit {fit} s at {rate:.0f} images/s, validation accuracy {accuracies[-1]:.4f}"
    part.write("fit", line, **result)
    seconds = timed(
        *("cli.py", "test", f"--ckpt_path={folder}/checkpoints/last.ckpt", *part.accelerator),
        *(short_test(part.batches)),
    )
    scores = tested(runs / "infogan_mnist" / "test" / "version_0" / "metrics.csv")
    line += f", test {seconds} s, accuracy {scores['test/code_accuracy']:.4f}"
    part.write("fit", line, **result, test_seconds=seconds, test=scores)


def short_fit(batches: int) -> tuple[str, ...]:
    """Return the options of a training of a few batches; none for 0."""
    if not batches:
        return ()
    return (
        *("--trainer.max_epochs=1", f"--trainer.limit_train_batches={batches}"),
        *("--trainer.log_every_n_steps=1", "--data.init_args.batch_size=8"),
    )


def short_test(batches: int) -> tuple[str, ...]:
    """Return the options of a test of such a training."""
    if not batches:
        return ()
    return (
        *("--trainer.limit_test_batches=2", "--encoder_probe.num_train=200"),
        *("--sample_quality.num_images=20", "--sample_quality.judge.num_steps=2"),
    )


def values(rows: list[dict[str, str]], name: str) -> list[float]:
    """Return the logged values of a name."""
    return [float(row[name]) for row in rows if row.get(name)]


def tested(path: Path) -> dict[str, float]:
    """Return the scores of a test."""
    scores: dict[str, float] = {}
    for row in csv.DictReader(path.open()):
        scores |= {name: float(v) for name, v in row.items() if v and name.startswith("test/")}
    return scores


if __name__ == "__main__":
    main()
