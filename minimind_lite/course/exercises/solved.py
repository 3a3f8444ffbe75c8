"""Which tasks a learner has solved: one small JSON file, written by the checks, read by `minimind course progress`."""

import contextlib
import json
import logging
import os
from pathlib import Path

from minimind_lite.files import UnreadableFile, read_json, repository_root, write_text

from ..kit.language import say
from ..kit.profiles import is_smoke

logger = logging.getLogger(__name__)


def progress_file() -> Path:
    """build/course/progress.json; a test's own file at smoke size; another file if MINIMIND_PROGRESS names one."""
    named = os.environ.get("MINIMIND_PROGRESS")
    if named:
        return Path(named)
    return repository_root() / "build" / ("smoke" if is_smoke() else "course") / "progress.json"


def solved_tasks() -> dict[str, str]:
    """Task → the digest of the check it passed; empty if nothing has been solved yet.

    Raises UnreadableFile for a damaged file, OSError for one that cannot be read.
    """
    try:
        file = progress_file()
        solved = read_json(file).get("solved")
    except FileNotFoundError:
        return {}
    if not isinstance(solved, dict):
        raise UnreadableFile(say("{file}: has no object called solved; delete the file, and run the checks again",
                                 file=file))  # fmt: skip
    return {str(task): str(digest) for task, digest in solved.items()}


def note_solved(task: str, digest: str) -> None:
    """Remember that ``task`` passed its check.

    A damaged file is set aside, as progress.damaged.json, before a new one is begun. If the file cannot be read or
    written, nothing is remembered and nothing lost.
    """
    try:
        solved = solved_tasks()
    except UnreadableFile as error:
        aside = progress_file().with_suffix(".damaged.json")
        progress_file().replace(aside)
        logger.warning("%s", say("{error}; it is kept as {name}", error=error, name=aside.name))
        solved = {}
    except OSError:
        return
    if solved.get(task) == digest:
        return
    text = json.dumps({"solved": dict(sorted((solved | {task: digest}).items()))}, indent=1)
    with contextlib.suppress(OSError):
        write_text(progress_file(), text + "\n")
