"""What the terminal shows while the course runs: one live line on a terminal, plain lines in a log."""

import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text


def minutes(seconds: float) -> str:
    """A duration for people: "45 s", "2 min 05 s"."""
    whole = max(0, round(seconds))
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60:02d} s"


class CourseProgressBar:
    """Follows one run of the course and estimates the time left from what each chapter is expected to take.

    ``expected``: seconds for each chapter that will run, recorded by an earlier run or stated in its settings.
    On a terminal, one line stays in place and is redrawn; elsewhere each chapter prints a line when it starts and
    another when it ends.
    """

    def __init__(self, expected: Mapping[str, float], console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        self.expected = dict(expected)
        self.left_over = dict(expected)  # chapters not finished yet
        self.ratio = 1.0  # how much slower than expected this machine has been so far
        self.spent = self.promised = 0.0
        self.chapter, self.heading, self.share, self.started = "", "", 0.0, 0.0
        self.live = Live(console=self.console, refresh_per_second=4, get_renderable=self._line, transient=True)

    def __enter__(self) -> "CourseProgressBar":
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.console.is_terminal:
            self.live.stop()

    def say(self, text: str) -> None:
        """Print a line that stays, above the live one, without wrapping or markup."""
        self.console.print(text, soft_wrap=True, markup=False, emoji=False)

    def start(self, name: str, position: int, total: int) -> None:
        """A chapter starts."""
        self.chapter, self.heading, self.share, self.started = f"[{position}/{total}] {name}", "", 0.0, time.monotonic()
        if not self.console.is_terminal:
            left = f", about {minutes(self.time_left())} left for the course"
            self.say(f"{self.chapter}: starts, about {minutes(self.expected.get(name, 0) * self.ratio)}{left}")

    def listen(self, heading: str, cells_done: int, cells: int) -> None:
        """The running chapter has reached a cell under ``heading``."""
        self.heading, self.share = heading, cells_done / max(1, cells)

    def finish(self, name: str, seconds: float, word: str = "done") -> None:
        """A chapter has ended; the time it took corrects the estimate for the rest."""
        self.promised += self.left_over.pop(name, 0.0)
        self.spent += seconds
        if self.promised > 0:
            self.ratio = min(20.0, max(0.05, self.spent / self.promised))
        self.say(f"{self.chapter}: {word} in {minutes(seconds)}")
        self.chapter = ""

    def time_left(self) -> float:
        """Estimated seconds until the last chapter ends."""
        running = time.monotonic() - self.started if self.chapter else 0.0
        name = self.chapter.rpartition(" ")[2]
        rest = sum(seconds for other, seconds in self.left_over.items() if other != name) * self.ratio
        return rest + max(0.0, self.left_over.get(name, 0.0) * self.ratio - running)

    def _line(self) -> Any:
        done = 1 - sum(self.left_over.values()) / (sum(self.expected.values()) or 1)
        here = self.left_over.get(self.chapter.rpartition(" ")[2], 0.0) / (sum(self.expected.values()) or 1)
        grid = Table.grid(padding=(0, 1))
        grid.add_row(
            Text(self.chapter, style="bold"), ProgressBar(total=1.0, completed=done + here * self.share, width=24),
            Text(f"{minutes(self.time_left())} left"),
            Text(self.heading, style="dim", overflow="ellipsis", no_wrap=True),
        )  # fmt: skip
        return grid
