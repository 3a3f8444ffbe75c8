"""Where things are: the repository's root, the chapters' notebooks, the artifacts; and writing files atomically."""

import os
from pathlib import Path

from .errors import CourseError
from .profiles import is_smoke

DEFAULT_OUTPUT = "build/course/artifacts"
SMOKE_OUTPUT = "build/smoke"


def repository_root() -> Path:
    """The folder with notebooks/ and pyproject.toml: above the installed package, or above the current folder."""
    package = Path(__file__).resolve().parents[3]
    for folder in (package, Path.cwd(), *Path.cwd().parents):
        if (folder / "pyproject.toml").is_file() and (folder / "notebooks").is_dir():
            return folder
    raise CourseError(
        "the course's repository was not found: neither the installed package nor this folder lies inside one. "
        "Clone the repository, change into it, and install it with: pip install -e ."
    )


def resolve_output(output_dir: str | Path = DEFAULT_OUTPUT) -> Path:
    """An absolute folder; a relative one counts from the repository's root, for the grader from MINIMIND_ROOT.

    At smoke size the default becomes ``build/smoke``, so that a test never overwrites what a real run made.
    """
    path = Path(output_dir)
    if is_smoke() and path == Path(DEFAULT_OUTPUT):
        path = Path(SMOKE_OUTPUT)
    return path if path.is_absolute() else Path(os.environ.get("MINIMIND_ROOT") or repository_root()) / path


def shown(path: Path) -> str:
    """The path as a reader should see it: from the repository's root where it lies inside, with forward slashes."""
    root = repository_root()
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()


def write_atomically(path: Path, text: str) -> None:
    """Write the file completely or leave the old one: temporary file beside it, fsync, rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")  # with open(), not tempfile: others may read the file
    try:
        with partial.open("w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def stage_of(chapter: str) -> str:
    """A chapter's name without its number, which is also its artifacts' folder: ``15b_ppo`` → ``ppo``."""
    return chapter.partition("_")[2]


def notebook_of(stage: str) -> str:
    """The chapter's name with its number, which only its notebook's file name states: ``ppo`` → ``15b_ppo``.

    The bare name where there is no such notebook.
    """
    found = (path.stem for path in (repository_root() / "notebooks").glob(f"*_{stage}.ipynb"))
    return next((name for name in found if stage_of(name) == stage), stage)
