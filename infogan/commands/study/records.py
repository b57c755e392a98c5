"""What the runner keeps beside a member's run folders: what it is, and how it ended."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from infogan import __version__
from infogan.commands.runs import ACCURACY, OUTCOMES, RunRecord, newest_run
from infogan.commands.study.definition import Member
from infogan.files import ROOT, Row, write_file
from infogan.version import checkout_commit

# Ends after which there is nothing left to run; a crash is tried again by the next study.
RESULTS = frozenset(OUTCOMES.values())


@dataclass(frozen=True)
class MemberFolder:
    """The folder of one member in the study's folder of runs.

    Args:
        member: The member.
        study_dir: The study's folder of runs, the members' `save_dir`.
    """

    member: Member
    study_dir: Path

    @property
    def path(self) -> Path:
        """The folder, which holds the member's `version_N` and `test`."""
        return self.study_dir / self.member.name

    @property
    def lock_path(self) -> Path:
        """The lock of whoever is at work on the member."""
        return self.study_dir / f"{self.member.name}.lock"

    def prepare(self) -> None:
        """Note what runs here and with which code; put what another definition left aside."""
        config_hash, commit = self.member.config_hash(), checkout_commit() or __version__
        known = self._read("member.json")
        if known and known["config_hash"] != config_hash:
            aside = self.path.with_name(f"{self.path.name}.{known['config_hash']}")
            self.path.rename(free_name(aside))
            known = {}
        commits = known.get("git_commits", "").split()
        if commit not in commits:
            commits.append(commit)
        record = {"config_hash": config_hash, "git_commits": " ".join(commits)}
        write_file(self.path / "member.json", json.dumps(record, indent=2) + "\n")

    def row(self) -> Row:
        """Return the row that was recorded for this definition; empty if there is none."""
        row = self._read("row.json")
        return row if row.get("config_hash") == self.member.config_hash() else {}

    def can_be_scored(self) -> bool:
        """Return whether this definition's training has ended and left a checkpoint."""
        run = newest_run(self.path)
        known = self._read("member.json").get("config_hash") == self.member.config_hash()
        return known and run is not None and run.has_ended and run.last_checkpoint.is_file()

    def record_end(self, study: str) -> Row:
        """Write and return the row of a run that came to an end of its own, good or bad."""
        run = newest_run(self.path)
        assert run is not None and run.has_ended
        end, reason = run.summary["outcome"], run.summary.get("reason", "")
        outcome = OUTCOMES[end]
        return self.record(study, outcome, cause="" if end == outcome else end, reason=reason)

    def record(self, study: str, outcome: str, cause: str = "", reason: str = "") -> Row:
        """Write and return the member's row of the table."""
        run = newest_run(self.path)
        row = {
            "study": study,
            "setting": self.member.setting,
            "seed": str(self.member.seed),
            **dict(self.member.labels),
            "config": " ".join(Path(config).name for config in self.member.configs),
            **self._read("member.json"),
            "outcome": outcome,
            "cause": cause,
            "reason": anonymous(reason.partition("; last checkpoint: ")[0]),
            **(measures(run, self.path / "test") if run is not None else {}),
        }
        row = {name: value for name, value in row.items() if value != ""}
        write_file(self.path / "row.json", json.dumps(row, indent=2) + "\n")
        return row

    def _read(self, name: str) -> Row:
        try:
            return dict(json.loads((self.path / name).read_text()))
        except FileNotFoundError:
            return {}


def measures(run: RunRecord, test_folder: Path) -> Row:
    """Return all numbers of a member, as they stand in its files."""
    best = run.best(ACCURACY)
    tested = newest_run(test_folder)
    seconds = run.summary.get("duration_seconds")
    return {
        "precision": str(run.summary.get("precision", "")),
        "val_split": run.val_split,
        "steps": str(run.summary.get("steps", run.steps)),
        # The run adds up its own sessions; the time between them is in none.
        "duration_seconds": "" if seconds is None else str(seconds),
        **({f"best/{ACCURACY}": str(best.value), "best_step": str(best.step)} if best else {}),
        **run.newest_values("train"),
        **run.newest_values("val"),
        **(tested.newest_values("test") if tested is not None else {}),
    }


def anonymous(text: str) -> str:
    """Return a text as one line without the place where the study ran."""
    for place in (ROOT, Path.cwd(), Path.home()):
        if len(place.parts) > 1:
            text = text.replace(f"{place}{os.sep}", "")
    return " ".join(text.split())


def free_name(path: Path) -> Path:
    """Return a path that does not exist yet, numbered if need be."""
    candidate, number = path, 1
    while candidate.exists():
        candidate, number = path.with_name(f"{path.name}.{number}"), number + 1
    return candidate
