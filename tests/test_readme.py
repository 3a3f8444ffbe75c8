"""The README agrees with the result files."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_readme_is_filled_from_the_result_files() -> None:
    script = [sys.executable, str(ROOT / "benchmarks" / "readme.py"), "--check"]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_changed_figure_is_noticed(tmp_path: Path) -> None:
    for name in (
        "README.md",
        "benchmarks/readme.py",
        "benchmarks/results/course.json",
        "benchmarks/results/stages.json",
        *(path.relative_to(ROOT).as_posix() for path in (ROOT / "benchmarks" / "results" / "bench").glob("*.json")),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    (tmp_path / "notebooks").mkdir()
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        (tmp_path / "notebooks" / path.name).write_bytes(path.read_bytes())
    readme = tmp_path / "README.md"
    readme.write_text(readme.read_text(encoding="utf-8").replace("| **all** |", "| **some** |"), encoding="utf-8")
    script = [sys.executable, str(tmp_path / "benchmarks" / "readme.py"), "--check"]
    assert subprocess.run(script, capture_output=True, check=False).returncode == 1
