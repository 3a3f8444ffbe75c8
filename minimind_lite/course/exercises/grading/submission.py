"""A learner's notebook, from which only the cells that they were asked to write are taken."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...kit.errors import CourseError
from ...notebooks.files import read
from ..core import Check
from ..masters import tasks_of, without_hidden

LARGEST = 20_000_000  # bytes; a larger file is not read


@dataclass(frozen=True)
class Step:
    """One code cell that runs in the submission's kernel."""

    source: str
    check: Check | None = None  # of the task whose cell this is; None for a given cell
    function: str = ""  # the function that the check calls
    edited: bool = False  # its check cell is not the one that was handed out


@dataclass(frozen=True)
class Submission:
    """A file, the set it answers, and what is to be run."""

    path: Path
    name: str  # the set's: "02_rmsnorm"
    steps: list[Step] = field(default_factory=list)

    @property
    def tasks(self) -> list[Step]:
        """The steps that solve a task."""
        return [step for step in self.steps if step.check]


def read_submission(path: Path, pristine: Mapping[str, Any]) -> Submission:
    """Put the learner's cells into the notebook that was handed out; ``pristine`` holds those of all sets by name.

    Cells are found by their id, or by nbgrader's grade_id if an editor gave new ids. Raises CourseError for a file
    that is not a notebook, or not a set of this course.
    """
    if path.stat().st_size > LARGEST:
        raise CourseError(f"{path.name} is larger than {LARGEST // 1_000_000} MB")
    cells = _by_name(read(path))
    shared = {name: len(_task_names(one, name) & cells.keys()) for name, one in pristine.items()}
    best = max(shared, key=lambda name: shared[name], default="")
    if not best or not shared[best]:
        raise CourseError(f"{path.name} has no task of this course")
    return Submission(path, best, _steps(pristine[best], best, cells))


def _by_name(notebook: Any) -> dict[str, str]:
    """Sources of the code cells by id and by grade_id; of duplicates, the first counts."""
    found: dict[str, str] = {}
    for cell in (one for one in notebook.cells if one.cell_type == "code"):
        for name in (cell.get("id"), _grade_id(cell)):
            if name:
                found.setdefault(str(name), str(cell.source))
    return found


def _grade_id(cell: Any) -> str:
    marks = cell.metadata.get("nbgrader", {})
    return str(marks.get("grade_id", "")) if isinstance(marks, dict) else ""


def _task_names(notebook: Any, name: str) -> set[str]:
    return {one for task in tasks_of(notebook, name) for one in (task.solution.id, _grade_id(task.solution))}


def _steps(pristine: Any, name: str, cells: dict[str, str]) -> list[Step]:
    """What runs, in order: given cells as they were handed out, the learner's in place of the stubs."""
    tasks = tasks_of(pristine, name)
    solutions = {task.solution.id: task for task in tasks}
    checking = {task.checking.id for task in tasks}
    steps = []
    for cell in (one for one in pristine.cells if one.cell_type == "code"):
        if cell.id in solutions:
            task = solutions[cell.id]
            source = _find(cells, cell, cell.source)
            found = without_hidden(_find(cells, task.checking, ""))  # a master may be graded too
            edited = found.strip() != task.checking.source.strip()
            steps.append(Step(source, task.check, task.function, edited))
        elif cell.id not in checking and "setup" not in cell.metadata.get("tags", []):
            steps.append(Step(cell.source))
    return steps


def _find(cells: dict[str, str], cell: Any, default: str) -> str:
    return cells.get(cell.id, cells.get(_grade_id(cell), default))
