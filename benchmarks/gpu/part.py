"""What the parts share: their arguments, commands with a time, results."""

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent


@dataclass(frozen=True)
class Part:
    """The arguments of a part.

    Args:
        out: Folder of the results.
        device: `cuda` or `cpu`.
        seconds: Its time.
        studies: The studies to run; see `study.py`.
        jobs: Runs at once.
        batches: Batches of `fit`; 0 for all.
    """

    out: Path
    device: str
    seconds: float
    studies: str
    jobs: int
    batches: int

    @classmethod
    def of_arguments(cls) -> "Part":
        """Return the arguments of this process."""
        out, device, seconds, studies, jobs, batches = sys.argv[1:]
        return cls(Path(out), device, float(seconds), studies, int(jobs), int(batches))

    @property
    def accelerator(self) -> tuple[str, ...]:
        """The options of `fit` and `test` that choose the device."""
        kind = "gpu" if self.device == "cuda" else "cpu"
        return (f"--trainer.accelerator={kind}", "--trainer.devices=1")

    @property
    def scratch(self) -> Path:
        """A folder for what is large and not kept, in memory where there is such a file system."""
        memory = Path("/dev/shm")
        folder = (memory if memory.is_dir() else self.out) / "infogan_gpu"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def write(self, name: str, line: str, **result: Any) -> None:
        """Write the result of a part, or what there is of it so far."""
        content = {"line": line, **result}
        (self.out / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")


def timed(*command: str) -> float:
    """Run a command in the repository; return its seconds.

    Raises:
        subprocess.CalledProcessError: If it fails.
    """
    start = time.monotonic()
    subprocess.run([sys.executable, *command], cwd=ROOT, check=True)
    return round(time.monotonic() - start, 1)
