"""Writing whole, reading without trust, and folders that one run owns."""

import errno
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from minimind_lite import files
from minimind_lite.files import (
    LOCK,
    FolderInUse,
    UnreadableFile,
    owned,
    parse_json,
    process_start,
    read_json,
    write_text,
    written_whole,
)

ENDED = 2**22 + 1  # above the highest process number that Linux gives


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "old")
    with pytest.raises(RuntimeError), written_whole(tmp_path / "a.txt") as part:
        part.write_text("half")
        raise RuntimeError
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("a.txt", "old")]


def test_what_a_killed_writer_left_is_removed_but_not_what_somebody_is_writing(tmp_path: Path) -> None:
    killed, fresh = tmp_path / f".a.txt.{ENDED}.part", tmp_path / f".a.txt.{ENDED + 1}.part"
    running, other = tmp_path / f".a.txt.{os.getppid()}.part", tmp_path / f".b.txt.{ENDED}.part"
    for one in (killed, fresh, running, other):
        one.write_text("half")
        os.utime(one, (0, 0))
    os.utime(fresh)  # a process on another host would keep its file fresh
    write_text(tmp_path / "a.txt", "new")
    assert not killed.exists()
    assert fresh.exists() and running.exists() and other.exists()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"\xff\xfe", "not UTF-8"),
        ("{", "column 2: not JSON"),
        ("", "not JSON"),
        ('{"a": 1}{', "not JSON"),
        ('{\n"a": }', "line 2, column 6: not JSON"),
        ("[" * 65 + "]" * 65, "nested deeper than 64"),
        ("[" * 100_000 + "]" * 100_000, "nested deeper than 64"),
        ('{"id": ' + "9" * 5000 + "}", "more than 4,300 digits"),
    ],
)
def test_json_that_cannot_be_read_is_one_error_that_says_where(text: str | bytes, reason: str) -> None:
    with pytest.raises(UnreadableFile, match=r"^f\.jsonl, line 3") as error:
        parse_json(text, "f.jsonl, line 3")
    assert reason in str(error.value)


def test_json_at_the_limits_is_read() -> None:
    assert parse_json(b"\xef\xbb\xbf[1]", "x") == [1]
    assert parse_json("[" * 64 + "]" * 64, "x")
    assert parse_json('{"id": ' + "9" * 4300 + "}", "x")["id"] > 0
    assert len(parse_json("[" + "[]," * 500 + "[]]", "x")) == 501  # many brackets, not deep


@pytest.mark.parametrize("text", ["[]", "null", '"700"', "2.0", "true"])
def test_a_file_that_holds_no_object_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(UnreadableFile, match="not a JSON object"):
        read_json(tmp_path / "a.json")


def test_a_huge_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LARGEST_JSON", 8)
    (tmp_path / "a.json").write_text('{"a": 12}')
    with pytest.raises(UnreadableFile, match="larger than"):
        read_json(tmp_path / "a.json")


def test_a_folder_has_one_owner_and_is_free_afterwards(tmp_path: Path) -> None:
    with owned(tmp_path / "run"):
        with owned(tmp_path / "run"):  # a stage owns it, and so does its loop
            pass
        assert (tmp_path / "run" / LOCK).is_file()
    assert not (tmp_path / "run").exists()  # nothing was written into it
    with owned(tmp_path / "run"):
        (tmp_path / "run" / "model").touch()
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["model"]


def test_another_process_cannot_own_it_meanwhile(tmp_path: Path) -> None:
    code = f"from minimind_lite.files import owned\nfrom pathlib import Path\nwith owned(Path({str(tmp_path)!r})): pass"
    with owned(tmp_path):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 1 and "FolderInUse" in done.stderr
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=300).returncode == 0


def lock(folder: Path, **changes: object) -> None:
    held = {"pid": os.getpid(), "started": process_start(os.getpid()), "host": socket.gethostname()} | changes
    (folder / LOCK).write_text(json.dumps(held))


def test_the_lock_of_a_process_that_has_ended_is_taken_over(tmp_path: Path) -> None:
    for changes in ({"pid": ENDED}, {"started": "1"}, {"pid": "x"}):
        lock(tmp_path, **changes)
        os.utime(tmp_path / LOCK, (0, 0))
        with owned(tmp_path):
            assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()
    (tmp_path / LOCK).write_text("")
    os.utime(tmp_path / LOCK, (0, 0))
    with owned(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_lock_from_another_host_counts(tmp_path: Path) -> None:
    lock(tmp_path, pid=ENDED, host="elsewhere")
    with pytest.raises(FolderInUse, match=r"on elsewhere.*delete the lock file"), owned(tmp_path):
        pass
    assert (tmp_path / LOCK).is_file()


def test_the_folders_of_a_file_are_made(tmp_path: Path) -> None:
    write_text(tmp_path / "a" / "b" / "c.txt", "x")
    write_text(tmp_path / "a" / "b" / "c.txt", "y")  # they may exist
    assert (tmp_path / "a" / "b" / "c.txt").read_text() == "y"


def test_outside_a_clone_the_course_says_how_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "__file__", str(tmp_path / "site-packages" / "minimind_lite" / "files.py"))
    (tmp_path / "clone" / "deep").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "clone" / "deep")
    with pytest.raises(FileNotFoundError, match="Clone the repository"):
        files.repository_root()
    (tmp_path / "clone" / "pyproject.toml").touch()
    with pytest.raises(FileNotFoundError):  # notebooks/ is missing: some other project
        files.repository_root()
    (tmp_path / "clone" / "notebooks").mkdir()
    assert files.repository_root() == tmp_path / "clone"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows is asked in another way")
@pytest.mark.parametrize(
    ("error", "alive"), [(None, True), (PermissionError, True), (ProcessLookupError, False), (OverflowError, False)]
)
def test_a_process_of_another_user_is_alive(
    error: type[Exception] | None, alive: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(pid: int, signal: int) -> None:
        assert (pid, signal) == (4711, 0)  # asks, and stops nothing
        if error:
            raise error

    monkeypatch.setattr(os, "kill", kill)
    assert files.process_is_alive(4711) is alive


@pytest.mark.parametrize(
    "said",
    [OSError(errno.ENOSPC, "No space left on device"), OSError("27200 requested and 8128 written"),
     RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)")],
)  # fmt: skip
def test_a_full_disk_is_said_with_the_file_whoever_noticed_it(tmp_path: Path, said: Exception) -> None:
    write_text(tmp_path / "a.txt", "old")
    with (
        pytest.raises(OSError, match="no space left on the disk; free some") as raised,
        written_whole(tmp_path / "a.txt"),
    ):
        raise said
    assert raised.value.filename == str(tmp_path / "a.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


def test_a_folder_where_a_file_is_to_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="is a folder: give the name of a file") as raised:
        write_text(tmp_path, "x")
    assert raised.value.filename == str(tmp_path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full")
def test_a_lock_that_could_not_be_written_is_not_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.open

    def full(path: Path, mode: str = "r", **options: Any) -> Any:
        file = real(path, mode, **options)
        return real(Path("/dev/full"), "w", encoding="utf-8") if path.name == LOCK else file

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(OSError, match="No space left"), owned(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []
