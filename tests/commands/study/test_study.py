"""Studies: what a file says, and what is run of it."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from infogan.commands.study import places as study_places
from infogan.commands.study.definition import load_study
from tests import ROOT
from tests.support.studies import TABLE, Command, diary, table
from tests.support.study_program import STEPS, accuracy

pytest_plugins = ["tests.support.study_fixtures"]


# ---- the study file ----------------------------------------------------------------------------


def test_the_papers_table_has_every_config_that_is_a_row() -> None:
    definition = load_study("paper_table.yaml")
    seeds: dict[str, list[int]] = {}
    for member in definition.members:
        seeds.setdefault(member.setting, []).append(member.seed)
    of_the_paper = {
        path.stem
        for path in (ROOT / "configs").glob("*.yaml")
        if path.read_text().startswith(("# Section 5", "# Appendix C"))
    }
    assert len(of_the_paper) >= 16 and set(seeds) >= of_the_paper
    five = ("infogan_mnist", "infogan_line_repaired")
    assert all(len(seeds[name]) == 5 for name in five)
    repaired = [m.setting for m in load_study("rectangles.yaml").members]
    assert repaired.count("infogan_rectangles_repaired") == 5
    assert all(len(own) >= 3 for own in seeds.values())


def test_members_are_every_combination(write: Callable[..., Path], command: Command) -> None:
    path = write(
        seeds=[3, 1],
        overrides={"trainer.max_epochs": 2, "model.init_args.x": 1},
        variants={"noise": {"none": {}, "some": {"model.init_args.x": 0.5}}, "size": {"10": {}}},
        members=["line.yaml", {"config": "line.yaml", "name": "other", "seeds": 7, "variants": {}}],
    )
    members = load_study(str(path)).members
    names = ["line-none-10_seed3", "line-none-10_seed1", "line-some-10_seed3", "line-some-10_seed1"]
    assert [member.name for member in members] == [*names, "other_seed7"]
    assert members[2].labels == (("noise", "some"), ("size", "10"))
    assert dict(members[2].overrides) == {"trainer.max_epochs": 2, "model.init_args.x": 0.5}
    by_seed = [member.name for member in load_study(str(path)).by_seed()]
    assert by_seed == [names[0], names[2], "other_seed7", names[1], names[3]]


def test_the_example_of_the_page_is_a_study(tmp_path: Path) -> None:
    page = (ROOT / "docs/studies.md").read_text()
    path = tmp_path / "example.yaml"
    path.write_text(page.partition("```yaml\n")[2].partition("```")[0])
    names = [member.name for member in load_study(str(path)).members]
    assert len(names) == 8 and "line_short_seed1" in names
    assert "infogan_mnist_paper-small_seed0" in names


def test_a_member_is_an_ordinary_fit(write: Callable[..., Path], command: Command) -> None:
    overrides = {"model.init_args.codes": [{"class_path": "UniformCode"}], "wandb": "offline"}
    path = write(members=[{"config": ["line.yaml", "b.yaml"], "overrides": overrides}], variants={})
    Path("b.yaml").write_text("trainer: {max_epochs: 1}\n")
    (member,) = load_study(str(path)).members
    assert member.fit_arguments(Path("runs/acts")) == [
        *("fit", "--config", "line.yaml", "--config", "b.yaml", "--wandb", "offline"),
        *("--trainer.enable_progress_bar", "false"),
        *("--model.init_args.codes", '[{"class_path": "UniformCode"}]'),
        *("--seed_everything", "0", "--name", "b_seed0", "--save_dir", "runs/acts"),
    ]


def test_the_hash_is_of_what_is_run(write: Callable[..., Path], command: Command) -> None:
    first, second = load_study(str(write("finish", seeds=[0, 1]))).members
    before = first.config_hash()
    assert second.config_hash() == before and len(before) == 12
    Path("line.yaml").write_text("name: x\nmodel: {class_path: Some} # another comment\n")
    assert first.config_hash() == before
    Path("line.yaml").write_text("model: {class_path: Other}\n")
    assert first.config_hash() != before
    assert load_study(str(write("nan"))).members[0].config_hash() != before


def test_the_hash_knows_a_class_by_its_name_and_an_optimizer_by_default(
    write: Callable[..., Path],
    command: Command,
) -> None:
    """A moved module is no changed setting, nor is a default that is written out."""
    (member,) = load_study(str(write("finish", seeds=[0]))).members
    Path("line.yaml").write_text("model: {class_path: a.b.Some, init_args: {x: [class_path: A]}}")
    before = member.config_hash()
    adam = "class_path: torch.optim.Adam, init_args: {lr: 0.001, betas: [0.5, 0.999], fused: true}"
    codes = "x: [class_path: c.A]"
    same = f"model: {{class_path: Some, init_args: {{{codes}, generator_optimizer: {{{adam}}}}}}}"
    Path("line.yaml").write_text(same)
    assert member.config_hash() == before
    Path("line.yaml").write_text(same.replace("0.001", "0.002"))
    assert member.config_hash() != before


def test_committed_rows_are_found() -> None:
    """Every row of the committed tables is of a member as its study defines it today."""
    studies = {path.stem: path for path in (ROOT / "studies").glob("*.yaml")}
    paths = [t for t in (ROOT / "benchmarks/studies").glob("*.csv") if t.stem in studies]
    assert len(paths) >= 5
    for path in paths:
        found = load_study(str(studies[path.stem])).members
        members = {(m.setting, str(m.seed)): m.config_hash() for m in found}
        for row in csv.DictReader(path.open(newline="")):
            assert members.get((row["setting"], row["seed"])) == row["config_hash"], row["setting"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("- a\n", "acts.yaml must hold `key: value` lines"),
        ("a: [\n", "acts.yaml is not YAML"),
        ("member: []\n", "unknown key member; there are seeds, overrides, variants, members"),
        ("seeds: [0]\n", "members must be a list of configs, got None"),
        ("members: [3]\n", "members[0] must be a config's name or a mapping, got 3"),
        ("members: [infogan_line.yaml]\n", "members[0].seeds: None must be int"),
        ("seeds: [true]\nmembers: [infogan_line.yaml]\n", "seeds: True must be int"),
        ("seeds: []\nmembers: [infogan_line.yaml]\n", "config and seeds must each name at least"),
        ("seeds: 0\nmembers: [{seed: 1}]\n", "unknown key seed; there are config, name, seeds"),
        ("seeds: 0\nmembers: [{config: a/../b.yaml}]\n", "config a/../b.yaml is neither a file"),
        ("seeds: 0\nmembers: [{config: infogan_lin}]\n", "which has infogan_line.yaml"),
        ("seeds: 0\nmembers: [{config: infogan_line.yaml, name: a/b}]\n", "name='a/b' must be of"),
        ("seeds: [0, 0]\nmembers: [infogan_line.yaml]\n", "infogan_line_seed0 is there twice"),
        ("seeds: 0\noverrides: {name: x}\nmembers: [infogan_line.yaml]\n", "name cannot be over"),
        ("seeds: 0\noverrides: 3\nmembers: [infogan_line.yaml]\n", "must be `option: value`"),
        ("seeds: 0\nvariants: [1]\nmembers: [infogan_line.yaml]\n", "must be `axis: {label: over"),
        ("seeds: 0\nvariants: {a: {b-c: {}}}\nmembers: [infogan_line.yaml]\n", "variant a: b-c mu"),
    ],
)
def test_a_wrong_file_is_one_line(command: Command, content: str, message: str) -> None:
    Path("acts.yaml").write_text(content)
    outcome = command("study", "acts.yaml")
    assert outcome.code == 2
    assert len(outcome.errors) == 1 and message in outcome.errors[0]
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "study takes one file, got 0"),
        (["acts.yaml", "--config", "acts.yaml"], "study takes one file, got 2"),
        (["other.yaml"], "study other.yaml is neither a file nor in studies/, which has paper"),
        (["acts.yaml", "--only", "x*"], "only=x* fits no member of"),
        (["acts.yaml", "--only", "line*,x"], "only=x fits no member of"),
        (["acts.yaml", "--jobs", "0"], "jobs must be at least 1, got 0"),
        (["acts.yaml", "--num_parallel=2"], "no option num_parallel; did you mean --jobs?"),
        (["acts.yaml", "--time_limit", "0"], "time_limit must be above 0 minutes, got 0.0"),
        (["acts.yaml", "--threads", "0"], "threads must be at least 1, got 0"),
        (["acts.yaml", "--mode", "stop"], "mode"),
    ],
)
def test_wrong_options_are_one_line(
    write: Callable[..., Path], command: Command, arguments: list[str], message: str
) -> None:
    write()
    outcome = command("study", *arguments)
    assert outcome.code == 2
    assert len(outcome.errors) == 1 and message in outcome.errors[0]


# ---- running -----------------------------------------------------------------------------------


def test_every_end_is_a_row(study: Command, write: Callable[..., Path]) -> None:
    path = write(
        "finish", "won", "nan", "crash", members=[{"config": "line.yaml", "pictures": ["overview"]}]
    )
    outcome = study(str(path), "--jobs", "2")
    assert outcome.code == 1
    rows = table()
    assert [row["outcome"] for row in rows.values()] == ["finished", "collapsed", "nan", "crashed"]
    finished, won, nan, crashed = rows.values()
    assert list(finished)[:4] == ["study", "setting", "seed", "act"]
    expected = {
        "study": "acts",
        "setting": "line-finish",
        "act": "finish",
        "config": "line.yaml",
        "steps": str(STEPS),
        "train/mi": str(STEPS / 16),
        "val/code_accuracy": str(accuracy(0, STEPS)),
        "best/val/code_accuracy": str(accuracy(0, STEPS)),
        "best_step": str(STEPS),
        "val_split": "5000 of train",
        "test/code_accuracy": str(STEPS / 16),
        "cause": "",
        "reason": "",
    }
    assert {name: finished[name] for name in expected} == expected
    assert finished["config_hash"] == load_study(str(path)).members[0].config_hash()
    assert len(finished["git_commits"].removesuffix("-dirty")) == 12
    assert float(finished["duration_seconds"]) >= 0
    assert won["cause"] == "discriminator_won"
    assert won["reason"] == "run stopped at step 5 (discriminator_won): D"
    assert (won["steps"], won["test/code_accuracy"]) == ("5", str(4 / 16))
    assert (nan["cause"], nan["test/code_accuracy"]) == ("non_finite", "")
    assert crashed["reason"] == "training: exit code 1: RuntimeError: no luck in somewhere"
    assert crashed["train/mi"] == str(5 / 16)
    assert {path.name for path in TABLE.with_suffix("").rglob("*.*")} == {
        *(f"{name}.csv" for name in rows),
        "line-finish_seed0_overview.png",
    }
    assert "    1  crashed" in outcome.out
    assert "acts: 3 of 4 done, 0 at work, 1 crashed\n" in outcome.out
    assert "see    runs/acts/line-crash_seed0.log" in outcome.out


def test_a_member_killed_from_outside_is_a_crash(
    study: Command, write: Callable[..., Path]
) -> None:
    assert study(str(write("kill"))).code == 1
    row = table()["line-kill_seed0"]
    assert (row["outcome"], row["reason"]) == ("crashed", "training: killed by SIGKILL")
    assert (row["steps"], row["duration_seconds"]) == ("5", "")


def test_only_what_is_missing_runs(study: Command, write: Callable[..., Path]) -> None:
    path = write("finish", "nan", "crash")
    study(str(path))
    Path("diary.txt").unlink()
    assert study("--config", str(path)).code == 1
    # The crash is tried again, from where it was.
    assert diary() == ["fit-from-4 line-crash_seed0"]
    before = table()
    shutil.rmtree("runs")
    Path("diary.txt").unlink()
    assert study(str(path), "--only", "*-[fn]*").code == 0
    assert not Path("diary.txt").exists()
    assert table() == before


def test_a_changed_member_runs_anew(study: Command, write: Callable[..., Path]) -> None:
    assert study(str(write("finish"))).code == 0
    before = table()["line-finish_seed0"]
    path = write("finish", overrides={"another": 1})
    assert study(str(path)).code == 0
    after = table()["line-finish_seed0"]
    assert after["config_hash"] != before["config_hash"]
    assert diary().count("fit-from-0 line-finish_seed0") == 2
    aside = Path("runs/acts") / f"line-finish_seed0.{before['config_hash']}"
    assert (aside / "version_0/summary.json").is_file()
    # Rows of members that a study no longer has stay in its table.
    assert study(str(write("nan"))).code == 0
    assert list(table()) == ["line-nan_seed0", "line-finish_seed0"]


def test_a_failed_test_is_a_crash_and_repeated_alone(
    study: Command, write: Callable[..., Path]
) -> None:
    broken = Path("runs/acts/line-finish_seed0/no_test")
    broken.parent.mkdir(parents=True)
    broken.touch()
    path = write("finish")
    assert study(str(path)).code == 1
    row = table()["line-finish_seed0"]
    assert (row["outcome"], row["reason"]) == ("crashed", "testing: exit code 1: OSError: no disk")
    broken.unlink()
    assert study(str(path)).code == 0
    assert diary() == [
        *("fit-from-0 line-finish_seed0", "end line-finish_seed0"),
        *("test line-finish_seed0", "test line-finish_seed0"),
    ]
    assert table()["line-finish_seed0"]["outcome"] == "finished"
    assert table()["line-finish_seed0"]["reason"] == ""


def test_new_measures_are_added_without_training(
    study: Command, write: Callable[..., Path]
) -> None:
    path = write("finish", "nan")
    assert study(str(path)).code == 0
    before = table()
    checkpoint = Path("runs/acts/line-finish_seed0/version_0/checkpoints/last.ckpt")
    checkpoint.write_text("16")
    Path("diary.txt").unlink()
    assert study(str(path), "--mode", "rescore").code == 0
    assert diary() == ["test line-finish_seed0"]
    changed = before["line-finish_seed0"] | {"test/code_accuracy": "1.0"}
    assert table() == before | {"line-finish_seed0": changed}
    checkpoint.unlink()
    Path("diary.txt").unlink()
    assert study(str(path), "--mode", "rescore").code == 0
    assert not Path("diary.txt").exists()


def test_members_run_side_by_side_on_one_thread_each(
    study: Command, write: Callable[..., Path]
) -> None:
    path = write("slow", seeds=[0, 1, 2])
    assert study(str(path), "--jobs", "2").code == 0
    lines = [line.split() for line in Path("diary.txt").read_text().splitlines()]
    assert {threads for _, _, threads, _ in lines} == {"1"}
    assert most_at_work(lines) == 2


def most_at_work(lines: list[list[str]]) -> int:
    """Return how many members of a diary were at work at a time."""
    at_work, most = set(), 0
    for event, name, *_ in lines:
        if event.startswith("fit"):
            at_work.add(name)
        elif event == "test":
            at_work.discard(name)
        most = max(most, len(at_work))
    return most


def test_processes_start_before_there_is_a_place(
    study: Command, write: Callable[..., Path]
) -> None:
    assert study(str(write("slow", seeds=[0, 1, 2])), "--jobs", "1").code == 0
    lines = [line.split() for line in Path("diary.txt").read_text().splitlines()]
    assert most_at_work(lines) == 1
    starts = sorted(float(line) for line in Path("starts.txt").read_text().splitlines())
    ends = [path.stat().st_mtime for path in Path("runs/acts").glob("*/version_0/summary.json")]
    # The one that works, and one that waits.
    assert len(starts) == len(ends) == 3 and starts[1] < min(ends) < starts[2]


def test_members_are_spread_over_gpus(
    study: Command, write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-5")
    path = write("slow", seeds=[0, 1, 2, 3, 4])
    assert study(str(path), "--jobs", "2").code == 0
    lines = [line.split() for line in Path("diary.txt").read_text().splitlines()]
    assert most_at_work(lines) == 4
    for gpu in ("3", "GPU-5"):
        own = [line for line in lines if line[3] == gpu]
        assert most_at_work(own) == 2
    gpus = {(name, gpu) for _, name, _, gpu in lines}
    assert len(gpus) == 5, "a member is trained and tested on one GPU"


@pytest.mark.parametrize(
    ("visible", "smi", "gpus"),
    [
        (None, "echo 0; echo 1", ["0", "1"]),
        (None, "echo no driver; exit 9", []),
        (None, None, []),
        ("", "echo 0", []),
        ("2, MIG-a,-1,3", "echo 0", ["2", "MIG-a"]),
    ],
)
def test_gpus_are_those_that_cuda_would_see(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    visible: str | None,
    smi: str | None,
    gpus: list[str],
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    if smi is not None:
        (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{smi}\n")
        (tmp_path / "nvidia-smi").chmod(0o755)
    assert study_places.visible_gpus() == gpus


@pytest.mark.parametrize(
    ("gpus", "cores", "jobs", "threads", "expected"),
    [
        ([], 5, None, 2, [None] * 2),
        ([], 1, None, 2, [None]),
        ([], 1, 3, 1, [None] * 3),
        (["0"], 16, None, 1, ["0"] * 8),
        (["0", "1"], 8, None, 2, ["0", "1", "0", "1"]),
        (["0", "1"], 1, None, 1, ["0", "1"]),
        (["0", "1"], 1, 12, 1, ["0", "1"] * 12),
    ],
)
def test_members_at_a_time_fit_the_machine(
    monkeypatch: pytest.MonkeyPatch,
    gpus: list[str],
    cores: int,
    jobs: int | None,
    threads: int,
    expected: list[str | None],
) -> None:
    monkeypatch.setattr(study_places, "visible_gpus", lambda: gpus)
    monkeypatch.setattr(study_places, "num_cores", lambda: cores)
    assert study_places.places(jobs, threads) == expected
