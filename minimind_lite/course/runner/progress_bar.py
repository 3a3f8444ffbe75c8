"""What the terminal shows while the course runs: a live line per running chapter, or plain lines in a log."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ..kit.language import say
from .schedule import Task, timeline


def minutes(seconds: float) -> str:
    """A duration for people, in the current language: "45 s", "2 min 05 s"."""
    whole = max(0, round(seconds))
    if whole < 60:
        return say("{seconds} s", seconds=whole)
    return say("{minutes} min {seconds} s", minutes=whole // 60, seconds=f"{whole % 60:02d}")


@dataclass
class _Chapter:
    """A running chapter."""

    label: str
    started: float
    heading: str = ""
    share: float = 0.0  # of its cells


class CourseProgressBar:
    """Follows one run of the course and estimates the time left from what each chapter is expected to take.

    ``tasks``: the chapters that will run, each with the seconds recorded by an earlier run or stated in its settings.
    On a terminal, one line for each running chapter stays in place and is redrawn; elsewhere each chapter prints a line
    when it starts and another when it ends.
    """

    def __init__(self, tasks: Sequence[Task], jobs: int = 1, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        self.jobs = jobs
        self.total = sum(task.seconds for task in tasks)
        self.left_over = {task.name: task for task in tasks}  # chapters not finished yet
        self.running: dict[str, _Chapter] = {}
        self.ratio = 1.0  # how much slower than expected this machine has been so far
        self.spent = self.promised = 0.0
        self.live = Live(console=self.console, refresh_per_second=4, get_renderable=self._lines, transient=True)

    def __enter__(self) -> "CourseProgressBar":
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.console.is_terminal:
            self.live.stop()

    def say(self, text: str) -> None:
        """Print a line that stays, above the live ones, without wrapping or markup."""
        self.console.print(text, soft_wrap=True, markup=False, emoji=False)

    def start(self, name: str, label: str) -> None:
        """A chapter starts."""
        self.running[name] = _Chapter(label, time.monotonic())
        if not self.console.is_terminal:
            expected, left = minutes(self.left_over[name].seconds * self.ratio), minutes(self.time_left())
            text = say("{chapter}: starts, about {time}, about {left} left for the course",
                       chapter=label, time=expected, left=left)  # fmt: skip
            self.say(text)

    def listen(self, name: str, heading: str, cells_done: int, cells: int) -> None:
        """A running chapter has reached a cell under ``heading``; called from its thread."""
        chapter = self.running[name]
        chapter.heading, chapter.share = heading, cells_done / max(1, cells)

    def skip(self, name: str) -> None:
        """A chapter need not run."""
        del self.left_over[name]

    def finish(self, name: str, seconds: float, failed: bool = False) -> None:
        """A chapter has ended; the time it took corrects the estimate for the rest."""
        self.promised += self.left_over.pop(name).seconds
        self.spent += seconds
        if self.promised > 0:
            self.ratio = min(20.0, max(0.05, self.spent / self.promised))
        text = say("{chapter}: FAILED in {time}" if failed else "{chapter}: done in {time}",
                   chapter=self.running.pop(name).label, time=minutes(seconds))  # fmt: skip
        self.say(text)

    def time_left(self) -> float:
        """Estimated seconds until the last chapter ends."""
        now, tasks = time.monotonic(), []
        for name, task in list(self.left_over.items()):
            chapter = self.running.get(name)
            passed = now - chapter.started if chapter else 0.0
            tasks.append(replace(task, seconds=max(0.0, task.seconds * self.ratio - passed)))
        return max((slot.end for slot in timeline(tasks, self.jobs, list(self.running))), default=0.0)

    def _lines(self) -> Any:
        running = dict(self.running)
        done = self.total - sum(task.seconds for task in list(self.left_over.values()))
        done += sum(self.left_over[name].seconds * one.share for name, one in running.items() if name in self.left_over)
        grid = Table.grid(padding=(0, 1))
        for row, chapter in enumerate(running.values()):
            bar = ProgressBar(total=1.0, completed=done / (self.total or 1), width=24)
            grid.add_row(
                Text(chapter.label, style="bold"), "" if row else bar,
                "" if row else Text(say("{time} left", time=minutes(self.time_left()))),
                Text(chapter.heading, style="dim", overflow="ellipsis", no_wrap=True),
            )  # fmt: skip
        return grid
