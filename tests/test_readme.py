"""The README agrees with the result files."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_readme_is_filled_from_the_result_files() -> None:
    script = [sys.executable, str(ROOT / "benchmarks" / "readme.py"), "--check"]
    done = subprocess.run(script, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr


def test_a_changed_figure_is_noticed(tmp_path: Path) -> None:
    for name in (
        "README.md",
        "README.zh.md",
        "benchmarks/readme.py",
        "benchmarks/results/course.json",
        "benchmarks/results/stages.json",
        "benchmarks/results/exams.json",
        "benchmarks/results/claims.json",
        "benchmarks/results/lm_eval.json",
        *(path.relative_to(ROOT).as_posix() for path in (ROOT / "benchmarks" / "results" / "bench").glob("*.json")),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "zh").mkdir()
    for path in (ROOT / "notebooks").rglob("*.ipynb"):
        (tmp_path / path.relative_to(ROOT)).write_bytes(path.read_bytes())
    script = [sys.executable, str(tmp_path / "benchmarks" / "readme.py"), "--check"]
    assert subprocess.run(script, capture_output=True, check=False, timeout=300).returncode == 0
    for name, cell in (("README.md", "| **all** |"), ("README.zh.md", "| **合计** |")):
        readme, right = tmp_path / name, (tmp_path / name).read_text(encoding="utf-8")
        readme.write_text(right.replace(cell, "| **some** |"), encoding="utf-8")
        done = subprocess.run(script, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 1 and done.stderr.startswith(f"{name} does not match")
        readme.write_text(right, encoding="utf-8")
