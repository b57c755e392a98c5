"""Run as much of some studies as the time allows, several runs at once; pack what is small."""

import os
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

from benchmarks.gpu.many import multi_process_service
from benchmarks.gpu.part import ROOT, Part

# For runs that are stopped to save their state, and for packing.
SECONDS_TO_END = 25.0


def chains(text: str) -> list[list[tuple[str, str]]]:
    """Return the studies to run, each with the names of its runs: chains side by side.

    Args:
        text: Chains joined by commas; a chain is of studies joined by `+`, one after the other; a
            study is `NAME` or `NAME:RUNS`, with the wild characters of `study --only`.
    """
    return [
        [(name, only or "*") for name, _, only in (study.partition(":") for study in chain)]
        for chain in (chain.split("+") for chain in text.split(","))
    ]


def run_chain(chain: list[tuple[str, str]], jobs: int, end: float, part: Part) -> list[int]:
    """Run the studies of a chain until a moment; return their exit codes."""
    codes = []
    for name, only in chain:
        minutes = (end - time.monotonic()) / 60
        if minutes <= 0:
            break
        command = [sys.executable, "cli.py", "study", name, f"--only={only}", f"--jobs={jobs}"]
        command += [f"--save_dir={part.scratch / 'study_runs'}", f"--time_limit={minutes:.2f}"]
        command += [f"--data_dir={part.scratch / 'studies'}"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "100"}
        codes.append(subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode)
    return codes


def failures(part: Part) -> Iterator[tuple[str, bytes]]:
    """Yield the end of every log of a run."""
    for log in (part.scratch / "study_runs").glob("*/*.log"):
        yield f"{log.parent.name}_{log.name}", log.read_bytes()[-3000:]


def main() -> int:
    """Run the studies and pack their tables, curves and pictures; return 0 if there are rows."""
    part = Part.of_arguments()
    data = part.scratch / "studies"
    for folder in (data, part.scratch / "study_runs"):
        shutil.rmtree(folder, ignore_errors=True)
    together = chains(part.studies)
    start = time.monotonic()
    end = start + max(part.seconds - SECONDS_TO_END, 1.0)
    on_card = part.device == "cuda"
    service = multi_process_service(part.scratch / "mps") if on_card else nullcontext()
    with service, ThreadPoolExecutor(len(together)) as pool:
        jobs = max(part.jobs // len(together), 1)
        codes = list(pool.map(lambda chain: run_chain(chain, jobs, end, part), together))
    seconds = time.monotonic() - start
    (data / "logs").mkdir(parents=True, exist_ok=True)
    for name, text in failures(part):
        (data / "logs" / name).write_bytes(text)
    rows = sum(len(table.read_text().splitlines()) - 1 for table in data.glob("*.csv"))
    with tarfile.open(part.out / "study.tar.gz", "w:gz") as archive:
        archive.add(data, "studies")
    line = f"{rows} runs in {seconds:.0f} s, {part.jobs} at once"
    part.write("study", line, rows=rows, study_seconds=round(seconds), exit_codes=codes)
    return 0 if rows else 1


if __name__ == "__main__":
    sys.exit(main())
