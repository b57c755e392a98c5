"""Test what the part `fit` has trained."""

import csv

from benchmarks.gpu.part import Part, timed


def main() -> None:
    """Run `test`, and write its scores."""
    part = Part.of_arguments()
    runs = part.scratch / "fit" / "infogan_mnist"
    seconds = timed(
        *("cli.py", "test", f"--ckpt_path={runs}/version_0/checkpoints/last.ckpt"),
        *(*part.accelerator, *short_test(part.batches)),
    )
    scores: dict[str, float] = {}
    for row in csv.DictReader((runs / "test" / "version_0" / "metrics.csv").open()):
        scores |= {name: float(v) for name, v in row.items() if v and name.startswith("test/")}
    line = f"test accuracy {scores['test/code_accuracy']:.4f} in {seconds} s"
    part.write("score", line, seconds_of_test=seconds, scores=scores)


def short_test(batches: int) -> tuple[str, ...]:
    """Return the options of a test of a training of a few batches; none for 0."""
    if not batches:
        return ()
    return (
        *("--trainer.limit_test_batches=2", "--encoder_probe.num_train=200"),
        *("--sample_quality.num_images=20", "--sample_quality.judge.num_steps=2"),
        "--morphometrics.num_images=50",
    )


if __name__ == "__main__":
    main()
