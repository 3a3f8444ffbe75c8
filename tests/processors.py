"""The numerical tests and the strictly compared cells again, with the kernels that other processors get.

torch, oneDNN and MKL pick their kernels by what the processor can do, and results differ in the last bits. Environment
variables make them pretend to an older one; the number of threads changes the order of sums as well. Processors other
than x86 ignore the variables, so there the same code simply runs again.

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

ROOT = Path(__file__).resolve().parents[1]
STRICT = "nbval-check-output"
# MKL has to be told too: GELU goes through its vector functions, whose last bit decides between 0.0 and -0.0.
KERNELS = {
    "default": {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_CBWR": "COMPATIBLE"},
    "avx2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_CBWR": "AVX2"},
}
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


def start(arguments: list[str], kernels: str, threads: int) -> subprocess.Popen[str]:
    paths = os.pathsep.join(filter(None, [str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH")]))
    settings = KERNELS[kernels] | {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": paths}
    settings["OMP_WAIT_POLICY"] = "PASSIVE"  # two processes share the cores; a thread that spins blocks one
    settings["MINIMIND_SMOKE"] = "1" if "--nbval-lax" in arguments else ""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    return subprocess.Popen(
        command, cwd=ROOT, env=os.environ | settings, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def one_round(kernels: str, threads: int) -> bool:
    """Run tests and cells side by side with these kernels; print what failed; whether all passed."""
    began = time.monotonic()
    tests = [str(path) for path in numerical_tests()]
    english = [str(path) for path in sorted((ROOT / "notebooks").glob("*.ipynb"))]  # the Chinese cells are the same
    cells = ["--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout", "550", "-p", "processors", *english]
    running = [start(tests, kernels, threads), start(cells, kernels, threads)]
    outputs = [process.communicate()[0] for process in running]
    passed = all(process.returncode == 0 for process in running)
    for process, output in zip(running, outputs, strict=True):
        print(output if process.returncode else output.strip().rpartition("\n")[2])
    verdict = "the same" if passed else "DIFFERENT"
    print(f"{kernels} kernels, {threads} thread(s): {verdict} ({time.monotonic() - began:.0f} s)", flush=True)
    return passed


if __name__ == "__main__":
    rounds = [(kernels, int(threads)) for kernels, _, threads in (one.partition(":") for one in sys.argv[1:])]
    verdicts = [one_round(*one) for one in rounds]  # all of them, whatever the first one finds
    sys.exit(not all(verdicts))
