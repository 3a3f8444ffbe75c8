"""Submissions for the tests of grading, and a grader that finds out only once where kernels can run."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import nbformat

from minimind_lite.course.exercises import masters
from minimind_lite.course.exercises.grading.isolation import Isolation, choose
from minimind_lite.course.exercises.grading.originals import Originals
from minimind_lite.course.exercises.grading.report import Grade, Grader
from minimind_lite.course.notebooks import files
from minimind_lite.files import repository_root

NAME = "02_rmsnorm"
MASTER = repository_root() / "solutions" / f"{NAME}.ipynb"
CAPABILITIES = (
    "chown",
    "dac_override",
    "fowner",
    "kill",
    "setgid",
    "setuid",
)  # all that the grader in a container has of root's


def submission(folder: Path, cells: dict[str, str], change: Callable[[Any], None] = lambda notebook: None) -> Path:
    """An exercise with some tasks filled in, {task: source}, and changed by ``change``."""
    notebook = files.read(masters.exercise_path(MASTER))
    for task in masters.tasks_of(notebook, NAME):
        task.solution.source = cells.get(task.check.task, task.solution.source)
    change(notebook)
    path = folder / "submission.ipynb"
    nbformat.write(notebook, path)
    return path


def solutions() -> dict[str, str]:
    """The right code of every task."""
    return {task.check.task: task.solution.source for task in masters.tasks_of(files.read(MASTER), NAME)}


def statuses(grade: Grade) -> dict[str, str]:
    """Task → status."""
    return {task.task: task.status for task in grade.tasks}


@cache
def isolated(name: str) -> Isolation:
    """An isolation that hides the repository. Raises CourseError where it does not work."""
    return choose(name, [repository_root()])


@cache
def originals() -> Originals:
    """The repository's own."""
    return Originals()


def grade_file(path: Path, *, timeout: float, call_seconds: float = 10.0, isolation: str = "auto") -> Grade:
    """Grade one submission."""
    grader = Grader(originals(), isolated(isolation), aside=path.parent / "changed")
    return grader.grade(path, timeout=timeout, call_seconds=call_seconds)
