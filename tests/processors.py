"""The numerical tests and the strictly compared cells again, with the kernels that other processors get.

The modes are those of minimind_lite/course/runner/arithmetic.py. Processors other than x86 ignore the variables that
choose the kernels, so there the same code simply runs again.

    python tests/processors.py default:2 avx2:1      # kernels:threads, one round each

Cells that come after the last strictly compared one of their notebook are left out. What chapters read from one
another is taken from ``build/smoke``, as ``make notebooks`` has left it.
"""

import ast
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from minimind_lite.course.runner.arithmetic import environment

ROOT = Path(__file__).resolve().parents[1]
STRICT = "nbval-check-output"
# These start installers, processes, servers or whole courses: minutes, and no arithmetic that others do not cover.
LEFT_OUT = {
    "test_base_install", "test_bench", "test_exercises", "test_full_path", "test_grade", "test_language",
    "test_nbgrader", "test_packaging", "test_processes", "test_scale", "test_serving_api", "test_serving_guard",
    "test_serving_langchain", "test_serving_schema", "test_webui", "test_webui_browser",
}  # fmt: skip

# These reach torch through the library alone.
ALSO = {"test_checks_planted", "test_grpo_course", "test_training_course"}


def imported(path: Path) -> set[str]:
    """The first part of the name of every module that ``path`` imports, wherever in the file it does."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


def numerical_tests(folder: Path = ROOT / "tests") -> list[Path]:
    """The test files that import torch, themselves or through a kit beside them, and ALSO; without LEFT_OUT."""
    with_torch = {path.stem for path in folder.glob("*.py") if "torch" in imported(path)}
    return [
        path
        for path in sorted(folder.glob("test_*.py"))
        if path.stem not in LEFT_OUT and (path.stem in with_torch | ALSO or imported(path) & with_torch)
    ]


def pytest_collection_modifyitems(config: pytest.Config, items: list[Any]) -> None:
    """As a plugin (``-p processors``): of each notebook, keep the cells down to its last strict one."""
    last: dict[Path, int] = {}
    for item in items:
        if STRICT in item.cell.metadata.get("tags", []):
            last[item.path] = item.cell_num
    kept = [item for item in items if item.cell_num <= last.get(item.path, -1)]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


def start(arguments: list[str], mode: str) -> subprocess.Popen[str]:
    paths = os.pathsep.join(filter(None, [str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH")]))
    settings = environment(mode) | {"PYTHONPATH": paths}
    settings["OMP_WAIT_POLICY"] = "PASSIVE"  # two processes share the cores; a thread that spins blocks one
    settings["MINIMIND_SMOKE"] = "1" if "--nbval-lax" in arguments else ""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    return subprocess.Popen(
        command, cwd=ROOT, env=os.environ | settings, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def one_round(mode: str) -> bool:
    """Run tests and cells side by side in this mode; print what failed; whether all passed."""
    began = time.monotonic()
    tests = [str(path) for path in numerical_tests()]
    english = [str(path) for path in sorted((ROOT / "notebooks").glob("*.ipynb"))]  # the Chinese cells are the same
    cells = ["--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout", "550", "-p", "processors", *english]
    running = [start(tests, mode), start(cells, mode)]
    outputs = [process.communicate()[0] for process in running]
    passed = all(process.returncode == 0 for process in running)
    for process, output in zip(running, outputs, strict=True):
        print(output if process.returncode else output.strip().rpartition("\n")[2])
    verdict = "the same" if passed else "DIFFERENT"
    print(f"{mode}: {verdict} ({time.monotonic() - began:.0f} s)", flush=True)
    return passed


if __name__ == "__main__":
    verdicts = [one_round(mode) for mode in sys.argv[1:]]  # all of them, whatever the first one finds
    sys.exit(not all(verdicts))
