"""Train the main config to its end: seconds, rate and accuracy on validation images."""

import csv
import shutil
import statistics

from benchmarks.gpu.part import Part, timed


def main() -> None:
    """Run `fit`."""
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


def short_fit(batches: int) -> tuple[str, ...]:
    """Return the options of a training of a few batches; none for 0."""
    if not batches:
        return ()
    return (
        *("--trainer.max_epochs=1", f"--trainer.limit_train_batches={batches}"),
        *("--trainer.log_every_n_steps=1", "--data.init_args.batch_size=8"),
    )


def values(rows: list[dict[str, str]], name: str) -> list[float]:
    """Return the logged values of a name."""
    return [float(row[name]) for row in rows if row.get(name)]


if __name__ == "__main__":
    main()
