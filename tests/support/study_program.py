"""Stands for a member's process in tests of studies: leaves the files of `fit` and `test`, at once.

What a member is to do is its option `--act`; a run "trains" by a formula of seed and step.
"""

import argparse
import functools
import json
import os
import signal
import sys
import time
from pathlib import Path

import yaml
from PIL import Image

from infogan.commands.study import child, command, runner
from infogan.files import write_file

STEPS = 8
PROGRAM = (sys.executable, __file__)
StudyRunner = functools.partial(runner.Runner, program=PROGRAM)


def note(event: str, name: str) -> None:
    """Append a line to the diary of all processes, which the tests read."""
    gpu = os.environ.get("CUDA_VISIBLE_DEVICES", "-")
    with Path("diary.txt").open("a") as file:
        file.write(f"{event} {name} {os.environ['OMP_NUM_THREADS']} {gpu}\n")


def accuracy(seed: int, step: int) -> float:
    return 1 - 1 / (seed + step + 1)


def write_metrics(folder: Path, seed: int, step: int) -> None:
    lines = ["step,train/generator_loss,train/images_per_second,train/mi,val/code_accuracy"]
    for done in range(1, step + 1):
        lines.append(f"{done},{done / 8},{time.time()},{seed + done / 16},")
        if done % 2 == 0:
            lines.append(f"{done},,,,{accuracy(seed, done)}")
    (folder / "metrics.csv").write_text("\n".join(lines) + "\n")


def end(folder: Path, step: int, outcome: str, started: float, reason: str = "") -> None:
    summary = {"outcome": outcome, "reason": reason, "steps": step, "val_split": "5000 of train"}
    summary["duration_seconds"] = round(time.time() - started, 1)
    (folder / "summary.json").write_text(json.dumps(summary))


def fit(options: argparse.Namespace) -> int:
    started = time.time()
    versions = sorted((options.save_dir / options.name).glob("version_*"))
    step = 0
    if options.ckpt_path == "last":
        folder = versions[-1]
        step = int((folder / "checkpoints/last.ckpt").read_text())
    else:
        folder = options.save_dir / options.name / f"version_{len(versions)}"
        (folder / "checkpoints").mkdir(parents=True)
        trainer = {"max_epochs": STEPS // 2, "limit_train_batches": 2, "max_steps": -1}
        (folder / "config.yaml").write_text(yaml.safe_dump({"trainer": trainer}))
    note(f"fit-from-{step}", options.name)
    while step < STEPS:
        step += 1
        write_metrics(folder, options.seed_everything, step)
        if step == 5 and options.act == "won":
            reason = f"run stopped at step 5 (discriminator_won): D; last checkpoint: {folder}"
            end(folder, step, "discriminator_won", started, reason)
            return 3
        if step == 1 and options.act == "nan":
            end(folder, step, "non_finite", started, "run stopped at step 1 (non_finite): NaN")
            return 3
        if step == 5 and options.act == "crash":
            raise RuntimeError(f"no luck in {Path.cwd()}/somewhere")
        if step == 5 and options.act == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if step % 2 == 0:
            write_file(folder / "checkpoints/last.ckpt", str(step), sync=False)
        if options.act == "slow":
            time.sleep(0.1)
            # Until it is killed, whatever else the machine does.
            if step == 5 and Path("hold").exists():
                time.sleep(60)
    Image.new("RGB", (8, 8)).save(folder / "overview.png")
    end(folder, step, "finished", started)
    note("end", options.name)
    return 0


def test(options: argparse.Namespace) -> int:
    run = options.ckpt_path.parent.parent
    note("test", run.parent.name)
    if (run.parent / "no_test").exists():
        print("Traceback ...\nOSError: no disk")
        return 1
    folder = run.parent / "test" / "version_0"
    folder.mkdir(parents=True, exist_ok=True)
    step = int(options.ckpt_path.read_text())
    (folder / "metrics.csv").write_text(f"step,test/code_accuracy\n0,{step / 16}\n")
    return 0


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser()
    verbs = parser.add_subparsers(dest="verb")
    fitting = verbs.add_parser("fit")
    for name, kind in (("config", str), ("name", str), ("save_dir", Path), ("ckpt_path", str)):
        fitting.add_argument(f"--{name}", type=kind)
    fitting.add_argument("--seed_everything", type=int)
    fitting.add_argument("--act")
    verbs.add_parser("test").add_argument("--ckpt_path", type=Path)
    options, _ = parser.parse_known_args(argv)
    return fit(options) if options.verb == "fit" else test(options)


if __name__ == "__main__":
    if sys.argv[1:2] == ["study"]:
        # The study itself, as a process of its own.
        setattr(command, "Runner", StudyRunner)  # noqa: B010
        from infogan.commands import main as cli

        sys.exit(cli.main())
    with Path("starts.txt").open("a") as starts:
        starts.write(f"{time.time()}\n")
    sys.exit(child.run(main))
