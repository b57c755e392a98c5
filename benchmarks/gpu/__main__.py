"""Run all parts within a time limit; each survives the failure of another.

    fit     the main config to its end: seconds, rate, accuracy
    speed   the updates bare, written plainly, compiled and captured, by batch size; and `fit`
    many    several processes on the card: alone, in turns, side by side
    tests   the tests that need a GPU
    ranks   two processes that share the card over gloo, against one process
    score   the test of what `fit` has trained
    study   as many runs of studies as the time allows, several at once

The first three, whose seconds count, run alone, one after the other; then the rest side by side.
Results go to OUT as they come, a JSON file a part, with the studies' tables, curves and pictures in
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
# Those that run alone with the share of the whole time that each may take.
ALONE = {"fit": 0.3, "speed": 0.2, "many": 0.15}
TOGETHER = ("tests", "ranks", "score", "study")
PARTS = (*ALONE, *TOGETHER)


def main() -> int:
    """Run the parts; return 1 if one of them failed."""
    options = parsed()
    options.out.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + 60 * options.minutes
    results: dict[str, Any] = {"machine": machine(options.device)}
    wanted = options.parts.split(",")
    for part in (part for part in ALONE if part in wanted):
        limit = min(end - time.monotonic(), ALONE[part] * 60 * options.minutes)
        results[part] = finish(part, start(part, options, limit), options, limit)
        write(options.out / "summary.json", results)
    limit = end - time.monotonic()
    running = {part: start(part, options, limit) for part in TOGETHER if part in wanted}
    for part, process in running.items():
        results[part] = finish(part, process, options, end - time.monotonic())
        write(options.out / "summary.json", results)
    for part, result in results.items():
        print(f"{part:>8}  {result['line']}")
    return int(any("failed" in result for result in results.values()))


def parsed() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--minutes", type=float, default=9.0, help="time for all parts together")
    parser.add_argument("--parts", default=",".join(PARTS), help="which parts, joined by commas")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--studies", default="paper_table", help="see benchmarks/gpu/study.py")
    parser.add_argument("--jobs", type=int, default=8, help="runs at once")
    parser.add_argument("--batches", type=int, default=0, help="batches of `fit`; 0 for all")
    options = parser.parse_args()
    for part in options.parts.split(","):
        if part not in PARTS:
            parser.error(f"--parts {options.parts}: {part} is none of {', '.join(PARTS)}")
    return options


def start(part: str, options: argparse.Namespace, limit: float) -> subprocess.Popen[bytes]:
    """Start one part as a process of its own."""
    arguments = [str(options.out), options.device, f"{limit - 3:.0f}", options.studies]
    arguments += [str(options.jobs), str(options.batches)]
    command = [sys.executable, "-m", f"benchmarks.gpu.{part}", *arguments]
    with (options.out / f"{part}.log").open("w") as log:
        return subprocess.Popen(
            command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )


def finish(
    part: str, process: subprocess.Popen[bytes], options: argparse.Namespace, limit: float
) -> dict[str, Any]:
    """Wait for a part, at most some seconds; return what it has written, or how it failed."""
    begin = time.monotonic()
    try:
        failed = f"exit code {process.wait(timeout=max(limit, 1))}"
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        process.wait()
        failed = f"stopped after {limit:.0f} s"
    path = options.out / f"{part}.json"
    result = json.loads(path.read_text()) if path.is_file() else {"line": ""}
    path.unlink(missing_ok=True)
    log = options.out / f"{part}.log"
    with (options.out / "log.txt").open("ab") as whole:
        whole.write(f"\n==== {part}\n".encode() + log.read_bytes()[-2_000_000:])
    log.unlink()
    if failed != "exit code 0":
        result |= {"failed": failed, "line": f"FAILED ({failed}) {result['line']}"}
    print(f"{part:>8}  {time.monotonic() - begin:.0f} s  {result['line']}", flush=True)
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
