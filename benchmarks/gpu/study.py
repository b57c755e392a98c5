"""Run as many runs of a study as the time allows; pack what is small of their results."""

import os
import shutil
import subprocess
import sys
import tarfile
import time

from benchmarks.gpu.part import ROOT, Part

# For packing; the study itself stops its runs, with their state saved, some seconds before.
SECONDS_TO_PACK = 20.0


def main() -> int:
    """Run the study's command with a time limit; return its exit code unless it ran out of time."""
    part = Part.of_arguments()
    data, runs = part.scratch / "studies", part.scratch / "study_runs"
    shutil.rmtree(data, ignore_errors=True)
    shutil.rmtree(runs, ignore_errors=True)
    minutes = max(part.seconds - SECONDS_TO_PACK, 1.0) / 60
    command = [sys.executable, "cli.py", "study", part.study, f"--only={part.only}"]
    command += [f"--jobs={part.jobs}", f"--save_dir={runs}", f"--data_dir={data}"]
    start = time.monotonic()
    code = subprocess.run(
        [*command, f"--time_limit={minutes:.2f}"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    ).returncode
    seconds = time.monotonic() - start
    for log in runs.glob("*/*/*.log"):
        # The end of a run that failed says why.
        target = data / "logs" / f"{log.parent.name}_{log.name}"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(log.read_bytes()[-4000:])
    tables = list(data.glob("*.csv"))
    rows = sum(len(table.read_text().splitlines()) - 1 for table in tables)
    with tarfile.open(part.out / "study.tar.gz", "w:gz") as archive:
        archive.add(data, "studies")
    line = f"{rows} runs in {seconds:.0f} s, {part.jobs} at once"
    part.write("study", line, rows=rows, study_seconds=round(seconds), exit_code=code)
    return 0 if rows else 1


if __name__ == "__main__":
    sys.exit(main())
