"""Where things are: the chapters' notebooks and the folder of artifacts."""

import os
from pathlib import Path

from minimind_lite.files import repository_root

from .bounds import step_bound
from .profiles import is_smoke

DEFAULT_OUTPUT = "build/course/artifacts"
SMOKE_OUTPUT = "build/smoke"
REHEARSAL_OUTPUT = "build/rehearsal/artifacts"


def resolve_output(output_dir: str | Path = DEFAULT_OUTPUT) -> Path:
    """An absolute folder; a relative one counts from the repository's root, or from MINIMIND_ROOT if the grader set it.

    At smoke size the default becomes ``build/smoke``, with a bound on the steps ``build/rehearsal/artifacts``, so that
    a test never overwrites what a real run made.
    """
    path = Path(output_dir)
    if path == Path(DEFAULT_OUTPUT) and (is_smoke() or step_bound()):
        path = Path(SMOKE_OUTPUT if is_smoke() else REHEARSAL_OUTPUT)
    return path if path.is_absolute() else Path(os.environ.get("MINIMIND_ROOT") or repository_root()) / path


def shown(path: Path) -> str:
    """The path as a reader should see it: relative to the repository's root if it is inside, with forward slashes."""
    root = repository_root()
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()


def stage_of(chapter: str) -> str:
    """A chapter's name without its number, which is also its artifacts' folder: ``15b_ppo`` → ``ppo``."""
    return chapter.partition("_")[2]


def notebook_of(stage: str) -> str:
    """The chapter's name with its number, which only its notebook's file name states: ``ppo`` → ``15b_ppo``.

    The bare name if there is no such notebook.
    """
    found = (path.stem for path in (repository_root() / "notebooks").glob(f"*_{stage}.ipynb"))
    return next((name for name in found if stage_of(name) == stage), stage)
