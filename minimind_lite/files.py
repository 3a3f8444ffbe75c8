"""All-or-nothing file writes: everything the library writes goes through ``written_whole``.

Also finds the repository's folder, for the parts that work on its notebooks and sample data.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to; at the end of the block it is flushed to disk and renamed to ``path``.

    If the program is killed, or the block raises an error, the old file stays as it was. The folder is created if
    needed. Two processes that write the same file use different temporary names.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8 with Unix line endings, whole or not at all."""
    with written_whole(path) as part, part.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)


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
