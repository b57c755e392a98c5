"""Keep of a run what is worth to be committed: `python benchmarks/curves.py OUT_DIR RUN_FOLDER...`.

Writes, per run folder `.../NAME/version_N`, `OUT_DIR/NAME.csv` with thinned curves and
`OUT_DIR/NAME.json`, its summary.
"""

import json
import sys
from pathlib import Path

from infogan.commands.runs import RunRecord
from infogan.commands.study.table import CURVES, thinned
from infogan.files import write_file


def keep(out_dir: Path, folder: Path) -> None:
    """Write one run's thinned curves and its summary."""
    run = RunRecord(folder)
    if not run.rows or not run.summary:
        sys.exit(f"error: {folder} is no run folder of a run that has ended")
    columns = ("step", *CURVES)
    write_file(out_dir / f"{folder.parent.name}.csv", as_csv(thinned(run.rows), columns))
    summary = {name: value for name, value in run.summary.items() if name != "run_folder"}
    write_file(out_dir / f"{folder.parent.name}.json", json.dumps(summary, indent=2) + "\n")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    for argument in sys.argv[2:]:
        keep(Path(sys.argv[1]), Path(argument))
