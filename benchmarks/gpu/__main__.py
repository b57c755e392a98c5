"""Run all parts within a time limit; each survives the failure of another.

    tests   the tests that need a GPU
    fit     the main config to its end, then its test: time and accuracy
    speed   the updates bare, written plainly, compiled and captured, by batch size; and `fit`
    ranks   two processes that share the card over gloo, against one process
    study   as many runs of a study as the time allows, several at once

Results go to OUT as they come, a JSON file a part, with the study's table, curves and pictures in
`study.tar.gz` and all output in `log.txt`. The last lines are a summary.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parent.parent.parent
PARTS = ("tests", "fit", "speed", "ranks", "study")
# Share of the whole time that a part may take; the study, which comes last, takes what is left.
SHARES = {"tests": 0.2, "fit": 0.25, "speed": 0.25, "ranks": 0.15, "study": 1.0}


def main() -> int:
    """Run the parts; return 1 if one of them failed."""
    options = parsed()
    options.out.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + 60 * options.minutes
    results: dict[str, Any] = {"machine": machine(options.device)}
    write(options.out / "summary.json", results)
    for part in options.parts.split(","):
        left = end - time.monotonic()
        limit = min(left, SHARES[part] * 60 * options.minutes) - 5
        results[part] = run(part, options, max(limit, 1.0))
        write(options.out / "summary.json", results)
    print(json.dumps(results, indent=1))
    for part, result in results.items():
        print(f"{part:>8}  {result.get('line', result)}")
    return int(any("failed" in result for result in results.values()))


def parsed() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--minutes", type=float, default=9.0, help="time for all parts together")
    parser.add_argument("--parts", default=",".join(PARTS), help="which parts, joined by commas")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--study", default="paper_table", help="the study to run")
    parser.add_argument("--only", default="*", help="its runs of this name; * and ? are wild")
    parser.add_argument("--jobs", type=int, default=8, help="runs at once")
    parser.add_argument("--batches", type=int, default=0, help="batches of `fit`; 0 for all")
    options = parser.parse_args()
    for part in options.parts.split(","):
        if part not in PARTS:
            parser.error(f"--parts {options.parts}: {part} is none of {', '.join(PARTS)}")
    return options


def run(part: str, options: argparse.Namespace, limit: float) -> dict[str, Any]:
    """Run one part as a process of its own; return what it has written, or how it failed."""
    arguments = [str(options.out), options.device, f"{limit:.0f}"]
    arguments += [options.study, options.only, str(options.jobs), str(options.batches)]
    command = [sys.executable, "-m", f"benchmarks.gpu.{part}", *arguments]
    start = time.monotonic()
    with (options.out / "log.txt").open("a") as log:
        print(f"\n==== {part}, at most {limit:.0f} s", file=log, flush=True)
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            # The study ends by itself; the others are killed a little after their time.
            code: int | str = process.wait(timeout=limit + 5)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()
            code = "time"
    path = options.out / f"{part}.json"
    result = json.loads(path.read_text()) if path.is_file() else {}
    result["seconds"] = round(time.monotonic() - start, 1)
    if code != 0:
        result["failed"] = f"exit code {code}" if code != "time" else f"stopped after {limit:.0f} s"
        result["line"] = f"FAILED ({result['failed']}) {result.get('line', '')}"
    print(f"{part:>8}  {result['seconds']} s  {result.get('line', '')}", flush=True)
    return result


def machine(device: str) -> dict[str, Any]:
    """Return what the measurements are made on."""
    import pytorch_lightning as pl

    facts: dict[str, Any] = {"torch": torch.__version__, "lightning": pl.__version__}
    facts |= {"python": sys.version.split()[0], "date": time.strftime("%Y-%m-%d")}
    facts["cores"] = len(os.sched_getaffinity(0))
    if device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        facts |= {"card": properties.name, "gigabytes": round(properties.total_memory / 2**30)}
        facts["cuda"] = torch.version.cuda
    facts["line"] = ", ".join(f"{name} {value}" for name, value in facts.items())
    return facts


def write(path: Path, content: Any) -> None:
    """Write JSON."""
    path.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
