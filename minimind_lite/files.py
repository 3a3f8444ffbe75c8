"""Files that are whole or not there: everything the library writes goes through ``written_whole``.

And the folder of the repository, for the parts that work on its notebooks and sample data.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield a name beside ``path`` to write to; on leaving, its content is on the disk and takes ``path``'s name.

    A program that is killed, or an error inside the block, leaves the old file as it was. The folder is made if it is
    not there. Two processes that write the same file do not share the temporary name.
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
    """Write ``text`` as UTF-8 with Unix line ends, whole or not at all."""
    with written_whole(path) as part, part.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def repository_root() -> Path:
    """The folder that holds notebooks/ and pyproject.toml, seen from the package's place or from where we stand.

    Raises FileNotFoundError outside of a clone, with the way out.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package, Path.cwd(), *Path.cwd().parents):
        if (folder / "pyproject.toml").is_file() and (folder / "notebooks").is_dir():
            return folder
    raise FileNotFoundError(
        "the course's repository was not found: neither the installed package nor this folder lies inside one. "
        "Clone the repository, change into it, and install it with: pip install -e ."
    )
