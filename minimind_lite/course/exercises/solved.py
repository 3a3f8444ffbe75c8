"""Which tasks a learner has solved: one small JSON file, written by the checks, read by `minimind course progress`."""

import json
import os
from pathlib import Path

from minimind_lite.files import repository_root, write_text

from ..kit.errors import CourseError
from ..kit.profiles import is_smoke


def progress_file() -> Path:
    """build/course/progress.json; a test's own file at smoke size; another file if MINIMIND_PROGRESS names one."""
    named = os.environ.get("MINIMIND_PROGRESS")
    if named:
        return Path(named)
    return repository_root() / "build" / ("smoke" if is_smoke() else "course") / "progress.json"


def solved_tasks() -> dict[str, str]:
    """Task → the digest of the check it passed; empty if there is no readable file."""
    try:
        stored = json.loads(progress_file().read_text(encoding="utf-8"))
        return {str(task): str(digest) for task, digest in stored["solved"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, CourseError):
        return {}


def note_solved(task: str, digest: str) -> None:
    """Remember that ``task`` passed its check. If the folder is not writable, nothing is remembered."""
    solved = solved_tasks()
    if solved.get(task) == digest:
        return
    try:
        text = json.dumps({"solved": dict(sorted((solved | {task: digest}).items()))}, indent=1)
        write_text(progress_file(), text + "\n")
    except (OSError, CourseError):
        return
