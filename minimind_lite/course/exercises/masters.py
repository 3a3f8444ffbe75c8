"""Sets of exercises: the masters in solutions/, what learners get in exercises/, and nbgrader's metadata in both.

A master has, for each task, a cell with ``### BEGIN SOLUTION`` and ``### END SOLUTION``, followed by a cell whose first
line is the check, ``check_rms_norm(rms_norm)``. Everything else is generated here: ids, setup cell, nbgrader's
metadata, the hidden assertion that gives points there, and the learner's notebook. Both are stored without outputs.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat

from minimind_lite.files import repository_root

from ..kit.errors import CourseError
from ..kit.language import LANGUAGES
from ..kit.paths import shown
from ..notebooks.files import chapter_paths, edition_path, language_of, read, text_of, write
from ..notebooks.stamping import stamp
from .core import Check, every_check

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
BEGIN_HIDDEN, END_HIDDEN = "### BEGIN HIDDEN TESTS", "### END HIDDEN TESTS"
STUB = ("# YOUR CODE HERE", "raise NotImplementedError")
_CHECK_LINE = re.compile(r"^(check_\w+)\((\w+)\)$")
_SOLUTION = re.compile(rf"^([ \t]*){BEGIN}[ \t]*\n.*?^[ \t]*{END}[ \t]*$", re.MULTILINE | re.DOTALL)
_HIDDEN = re.compile(rf"\n*^[ \t]*{BEGIN_HIDDEN}[ \t]*\n.*?^[ \t]*{END_HIDDEN}[ \t]*$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class TaskCells:
    """One task of a set: where the learner writes, and what checks it."""

    check: Check
    function: str  # the name that the learner defines
    solution: Any  # the cell with the code
    checking: Any  # the cell with the check


def master_paths(names: Iterable[str] = ()) -> list[Path]:
    """The masters in order; only those given by number or name, if any are."""
    return chapter_paths(names, repository_root() / "solutions")


def exercise_path(master: Path) -> Path:
    """The path of the learner's notebook made from a master, in the same edition."""
    language = language_of(master)
    solutions = master.parent if language == "en" else master.parents[1]
    return edition_path(solutions.parent / "exercises" / master.name, language)


def with_editions(paths: Iterable[Path]) -> list[Path]:
    """The masters, each followed by those of its translations that there are."""
    every = (edition_path(path, one) for path in paths for one in LANGUAGES)
    return [path for path in every if path.is_file()]


def tasks_of(notebook: Any, name: str) -> list[TaskCells]:
    """The set's tasks in order. Raises CourseError if cells and checks do not match."""
    known = {one.name: one for task, one in every_check().items() if task.startswith(f"{name.partition('_')[0]}.")}
    found, solution = [], None
    for cell in (one for one in notebook.cells if one.cell_type == "code"):
        called = _CHECK_LINE.match(cell.source.partition("\n")[0])
        if _is_solution(cell):
            if solution is not None:
                raise CourseError(f"{name}: no check follows the cell {solution.source[:60]!r}")
            solution = cell
        elif called and (solution is None or called[1] not in known):
            raise CourseError(f"{name}: {called[1]} is not a check of this set, or no solution precedes it")
        elif called:
            found.append(TaskCells(known.pop(called[1]), called[2], solution, cell))
            solution = None
    if solution is not None or known:
        raise CourseError(f"{name}: without a task: {', '.join(known) or 'no check'}; every check needs its cells")
    return found


def _is_solution(cell: Any) -> bool:
    """By the markers in a master, by nbgrader's metadata in a learner's notebook."""
    return BEGIN in cell.source or bool(cell.metadata.get("nbgrader", {}).get("solution"))


def stamp_master(notebook: Any, name: str, language: str = "en") -> Any:
    """Write everything that can be generated into the master, in place, and remove its outputs."""
    stamp(notebook, name, "exercises", language)
    for cell in (one for one in notebook.cells if one.cell_type == "code"):
        cell.outputs, cell.execution_count = [], None
    for task in tasks_of(notebook, name):
        line = f"{task.check.name}({task.function})"
        hidden = f"{BEGIN_HIDDEN}\nassert {task.check.name}.passes({task.function})\n{END_HIDDEN}"
        task.checking.source = f"{line}\n{hidden}"
        grade_id = re.sub(r"\W", "-", task.check.task)
        task.solution.metadata.nbgrader = _marks(f"task-{grade_id}", solution=True)
        task.checking.metadata.nbgrader = _marks(f"check-{grade_id}", grade=True, locked=True) | {
            "points": task.check.points
        }
    return notebook


def _marks(grade_id: str, *, grade: bool = False, solution: bool = False, locked: bool = False) -> dict[str, Any]:
    """nbgrader's metadata of a cell, schema 3."""
    return {"schema_version": 3, "grade_id": grade_id, "grade": grade, "solution": solution, "locked": locked,
            "task": False}  # fmt: skip


def generate(master: Any) -> Any:
    """The learner's notebook: solutions replaced by a stub, hidden assertions gone; the same cells and ids."""
    notebook = nbformat.from_dict(master)
    for cell in (one for one in notebook.cells if one.cell_type == "code"):
        stub = lambda hit: "\n".join(hit[1] + line for line in STUB)  # noqa: E731  too short for a def
        cell.source = without_hidden(_SOLUTION.sub(stub, cell.source))
        if BEGIN in cell.source or END in cell.source or BEGIN_HIDDEN in cell.source:
            raise CourseError(f"a marker without its partner in the cell {cell.source[:60]!r}")
    return notebook


def without_hidden(source: str) -> str:
    """A cell as handed out: without the assertion that the masters hold for nbgrader."""
    return _HIDDEN.sub("", source)


def make(paths: Iterable[Path]) -> list[str]:
    """Stamp the masters and write the learners' notebooks; returns what is still wrong, ideally nothing."""
    for path in paths:
        master = stamp_master(read(path), path.stem, language_of(path))
        write(master, path)
        exercise_path(path).parent.mkdir(exist_ok=True)
        write(generate(read(path)), exercise_path(path))
    return problems([])


def _handed_out(notebook: Any) -> list[tuple[Any, ...]]:
    """What matters of a learner's notebook: not what JupyterLab notes of its kernel and view when it saves one."""
    kept = ("nbgrader", "tags")
    return [
        (cell.id, cell.cell_type, cell.source, cell.get("outputs"), [cell.metadata.get(name) for name in kept])
        for cell in notebook.cells
    ]


def problems(paths: Iterable[Path]) -> list[str]:
    """What differs from what `minimind course exercises` would write, one line each; empty if all is well."""
    found = []
    for path in paths:
        stored, target = read(path), exercise_path(path)
        again = stamp_master(nbformat.from_dict(read(path)), path.stem, language_of(path))
        if text_of(again) != path.read_text(encoding="utf-8"):
            found.append(f"{shown(path)}: not as it would be stamped: `minimind course exercises`")
        if not target.is_file() or _handed_out(read(target)) != _handed_out(generate(stored)):
            found.append(f"{shown(target)}: not what its master gives: `minimind course exercises`")
    made = {exercise_path(path) for path in with_editions(master_paths())}
    strays = set((repository_root() / "exercises").rglob("*_*.ipynb")) - made
    return found + [f"{shown(path)}: it has no master in solutions/" for path in sorted(strays)]
