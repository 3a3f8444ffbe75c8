"""`minimind course progress`: which tasks of the exercises are solved."""

from rich.console import Console

from .core import every_check
from .solved import solved_tasks


def show_solved(console: Console | None = None) -> None:
    """For each set of exercises, how many of its tasks are solved; then each task with its status and title."""
    console = console or Console(highlight=False)
    checks, solved = every_check(), solved_tasks()
    for number in sorted({task.partition(".")[0] for task in checks}):
        mine = [one for task, one in checks.items() if task.startswith(f"{number}.")]
        done = sum(solved.get(one.task) == one.digest for one in mine)
        console.print(f"{number}  {done} of {len(mine)} solved", markup=False)
        for one in mine:
            old = one.task in solved and solved[one.task] != one.digest
            word = "solved" if solved.get(one.task) == one.digest else "check changed, run it again" if old else "open"
            console.print(f"    {word:8} {one.title}", markup=False, soft_wrap=True)
