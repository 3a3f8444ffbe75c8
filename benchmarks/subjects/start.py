"""Starting: `minimind --help`, and a chapter's first cells up to the one that begins the chapter.

Seconds of CPU time of a new process with warm file caches; its wall time stands beside them, and so does the bare
interpreter's start. The chapter is 02, at the quick profile, in IPython.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from minimind_lite.files import repository_root
from subjects import Run
from subjects.report import Goal, alone, median

PEERS = ("python",)
HELP_SECONDS, CHAPTER_SECONDS = 0.4, 3.0
CHAPTER = "02_rmsnorm"


def first_cell(notebook: Path) -> str:
    """The code of a notebook up to the cell that begins the chapter, that cell included."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    last = next(place for place, source in enumerate(code) if "begin(" in source)
    return "\n".join(code[: last + 1])


def spent(command: list[str], folder: str) -> tuple[float, float]:
    """Seconds of CPU time and of wall time of a new process."""
    before, begun = os.times(), time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, cwd=folder)
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return cpu, time.perf_counter() - begun


def measure(run: Run) -> list[dict[str, Any]]:
    """One row for each thing that starts."""
    notebook = repository_root() / "notebooks" / f"{CHAPTER}.ipynb"
    commands = {
        "python": [sys.executable, "-c", "pass"],
        "help": [sys.executable, "-m", "minimind_lite.cli", "--help"],
        "chapter": [sys.executable, "-m", "IPython", "-c", first_cell(notebook)],
    }
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    with tempfile.TemporaryDirectory() as folder:
        once: Callable[[str], tuple[float, float]] = lambda name: spent(commands[name], folder)  # noqa: E731
        for number in range(run.rounds + 1):  # the first round warms the file caches
            for name in list(commands)[:: -1 if number % 2 else 1]:
                found = once(name)
                times[name] += [found] if number else []
    wall = {name: median([one for _, one in pairs]) for name, pairs in times.items()}
    bare = median([cpu for cpu, _ in times["python"]])
    goals = {
        "help": ("start: minimind --help", HELP_SECONDS),
        "chapter": ("start: a chapter's first cells", CHAPTER_SECONDS),
    }
    return [
        alone(title, "seconds of CPU time", [cpu for cpu, _ in times[name]], Goal("ours", limit, at_most=True),
              wall={"ours": wall[name]}, bare_interpreter=bare)
        for name, (title, limit) in goals.items()
    ]  # fmt: skip
