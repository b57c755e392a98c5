"""Processes that work in turns, so that a machine's ups and downs meet all of them alike.

The benchmarks start one process a variant. Each gets ready, then waits; on its turn it runs so many
updates, past the warm-up, and says how long they took. `python benchmarks/turns.py` is the process.
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, TextIO

import pytorch_lightning as pl
import torch

ROOT = Path(__file__).resolve().parent.parent

WARM_UP = 5
MATRIX_SIDE = 2048


class Turns:
    """The process's side: waits for its turn, and tells what it took.

    Args:
        updates: Updates a turn.
    """

    def __init__(self, updates: int) -> None:
        self.updates = updates
        self.orders: TextIO = os.fdopen(int(os.environ["TURNS_ORDERS"]))
        self.answers: TextIO = os.fdopen(int(os.environ["TURNS_ANSWERS"]), "w")
        self.started = time.perf_counter()
        self.count = 0

    def before_update(self) -> None:
        """Wait at the start of a turn."""
        if self.count >= WARM_UP and (self.count - WARM_UP) % self.updates == 0:
            self.answer(seconds=time.perf_counter() - self.started)
            if not self.orders.readline():
                sys.exit("the benchmark has ended")
            self.started = time.perf_counter()

    def after_update(self) -> None:
        """Count an update; the first says that the process has learned something."""
        if self.count == 0:
            self.answer(first_update=True)
        self.count += 1

    def answer(self, **what: Any) -> None:
        """Say something, and how much memory was used at most so far."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({**what, "peak_megabytes": peak}), file=self.answers, flush=True)


class Process:
    """The benchmark's side: one process that works in turns.

    Args:
        name: What it is.
        arguments: Of `turns.py`.
        threads: Of the process.
        folder: Where it runs.
    """

    def __init__(self, name: str, arguments: Sequence[str], threads: int, folder: Path) -> None:
        self.name, self.log = name, folder / "log"
        folder.mkdir(parents=True)
        orders_read, orders_write = os.pipe()
        answers_read, answers_write = os.pipe()
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": str(threads),
            "PYTHONPATH": str(ROOT),
            "WANDB_SILENT": "true",
            "TURNS_ORDERS": str(orders_read),
            "TURNS_ANSWERS": str(answers_write),
        }
        started = time.perf_counter()
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                (sys.executable, __file__, *arguments),
                cwd=folder,
                env=environment,
                stdout=log,
                stderr=log,
                pass_fds=(orders_read, answers_write),
            )
        os.close(orders_read)
        os.close(answers_write)
        self.orders, self.answers = os.fdopen(orders_write, "w"), os.fdopen(answers_read)
        self.hear()
        self.seconds_to_first_update = time.perf_counter() - started
        self.peak_megabytes: float = self.hear()["peak_megabytes"]

    def hear(self) -> dict[str, Any]:
        """Return what the process says next."""
        line = self.answers.readline()
        if not line:
            sys.exit(f"{self.name} failed:\n{self.log.read_text()[-3000:]}")
        return dict(json.loads(line))

    def turn(self) -> float:
        """Let it work; return the seconds that the turn took."""
        print(file=self.orders, flush=True)
        said = self.hear()
        self.peak_megabytes = said["peak_megabytes"]
        return float(said["seconds"])

    def end(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()
        self.orders.close()
        self.answers.close()


# ---- what the processes do -----------------------------------------------------------------------


class TakeTurns(pl.Callback):
    """Lets `fit` work in turns of so many updates.

    Args:
        updates: Updates a turn.
    """

    def __init__(self, updates: int) -> None:
        self.turns = Turns(updates)

    def on_train_batch_start(self, *_: Any) -> None:
        """Wait for the turn."""
        self.turns.before_update()

    def on_train_batch_end(self, *_: Any) -> None:
        """Count the batch."""
        self.turns.after_update()


def run_fit(updates: int, arguments: Sequence[str]) -> None:
    """Run `fit` as a user does, with one callback more."""
    import cli

    callback = {"class_path": "turns.TakeTurns", "init_args": {"updates": updates}}
    sys.exit(cli.main(["fit", *arguments, f"--trainer.callbacks+={json.dumps(callback)}"]))


def run_updates(
    turns: Turns, kind: str, precision: str, batch: int, channels: int, side: int
) -> None:
    """Run the updates bare, or as they are written plainly."""
    from updates import UPDATES, paper_module

    step = UPDATES[kind](paper_module(channels, side))
    batches = torch.rand(8, batch, channels, side, side)
    while True:
        turns.before_update()
        with autocast(precision):
            step(batches[turns.count % len(batches)])
        turns.after_update()


def run_matrix_products(turns: Turns, precision: str) -> None:
    """Multiply square matrices: an update is one product."""
    a, b = torch.rand(2, MATRIX_SIDE, MATRIX_SIDE).to(DTYPES[precision])
    while True:
        turns.before_update()
        torch.mm(a, b)
        turns.after_update()


DTYPES = {"32-true": torch.float32, "bf16-mixed": torch.bfloat16}


def autocast(precision: str) -> AbstractContextManager[Any]:
    """Return Lightning's context of that precision on CPUs."""
    if precision == "32-true":
        return nullcontext()
    return torch.autocast("cpu", DTYPES[precision], cache_enabled=False)


def main() -> None:
    """Do what the arguments say."""
    what, updates, *arguments = sys.argv[1:]
    if what == "fit":
        run_fit(int(updates), arguments)
    elif what == "matrix":
        run_matrix_products(Turns(int(updates)), *arguments)
    else:
        precision, *numbers = arguments
        run_updates(Turns(int(updates)), what, precision, *map(int, numbers))


if __name__ == "__main__":
    main()
