"""Starting: the command, the library, and a chapter's first cells up to the one that begins the chapter.

Seconds of CPU time of a new process with warm file caches; its wall time stands beside them, and so does the bare
interpreter's start. The chapter is 02, at the quick profile, in IPython, and in a Jupyter kernel from its start to its
end, as JupyterLab runs it.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from minimind_lite.files import repository_root
from subjects import Run
from subjects.report import Goal, alone, median

PEERS = ("python",)
SECONDS = {  # the goals
    "minimind --help": 0.4, "a chapter's first cells": 3.0, "a chapter's first cells, in a kernel": 3.0,
}  # fmt: skip
KERNEL_PATIENCE = 300  # seconds, on a busy machine
CHAPTER = "02_rmsnorm"


def first_cell(notebook: Path) -> str:
    """The code of a notebook up to the cell that begins the chapter, that cell included."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    last = next(place for place, source in enumerate(code) if "begin(" in source)
    return "\n".join(code[: last + 1])


def run_command(*command: str, folder: str) -> None:
    """Run a Python with arguments to its end."""
    subprocess.run([sys.executable, *command], check=True, capture_output=True, cwd=folder)


def run_in_kernel(code: str, folder: str) -> None:
    """Start a Jupyter kernel, run one cell in it, and stop it. Raises RuntimeError if the cell does."""
    from jupyter_client.manager import start_new_kernel

    unheard: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    manager, client = start_new_kernel(cwd=folder, startup_timeout=KERNEL_PATIENCE, **unheard)
    try:
        reply = client.execute_interactive(code, timeout=KERNEL_PATIENCE, output_hook=lambda _: None)
    finally:
        client.stop_channels()
        manager.shutdown_kernel()
    if reply["content"]["status"] != "ok":
        raise RuntimeError(f"the chapter's first cells failed: {reply['content'].get('evalue')}")


def spent(work: Callable[[], None]) -> tuple[float, float]:
    """Seconds of CPU time of the processes that ``work`` starts and ends, and of wall time."""
    before, begun = os.times(), time.perf_counter()
    work()
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return cpu, time.perf_counter() - begun


def measure(run: Run) -> list[dict[str, Any]]:
    """One row for each thing that starts."""
    code = first_cell(repository_root() / "notebooks" / f"{CHAPTER}.ipynb")
    with tempfile.TemporaryDirectory() as folder:
        arms: dict[str, Callable[[], None]] = {
            "python": partial(run_command, "-c", "pass", folder=folder),
            "minimind --help": partial(run_command, "-m", "minimind_lite.cli", "--help", folder=folder),
            "import minimind_lite": partial(run_command, "-c", "import minimind_lite", folder=folder),
            "a chapter's first cells": partial(run_command, "-m", "IPython", "-c", code, folder=folder),
            "a chapter's first cells, in a kernel": partial(run_in_kernel, code, folder),
        }
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in arms}
        for number in range(run.rounds + 1):  # the first round warms the file caches
            for name in list(arms)[:: -1 if number % 2 else 1]:
                found = spent(arms[name])
                times[name] += [found] if number else []
    bare = median([cpu for cpu, _ in times.pop("python")])
    return [
        alone(f"start: {name}", "seconds of CPU time", [cpu for cpu, _ in found], goal_of(name),
              wall={"ours": median([wall for _, wall in found])}, bare_interpreter=bare)
        for name, found in times.items()
    ]  # fmt: skip


def goal_of(name: str) -> Goal | None:
    """How long a start may take."""
    return Goal("ours", SECONDS[name], at_most=True) if name in SECONDS else None
