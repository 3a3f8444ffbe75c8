"""`minimind grade`: points for each task of each submission, as CSV and JSON."""

import csv
import io
import json
import re
import secrets
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from minimind_lite.files import write_text

from ...kit.errors import CourseError
from .isolation import Isolation, choose
from .kernel import KernelCaller, Lost, SubmissionKernel
from .originals import Originals
from .submission import Step, Submission, read_submission

COLUMNS = ("file", "set", "task", "status", "points", "max_points", "message")


@dataclass(frozen=True)
class TaskGrade:
    """One task of one submission."""

    task: str
    status: str  # solved, wrong, not yet, edited check; or the submission's status, if that gives no credit
    points: int
    max_points: int
    message: str


@dataclass(frozen=True)
class Grade:
    """One submission."""

    file: str
    set: str  # "02_rmsnorm"; "" if the file is not a set of this course
    status: str  # graded, timeout, crashed, tampered, unreadable
    seconds: float
    tasks: list[TaskGrade] = field(default_factory=list)

    @property
    def points(self) -> int:
        """The total over the tasks."""
        return sum(task.points for task in self.tasks)

    @property
    def max_points(self) -> int:
        """The maximum for the set."""
        return sum(task.max_points for task in self.tasks)


def grade_files(files: Sequence[Path], *, timeout: float, output: Path, isolation: str = "auto") -> Iterator[str]:
    """Grade each file, and write grades.csv and grades.json into ``output`` after each; yields a line for each.

    A folder stands for the notebooks that lie in it.
    timeout: seconds for a whole submission. isolation: see ``isolation.choose``. A file that is not a submission is
    reported and gets no points. Raises CourseError at the end, when all grades are written, for files that do not exist
    and for submissions that changed the course; at once for a folder without notebooks, and if what a submission
    changed cannot be put back.
    """
    files = [file for path in files for file in _notebooks(path)]
    originals = Originals()
    chosen = choose(isolation, [originals.root, output, *(path.parent for path in files)])
    yield from _warnings(chosen)
    grader = Grader(originals, chosen, aside=output / "changed")
    grades: list[Grade] = []
    for path in files:
        grade = grader.grade(path, timeout=timeout)
        grades.append(grade)
        _write(grades, chosen, output)
        yield f"{grade.status:10} {grade.points:>3} of {grade.max_points:<3} {grade.set or '-':16} {path}"
    yield f"{len(grades)} submissions: {output / 'grades.csv'}, {output / 'grades.json'}"
    _complain(grades, output)


def _notebooks(path: Path) -> list[Path]:
    """The path itself, or a folder's notebooks."""
    if not path.is_dir():
        return [path]
    if found := sorted(path.glob("*.ipynb")):
        return found
    raise CourseError(f"{path} has no notebooks in it: give the files, or the folder where they lie")


def _warnings(isolation: Isolation) -> list[str]:
    """What an instructor should know before strangers' code runs."""
    if not isolation.not_held:
        return [f"isolation: {isolation.name}"]
    lines = [f"isolation: {isolation.name}. A submission can still:", *(f"  * {one}" for one in isolation.not_held)]
    lines += isolation.obstacles
    return [*lines, "A container holds more: CONTRIBUTING.md, Grading, has the commands."]


def _complain(grades: list[Grade], output: Path) -> None:
    missing = [one.file for one in grades if one.status == "unreadable" and not Path(one.file).exists()]
    tampered = [one.file for one in grades if one.status == "tampered"]
    words = [f"there is no file {name}" for name in missing]
    words += [f"{name} changed files of the course: they are as before, its versions are in {output / 'changed'}, "
              "and it has no points. If it was you who changed them, grade it again" for name in tampered]  # fmt: skip
    if words:
        raise CourseError("; ".join(words))


@dataclass(frozen=True)
class Grader:
    """Grades submissions one after the other, all by the same originals."""

    originals: Originals
    isolation: Isolation
    aside: Path  # takes what a submission made of the course's files

    def grade(self, path: Path, *, timeout: float, call_seconds: float = 10.0) -> Grade:
        """Run and check one submission; never raises for anything that is in the file.

        Raises CourseError if it changed files of the course and they cannot be put back.
        """
        start = time.monotonic()
        try:
            submission = read_submission(path, self.originals.sets)
        except (CourseError, OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            return Grade(str(path), "", "unreadable", 0.0, [TaskGrade("-", "unreadable", 0, 0, _one_line(str(error)))])
        status, tasks = self._in_kernel(submission, timeout, call_seconds)
        if not self.isolation.protects_files and (changed := self.originals.changed()):
            self.originals.restore(self.aside)
            words = f"files of the course were changed while it ran: {', '.join(path.name for path in changed)}"
            status, tasks = "tampered", [_no_credit(step, "tampered", words) for step in submission.tasks]
        return Grade(str(path), submission.name, status, round(time.monotonic() - start, 1), tasks)

    def _in_kernel(self, submission: Submission, timeout: float, call_seconds: float) -> tuple[str, list[TaskGrade]]:
        with tempfile.TemporaryDirectory(prefix="minimind-grade-", ignore_cleanup_errors=True) as folder:
            scratch = Path(folder).resolve()
            try:
                with SubmissionKernel(scratch, self.originals, self.isolation, timeout) as kernel:
                    return "graded", judged(submission, kernel, call_seconds)
            except Lost as lost:
                status = str(lost)
        words = "it took longer than the time limit" if status == "timeout" else "its kernel died"
        return status, [_no_credit(step, status, words) for step in submission.tasks]


def judged(submission: Submission, kernel: SubmissionKernel, call_seconds: float) -> list[TaskGrade]:
    """Run all cells in order, then all checks. Raises Lost if the kernel hangs or dies."""
    errors = {index: kernel.execute(step.source) for index, step in enumerate(submission.steps)}
    grades = []
    for index, step in enumerate(submission.steps):
        if step.check is None:
            continue
        if step.edited:
            grades.append(_no_credit(step, "edited check", "the cell with the check was changed or removed"))
            continue
        caller = KernelCaller(kernel, step.function)
        verdict = step.check.judge(caller, seed=secrets.randbits(48), seconds=call_seconds)
        points = step.check.points if verdict.status == "solved" else 0
        failed = f"the cell stopped with {errors[index]}; " if errors[index] and not points else ""
        message = _one_line(failed + verdict.message)
        grades.append(TaskGrade(step.check.task, verdict.status, points, step.check.points, message))
    return grades


def _no_credit(step: Step, status: str, words: str) -> TaskGrade:
    assert step.check is not None  # noqa: S101  for mypy
    return TaskGrade(step.check.task, status, 0, step.check.points, words)


def _one_line(text: str) -> str:
    """The text without control characters and terminal colours, cut to a sensible length."""
    return re.sub(r"\s+", " ", re.sub(r"\x1b\[[0-9;]*m|[\x00-\x08\x0b-\x1f\x7f]", "", text))[:500]


def _write(grades: list[Grade], isolation: Isolation, output: Path) -> None:
    """Both files with all grades so far."""
    how = {"isolation": isolation.name, "not_held": list(isolation.not_held)}
    rows = [asdict(one) | {"points": one.points, "max_points": one.max_points} | how for one in grades]
    write_text(output / "grades.csv", _as_csv(grades))
    write_text(output / "grades.json", json.dumps(rows, ensure_ascii=False, indent=1) + "\n")


def _as_csv(grades: list[Grade]) -> str:
    """One row per task and one with the total; anything a spreadsheet would read as a formula gets an apostrophe."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for one in grades:
        rows = [(one.file, one.set, *(getattr(task, name) for name in COLUMNS[2:])) for task in one.tasks]
        rows.append((one.file, one.set, "total", one.status, one.points, one.max_points, f"{one.seconds} s"))
        writer.writerows([[_harmless(value) for value in row] for row in rows])
    return text.getvalue()


def _harmless(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@") and value != "-" else value
