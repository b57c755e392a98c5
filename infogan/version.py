"""Which code runs: its name, the package's version and the commit of its own checkout."""

import subprocess
import sys
from pathlib import Path

from infogan import __version__
from infogan.files import ROOT

# What a result depends on; an edited page of the documentation is no other code.
CODE = ("cli.py", "infogan", "datamodules", "configs")


def checkout_commit() -> str | None:
    """Return the commit of the package's own checkout, `-dirty` if its code differs.

    None for an installed package, even if its environment lies in some other repository.
    """
    if not (ROOT / ".git").exists():
        return None

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(ROOT), *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=10, check=True
        ).stdout.strip()

    try:
        commit = git("rev-parse", "--short=12", "HEAD")
        return commit + ("-dirty" if git("status", "--porcelain", "-uno", "--", *CODE) else "")
    except (OSError, subprocess.SubprocessError):
        return None


def code_version() -> str:
    """Return the package's version, with the commit where there is a checkout."""
    commit = checkout_commit()
    return __version__ if commit is None else f"{__version__}+{commit}"


def program() -> str:
    """Return what the user calls the program: `infogan` where it is installed, or `cli.py`."""
    path = Path(sys.argv[0])
    is_installed = path.stem == "infogan" or path.parts[-2:] == ("infogan", "__main__.py")
    return "infogan" if is_installed else "cli.py"
