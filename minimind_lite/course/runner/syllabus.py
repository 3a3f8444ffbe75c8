"""A syllabus for any number of weeks: chapters, exercises and capstones in their order, with the minutes they state."""

import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from minimind_lite.files import repository_root, write_text

from ..exercises.masters import master_paths
from ..kit.errors import CourseError
from ..notebooks.files import chapter_paths, reading_minutes, tasks_in, title_of

WEEKS = (6, 12)  # of the two plans in CONTRIBUTING.md
BEGIN, END = "<!-- syllabus: written by `minimind course syllabus --write` -->", "<!-- end of the syllabus -->"
_CAPSTONE = re.compile(r"^## \d+ · (Build|Align|Measure): (.+)$", re.MULTILINE)
# The chapter after which a part's capstones can be done.
AFTER = {"Build": "07", "Align": "12", "Measure": "15"}


@dataclass(frozen=True)
class Lesson:
    """One chapter or one capstone: its name and its minutes of reading and of exercises."""

    name: str
    reading: int
    exercises: int

    @property
    def minutes(self) -> int:
        """Both together."""
        return self.reading + self.exercises


def lessons() -> list[Lesson]:
    """Everything that a learner does, in order. Raises CourseError where a chapter states no minutes."""
    masters = {path.stem: path for path in master_paths()}
    found = []
    for path in chapter_paths():
        reading = reading_minutes(path)
        if not reading:
            raise CourseError(f"{path.name}: its first cell has no row `| time | … | N minutes |`")
        number = path.stem.partition("_")[0]
        tasks = sum(minutes for minutes, _ in tasks_in(masters[path.stem])) if path.stem in masters else 0
        found.append(Lesson(f"[{title_of(path)}](notebooks/{path.name})", reading, tasks))
        found += [one for part, after in AFTER.items() if after == number for one in _capstones(masters, part)]
    return found


def _capstones(masters: dict[str, Path], part: str) -> list[Lesson]:
    """A part's capstones."""
    path = next((path for name, path in masters.items() if name.endswith("_capstones")), None)
    named = [(minutes, _CAPSTONE.search(text)) for minutes, text in (tasks_in(path) if path else [])]
    return [Lesson(f"Capstone, {part.lower()}: [{title[2]}](exercises/{path.name})", 0, minutes)
            for minutes, title in named if path and title and title[1] == part]  # fmt: skip


def weeks_of(everything: list[Lesson], weeks: int) -> list[list[Lesson]]:
    """The lessons in ``weeks`` consecutive parts, so that the fullest week is as short as it can be.

    Raises CourseError for fewer lessons than weeks, or fewer weeks than one.
    """
    if not 1 <= weeks <= len(everything):
        raise CourseError(f"{weeks} weeks: wanted are 1 to {len(everything)}, as many as there are lessons")
    upto = [0]
    for one in everything:
        upto.append(upto[-1] + one.minutes)
    best: dict[tuple[int, int], tuple[int, list[int]]] = {(0, 0): (0, [0])}
    for week in range(1, weeks + 1):
        for end in range(week, len(everything) + 1):
            before = [(start, best[week - 1, start]) for start in range(week - 1, end) if (week - 1, start) in best]
            best[week, end] = min((max(longest, upto[end] - upto[start]), [*ends, end])
                                  for start, (longest, ends) in before)  # fmt: skip
    return [everything[start:end] for start, end in pairwise(best[weeks, len(everything)][1])]


def as_markdown(weeks: int, everything: list[Lesson]) -> str:
    """A table with a row for each week."""
    rows = ["| week | what | reading | exercises |", "|---|---|---|---|"]
    for number, some in enumerate(weeks_of(everything, weeks), 1):
        names = " · ".join(one.name for one in some)
        rows.append(f"| {number} | {names} | {_hours(sum(one.reading for one in some))} | "
                    f"{_hours(sum(one.exercises for one in some))} |")  # fmt: skip
    return "\n".join(rows)


def _hours(minutes: int) -> str:
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min"


def section() -> str:
    """What stands between the marks in CONTRIBUTING.md."""
    everything = lessons()
    total = _hours(sum(one.minutes for one in everything))
    tables = "\n\n".join(f"In {weeks} weeks:\n\n{as_markdown(weeks, everything)}" for weeks in WEEKS)
    return f"{BEGIN}\n{total} in all, {len(everything)} lessons.\n\n{tables}\n{END}"


def _replaced(text: str) -> str:
    first, last = text.find(BEGIN), text.find(END)
    if first < 0 or last < first:
        raise CourseError(f"CONTRIBUTING.md lacks the lines {BEGIN!r} and {END!r}, between which the syllabus stands")
    return text[:first] + section() + text[last + len(END) :]


def is_current(path: Path | None = None) -> bool:
    """Whether the page has the syllabus as the chapters are now."""
    text = (path or repository_root() / "CONTRIBUTING.md").read_text(encoding="utf-8")
    return _replaced(text) == text


def write(path: Path | None = None) -> None:
    """Write the syllabus into its place in CONTRIBUTING.md, or in another page."""
    path = path or repository_root() / "CONTRIBUTING.md"
    write_text(path, _replaced(path.read_text(encoding="utf-8")))
