"""The README agrees with the result files."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
in_chinese = runpy.run_path(str(ROOT / "benchmarks" / "readme_chinese.py"))["in_chinese"]


def test_the_readme_is_filled_from_the_result_files() -> None:
    script = [sys.executable, str(ROOT / "benchmarks" / "readme.py"), "--check"]
    done = subprocess.run(script, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr


def test_a_comparison_on_several_processors_names_each_and_counts_once_on_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))  # readme.py imports its neighbour
    measured = runpy.run_path(str(ROOT / "benchmarks" / "readme.py"))["measured"]

    def report(device: str, *names: str) -> dict[str, object]:
        return {"device": device, "results": [{"name": name, "peer_name": "peer"} for name in names]}

    amd, intel = "cpu (AMD EPYC, x86_64, 2 cores)", "cpu (Intel(R) Xeon(R) Processor, x86_64, 2 cores)"
    rows = measured([report(amd, "a", "b"), report(amd, "a"), report(intel, "a")])
    assert [row["name"] for row in rows] == ["a, on AMD", "b", "a, on Intel"]
    rows = measured([report(intel, "a"), report("NVIDIA H100 80GB HBM3 (1 used)", "a"), report("NVIDIA H200", "a")])
    assert [row["name"] for row in rows] == ["a, on Intel", "a, on NVIDIA H100 80GB HBM3", "a, on NVIDIA H200"]
    assert in_chinese("| generate small: 1 text, int8, on AMD |") == "| 生成 small：1 篇文本，int8，AMD |"


def test_a_changed_figure_is_noticed(tmp_path: Path) -> None:
    for name in (
        "README.md",
        "README.zh.md",
        "benchmarks/readme.py",
        "benchmarks/readme_chinese.py",
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


@pytest.mark.parametrize("name", ["world", "results", "exams", "bench"])
def test_the_chinese_readme_has_the_same_figures(name: str) -> None:
    english, chinese = (
        (ROOT / readme).read_text(encoding="utf-8").partition(f"<!-- {name} -->")[2].partition(f"<!-- /{name} -->")[0]
        for readme in ("README.md", "README.zh.md")
    )
    figures = [
        [sorted(re.findall(r"\d[\d.,]*\d|\d", line)) for line in text.split("\n")] for text in (english, chinese)
    ]
    assert figures[0] == figures[1] and len(figures[0]) > 5


@pytest.mark.parametrize(
    "line", ["| train nano: laughter | 1 |", "| a new row | 1 |", "| 3 (somebody) |", "A new sentence."]
)
def test_words_without_chinese_are_named(line: str) -> None:
    with pytest.raises(SystemExit, match=re.escape(line.split("|")[line.count("|") > 1].strip().split(":")[0])):
        in_chinese(line)
