"""Files are whole or as they were, whatever happens while they are written."""

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infogan.files import replacing, write_file
from tests.support.resumable import die, in_child


@pytest.mark.parametrize("content", ["a = ü\n", b"\0\xff", ""])
def test_a_file_and_its_folder_are_made(tmp_path: Path, content: str | bytes) -> None:
    path = tmp_path / "a" / "b.txt"
    write_file(path, content)
    write_file(path, content)
    assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert list(path.parent.iterdir()) == [path]


def write_and_fail(path: Path, error: BaseException) -> None:
    with replacing(path) as part:
        part.write_text("half")
        raise error


@pytest.mark.parametrize("error", [OSError("full"), KeyboardInterrupt()], ids=["error", "signal"])
def test_an_error_leaves_the_older_file_and_nothing_beside_it(
    tmp_path: Path, error: BaseException
) -> None:
    path = tmp_path / "a"
    write_file(path, "old")
    with pytest.raises(type(error)):
        write_and_fail(path, error)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("where", "function"), [(os, "fsync"), (Path, "replace")])
@pytest.mark.integration
def test_a_kill_leaves_the_older_file_and_the_next_write_cleans_up(
    tmp_path: Path, where: Any, function: str
) -> None:
    def write() -> None:
        setattr(where, function, die)
        write_file(path, "new")

    path = tmp_path / "a"
    write_file(path, "old")
    assert in_child(write) == -signal.SIGKILL
    assert path.read_text() == "old"
    write_file(path, "newer")
    assert path.read_text() == "newer"
    assert list(tmp_path.iterdir()) == [path]


def test_the_bytes_are_on_the_disk_before_the_name_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def recorded(where: Any, name: str) -> Callable[..., None]:
        function = getattr(where, name)

        def call(*arguments: Any) -> None:
            calls.append(name)
            function(*arguments)

        return call

    for where, name in ((os, "fsync"), (Path, "replace")):
        monkeypatch.setattr(where, name, recorded(where, name))
    write_file(tmp_path / "a", "text")
    write_file(tmp_path / "b", "text", sync=False)
    assert calls == ["fsync", "replace", "fsync", "replace"]


def test_writers_at_once_leave_one_whole_file(tmp_path: Path) -> None:
    contents = [str(number) * 200_000 for number in range(4)]
    path = tmp_path / "shared"

    def write(content: str) -> None:
        for _ in range(10):
            write_file(path, content, shared=True, sync=False)
            assert path.read_text() in contents

    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_text() in contents
    assert list(tmp_path.iterdir()) == [path]
