"""Files that survive accidents: written whole or not at all, read without trust, and folders that one run owns.

Everything the library writes goes through ``written_whole``; every JSON file it reads, ours or a stranger's, through
``read_json`` or ``parse_json``. Also finds the repository's folder, for the parts that work on its notebooks and data.
"""

import errno
import hashlib
import json
import os
import re
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

LOCK = ".run.lock"
LARGEST_JSON = 64 * 1024 * 1024  # bytes of a JSON file that is read at once; none of ours comes near it
DEEPEST_JSON = 64  # levels of nesting; a conversation has five
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}  # no space on the disk, or in a user's share of it
_FULL_IN_WORDS = re.compile(rf"\(os error ({'|'.join(map(str, _FULL))})\)|\d+ requested and \d+ written")
_OWNED: set[Path] = set()  # the folders that this process owns


class UnreadableFile(ValueError):
    """A file that is not what it should be; the message names the file and, where known, the line."""


class FolderInUse(RuntimeError):
    """Another run is writing into the folder; the message names its process and says what to do."""


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to; at the end of the block it is flushed to disk and renamed to ``path``.

    If the program is killed, or the block raises an error, the old file stays as it was. The folder is created if
    needed. Two processes that write the same file use different temporary names; what a killed one left is removed.
    Raises OSError, which names ``path``, for a folder of that name and for a full disk, whatever the writer raised.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "is a folder: give the name of a file to write", str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    _remove_leftovers(path)
    try:
        yield part
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(path)
        directory_to_disk(path.parent)
    except Exception as error:
        if is_full(error):
            raise OSError(errno.ENOSPC, f"could not be written: {NO_SPACE}", str(path)) from error
        raise
    finally:
        part.unlink(missing_ok=True)


NO_SPACE = "no space left on the disk; free some, or write to another one, and run the same command again"


def is_full(error: Exception) -> bool:
    """Whether a write failed because the disk is full; safetensors and NumPy say so in words of their own."""
    return (isinstance(error, OSError) and error.errno in _FULL) or bool(_FULL_IN_WORDS.search(str(error)))


def _remove_leftovers(path: Path) -> None:
    """Delete temporary files for ``path`` that nobody is writing: their process has ended, here or on another host."""
    name = re.compile(rf"\.{re.escape(path.name)}\.(\d+)\.part")
    for leftover in path.parent.iterdir():
        found = name.fullmatch(leftover.name)
        if found and not process_is_alive(int(found[1])) and _seconds_since_change(leftover) > 60:
            leftover.unlink(missing_ok=True)


def _seconds_since_change(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def directory_to_disk(folder: Path) -> None:
    """Make a rename inside ``folder`` survive a power cut. Windows has no such call and needs none."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8 with Unix line endings, whole or not at all."""
    with written_whole(path) as part, part.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)


def parse_json(text: str | bytes, where: str) -> Any:
    """The value of a JSON text from anywhere.

    Raises UnreadableFile, its message starting with ``where``, for broken JSON, text that is not UTF-8, nesting deeper
    than DEEPEST_JSON levels (later steps would recurse), and integers with more digits than Python reads.
    """
    try:
        decoded = text.decode("utf-8-sig") if isinstance(text, bytes) else text
        value = json.loads(decoded)
    except UnicodeDecodeError as error:
        raise UnreadableFile(f"{where}: not UTF-8 (byte {error.start}); save the file as UTF-8") from None
    except json.JSONDecodeError as error:
        line = f", line {error.lineno}" if "\n" in decoded.strip() else ""
        raise UnreadableFile(f"{where}{line}, column {error.colno}: not JSON: {error.msg}") from None
    except RecursionError:
        raise UnreadableFile(f"{where}: nested deeper than {DEEPEST_JSON} levels") from None
    except ValueError:  # Python limits the digits of an integer, because reading them takes quadratic time
        digits = sys.get_int_max_str_digits()
        raise UnreadableFile(f"{where}: holds an integer of more than {digits:,} digits") from None
    if decoded.count("[") + decoded.count("{") > DEEPEST_JSON and _depth(value) > DEEPEST_JSON:
        raise UnreadableFile(f"{where}: nested deeper than {DEEPEST_JSON} levels")
    return value


def _depth(value: Any) -> int:
    """Levels of lists and objects in a JSON value, counted without recursion."""
    level, depth = [value], 0
    while level := [one for one in level if isinstance(one, list | dict)]:
        depth += 1
        level = [inner for one in level for inner in (one.values() if isinstance(one, dict) else one)]
    return depth


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file. Raises UnreadableFile for anything else; OSError if the file cannot be read at all."""
    if path.stat().st_size > LARGEST_JSON:
        raise UnreadableFile(f"{path}: larger than {LARGEST_JSON // 2**20} MiB, so it is not the file that is meant")
    value = parse_json(path.read_bytes(), str(path))
    if not isinstance(value, dict):
        raise UnreadableFile(f"{path}: holds a {type(value).__name__}, not a JSON object")
    return value


@contextmanager
def owned(folder: Path) -> Iterator[None]:
    """Hold ``folder`` for this process: two runs that write into one folder destroy each other's files.

    The lock is a file with the process's number, its start and its host. That of a process that has ended is taken
    over; one from another host counts as held, because nothing here can tell. A process that already owns the folder
    may own it once more. Raises FolderInUse.
    """
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    if folder.resolve() in _OWNED:
        yield
        return
    lock = folder / LOCK
    mine = json.dumps({"pid": os.getpid(), "started": process_start(os.getpid()), "host": socket.gethostname()})
    while True:
        try:
            with lock.open("x", encoding="utf-8") as file:
                file.write(mine)
            break
        except FileExistsError:
            _take_over(lock)
        except OSError as error:
            if is_full(error):  # it is there, and empty: nobody holds the folder
                lock.unlink(missing_ok=True)
            raise
    _OWNED.add(folder.resolve())
    try:
        yield
    finally:
        _OWNED.discard(folder.resolve())
        lock.unlink(missing_ok=True)
        if made:  # and nothing was written: leave no trace
            with suppress(OSError):
                folder.rmdir()


def _take_over(lock: Path) -> None:
    """Remove the lock of a process that has ended. Raises FolderInUse for any other."""
    try:
        text = lock.read_bytes()
    except FileNotFoundError:
        return  # released just now
    try:
        held = parse_json(text, str(lock))
        pid, host = held["pid"], held["host"]
        alive = process_is_alive(pid) and held["started"] == process_start(pid)
    except (UnreadableFile, TypeError, KeyError):  # its process was killed, or paused, before it had written it
        if _seconds_since_change(lock) < 2:
            time.sleep(0.1)
            return
        pid, host, alive = 0, socket.gethostname(), False
    if host != socket.gethostname():
        raise FolderInUse(
            f"{lock.parent} is being written by process {pid} on {host}, since {lock} exists. Use another output "
            "folder; if that process has ended, delete the lock file"
        )
    if alive:
        raise FolderInUse(
            f"{lock.parent} is being written by process {pid}, which is still running: wait for it, stop it, or use "
            "another output folder"
        )
    stale = lock.with_name(f"{LOCK}.{os.getpid()}.stale")
    with suppress(FileNotFoundError):  # another process took it over first
        lock.rename(stale)
        if stale.read_bytes() == text:
            stale.unlink()
        else:  # that other process had already put its own lock there: give it back
            stale.rename(lock)


def process_is_alive(pid: int) -> bool:
    """Whether a process with this number is running on this machine."""
    if sys.platform == "win32":
        import ctypes

        handle = ctypes.windll.kernel32.OpenProcess(0x1000, False, pid)  # PROCESS_QUERY_LIMITED_INFORMATION
        ctypes.windll.kernel32.CloseHandle(handle)
        return bool(handle)
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def process_start(pid: int) -> str | None:
    """When a process started, in clock ticks since the boot: tells it from a later one with the same number.

    None where the system does not say (anywhere but Linux).
    """
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def as_utf8(stream: TextIO) -> TextIO:
    """Let Chinese text through, whatever the terminal's code page is (Windows)."""
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(encoding="utf-8", errors="replace")
    return stream


def repository_root() -> Path:
    """The clone's folder, with notebooks/ and pyproject.toml, around the package or the current directory.

    Raises FileNotFoundError outside a clone, and says how to get one.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package, Path.cwd(), *Path.cwd().parents):
        if (folder / "pyproject.toml").is_file() and (folder / "notebooks").is_dir():
            return folder
    raise FileNotFoundError(
        "the course's repository was not found: neither the installed package nor the current directory is inside one. "
        "Clone the repository, change into it, and install it with: pip install -e ."
    )
