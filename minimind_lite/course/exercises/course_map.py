"""The map of the course, for chapter 00: every chapter with its exercises, their minutes, and what is done here."""

from dataclasses import dataclass
from html import escape
from pathlib import Path

from minimind_lite.files import UnreadableFile, repository_root

from ..kit.language import language, say, say_count, spaced
from ..kit.paths import stage_of
from ..kit.profiles import RESULTS, expected_minutes
from ..kit.style import html
from ..notebooks.files import chapter_paths, edition_path, reading_minutes, tasks_in, title_of
from .core import every_check
from .solved import solved_tasks


@dataclass(frozen=True)
class Stop:
    """One chapter on the map. Links lead from the folder of its own edition's chapters."""

    title: str
    link: str
    reading: int  # minutes
    running: float  # minutes of the profile quick
    done: bool  # it has left results on this machine
    exercises: str  # the link to its set; "" if it has none
    exercise_minutes: int
    solved: int
    tasks: int


@dataclass(frozen=True)
class CourseMap:
    """The stops in order. A notebook shows it as a table; ``print`` gives plain text."""

    stops: tuple[Stop, ...]

    @property
    def next(self) -> Stop | None:
        """The first chapter that has not been run here; None if all have."""
        return next((one for one in self.stops if not one.done), None)

    def summary(self) -> str:
        """How much is done, and what comes next, in a sentence or two."""
        counted = say_count(
            "{count} of {chapters} chapters has been run on this machine, and {solved} of {tasks} tasks solved.",
            "{count} of {chapters} chapters have been run on this machine, and {solved} of {tasks} tasks solved.",
            sum(one.done for one in self.stops), chapters=len(self.stops),
            solved=sum(one.solved for one in self.stops), tasks=sum(one.tasks for one in self.stops),
        )  # fmt: skip
        return spaced(f"{counted} {say('Next: {title}', title=self.next.title) if self.next else say('All are done.')}")

    def __repr__(self) -> str:
        lines = [
            f"{'✓' if one.done else '▶' if one is self.next else '·'} {one.title} " + self._minutes(one)
            for one in self.stops
        ]
        return "\n".join([*map(spaced, lines), self.summary()])

    def _minutes(self, one: Stop) -> str:
        running = f"{one.running:g}"
        if not one.tasks:
            return say("({reading} min to read, {running} min to run)", reading=one.reading, running=running)
        return say("({reading} min to read, {running} min to run; {solved} of {tasks} tasks solved)",
                   reading=one.reading, running=running, solved=one.solved, tasks=one.tasks)  # fmt: skip

    def _repr_html_(self) -> str:
        heads = (say("chapter"), say("to read, min"), say("to run, min"), say("on this machine"), say("exercises"),
                 say("to solve, min"), say("tasks solved"))  # fmt: skip
        head = "".join(f'<th scope="col" style="text-align:left">{escape(one)}</th>' for one in heads)
        rows = "".join(f"<tr>{self._row(one)}</tr>" for one in self.stops)
        caption = f'<caption style="text-align:left">{escape(self.summary())}</caption>'
        table = f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        return str(html(table).data)

    def _row(self, one: Stop) -> str:
        state = say("✓ has been run") if one.done else say("▶ next") if one is self.next else say("not run yet")
        link = f'<a href="{escape(one.link)}">{escape(one.title)}</a>'
        tasks = f'<a href="{escape(one.exercises)}">{escape(say("open"))}</a>' if one.exercises else ""
        solved = f"{one.solved} / {one.tasks}" if one.tasks else ""
        cells = (str(one.reading), f"{one.running:g}", escape(state), tasks, str(one.exercise_minutes or ""), solved)
        name = f'<th scope="row" style="text-align:left">{link}</th>'
        return name + "".join(f'<td style="text-align:left">{cell}</td>' for cell in cells)


def course_map(artifacts: Path) -> CourseMap:
    """The map in the current language. artifacts: the folder in which the chapters leave their results."""
    checks = every_check()
    try:
        noted = solved_tasks()
    except (UnreadableFile, OSError):
        noted = {}  # `minimind course progress` says what is wrong with the file
    solved = [task for task, one in checks.items() if noted.get(task) == one.digest]
    sets = {path.stem: path for path in chapter_paths((), repository_root() / "exercises")}
    return CourseMap(tuple(_stop(path, artifacts, sets.get(path.stem), list(checks), solved)
                           for path in chapter_paths()))  # fmt: skip


def _stop(path: Path, artifacts: Path, exercises: Path | None, tasks: list[str], solved: list[str]) -> Stop:
    own = edition_path(path, language())
    up = "../exercises/" if language() == "en" else f"../../exercises/{language()}/"
    mine = f"{path.stem.partition('_')[0]}."
    return Stop(
        title=title_of(own if own.is_file() else path),
        link=path.name,
        reading=reading_minutes(path),
        running=expected_minutes(stage_of(path.stem), "quick") or 0.0,
        done=(artifacts / stage_of(path.stem) / RESULTS).is_file(),
        exercises=up + exercises.name if exercises else "",
        exercise_minutes=sum(minutes for minutes, _ in tasks_in(exercises)) if exercises else 0,
        solved=sum(task.startswith(mine) for task in solved),
        tasks=sum(task.startswith(mine) for task in tasks),
    )
