"""The verb `compare`."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from infogan.commands.compare.page import comparison_page
from infogan.commands.compare.table import (
    as_text_table,
    measure_facts,
    run_labels,
    setting_facts,
    without_details,
)
from infogan.commands.runs import find_runs, read_run
from infogan.errors import ConfigurationError
from infogan.files import write_file


def compare(
    runs: Sequence[str],
    save_dir: str = "runs",
    out: str | None = "compare.html",
    overwrite: bool = False,
) -> None:
    """Compare runs: print how they ended and in which settings they differ, and write one page.

    The page holds the tables, the curves of all log names laid over one another, and the newest
    traversals side by side. It is one HTML file that needs nothing else, and can be sent.

    Args:
        runs: Run folders, or names of experiments in `save_dir`; a name stands for all of its
            runs, NAME/version_N for one of them. Runs that have not ended are shown as unfinished.
        save_dir: Folder of all runs.
        out: The page to write; null for the table alone.
        overwrite: Replace a page that is there already.

    Raises:
        ConfigurationError: If a name stands for no run, a run folder cannot be read, or the page
            exists or cannot be written.
    """
    if out is not None and Path(out).exists() and not overwrite:
        raise ConfigurationError(
            f"out={out} exists; give another name with --out, or --overwrite true"
        )
    records = [read_run(folder) for folder in find_runs(runs, Path(save_dir))]
    lines = [*measure_facts(records), *setting_facts(records)]
    shown, details = (lines, []) if out is None else without_details(lines)
    print(as_text_table(run_labels(records), shown, shutil.get_terminal_size((100, 24)).columns))
    if out is not None:
        page = comparison_page(records)
        try:
            write_file(Path(out), page)
        except OSError as error:
            raise ConfigurationError(
                f"out={out} cannot be written ({error.strerror}); give another name with --out"
            ) from error
        more = f", with {len(details)} correlations with shape" if details else ""
        print(f"\npage  {out}{more}", flush=True)
