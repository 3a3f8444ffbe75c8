"""The tool that plants mistakes: what it changes, what it leaves alone, and how it judges."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tools import mutate
from tools.mutants import mutants

SOURCE = '''"""Words."""
import torch

LIMIT: int = 3


@torch.no_grad()
def area(a: float, b: float = 2.0) -> float:
    """More words."""
    logger.info("area %d", 7)
    open("x", encoding="utf-8")
    if a < 0 and not b:
        raise ValueError(f"a is {a}, not above {0}")
    with torch.random.fork_rng():
        pairs = zip([a], [b], strict=True)
    return scale(a * b, by=LIMIT)
'''


def test_every_kind_of_mistake_is_planted_and_words_are_left_alone() -> None:
    found = {one.key for one in mutants(SOURCE)}
    assert found == {
        ": 3 -> 4",
        "area: @torch.no_grad() … -> without its decorator",
        "area: 2.0 -> 4.0",
        "area: open('x', encoding='utf-8') -> pass",
        "area: a < 0 and (not b) -> a < 0 or not b",
        "area: a < 0 -> a <= 0",
        "area: 0 -> 1",
        "area: not b -> b",
        "area: raise ValueError(f'a is {a}, not above {0}') -> pass",
        "area: with torch.random.fork_rng(): … -> without it",
        "area: return scale(a * b, by=LIMIT) -> return None",
        "area: scale(a * b, by=LIMIT) -> without by=",
        "area: a * b -> a / b",
    }


def test_a_mutant_is_the_module_with_one_thing_changed() -> None:
    one = next(one for one in mutants(SOURCE) if one.key == "area: a < 0 -> a <= 0")
    assert one.line == 12 and "if a <= 0 and (not b):" in one.source
    for other in mutants(SOURCE):
        compile(other.source, "mutant", "exec")


def test_the_tests_that_enter_the_function_judge_a_mutant_the_quickest_first() -> None:
    entered = {"a.py:area": [(0.1, "t1"), (0.2, "t2"), (70.0, "t3")], "a.py:Box.__init__": [(0.3, "t4")]}
    by_key = {one.key: one for one in mutants(SOURCE)}
    inside, top = by_key["area: not b -> b"], by_key[": 3 -> 4"]
    assert mutate.tests_for("a.py", inside, entered) == ["t1", "t2"]  # the third would take too long
    assert mutate.tests_for("a.py", by_key["area: 2.0 -> 4.0"], entered) == ["t1", "t2", mutate.DEFAULTS]
    assert mutate.tests_for("a.py", top, entered) == ["t1", "t2", mutate.DEFAULTS]  # they read the constant
    entered["a.py:other"] = [(0.01, "t0")]
    assert mutate.tests_for("a.py", replace(top, name="", function="Box"), entered)[:3] == ["t4", "t0", "t1"]
    assert mutate.tests_for("b.py", inside, entered) == [mutate.DEFAULTS]


@pytest.mark.skipif(sys.platform == "win32", reason="it forks")
def test_verdicts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "minimind_lite"
    package.mkdir()
    (package / "sums.py").write_text("def double(x):\n    return 2 * x + 0 * len('')\n")
    (tmp_path / "test_sums.py").write_text(
        "import runpy\ndef test_double():\n    assert runpy.run_path('minimind_lite/sums.py')['double'](3) == 6\n"
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    tests = ["test_sums.py"]
    verdicts = {
        one.after: mutate.judge(tmp_path, "sums.py", one, tests, 1)
        for one in mutants((package / "sums.py").read_text())
    }
    assert verdicts["return None"] == verdicts["3"] == "killed"
    assert verdicts["2 * x - 0 * len('')"] == "survived"
    assert mutate.judge(tmp_path, "sums.py", next(iter(mutants("x = 1"))), [], 1) == "no test"
    assert (package / "sums.py").read_text().startswith("def double")  # put back


@pytest.mark.skipif(sys.platform == "win32", reason="it forks")
def test_a_second_run_judges_only_what_was_not_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = [("model", "a.py", one) for one in list(mutants(SOURCE))[:3]]
    monkeypatch.setattr(mutate, "HOME", tmp_path)
    monkeypatch.setattr(mutate, "VERDICTS", tmp_path / "verdicts.jsonl")
    monkeypatch.setattr(mutate, "make_copy", lambda folder: folder)
    verdicts = iter(["killed", "survived", "timeout"])
    monkeypatch.setattr(mutate, "judge", lambda *_: next(verdicts))
    monkeypatch.setattr(mutate, "PRELOADED", ())
    mutate.run(few, 1, {})
    known = mutate.killed_before()
    assert known == {mutate.digest("a.py", few[0][2]): "killed", mutate.digest("a.py", few[2][2]): "timeout"}
    monkeypatch.setattr(mutate, "judge", lambda *_: "killed now")  # the new tests notice it
    assert [row["verdict"] for row in mutate.run(few, 1, known)] == ["killed", "killed now", "timeout"]


def test_the_survivors_of_the_last_score_are_found_where_they_are_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "minimind_lite").mkdir()
    (tmp_path / "minimind_lite" / "files.py").write_text(SOURCE)
    (tmp_path / "equivalent.json").write_text('{"files.py": {"area: 2.0 -> 4.0": "for an example"}}')
    keys = ["area: not b -> b", "area: 0 -> 1", "area: 2.0 -> 4.0", "area: 8 -> 9"]
    survivors = [*(f"files.py:3 {key}" for key in keys), "files.py:4 area: 0 -> 1", "model/a.py:1 f: 1 -> 2"]
    (tmp_path / "mutation.json").write_text(json.dumps({"survivors": survivors}))
    for name, value in (("ROOT", ""), ("RESULT", "mutation.json"), ("EQUIVALENT", "equivalent.json")):
        monkeypatch.setattr(mutate, name, tmp_path / value)
    found = mutate.recorded_survivors(["files", "model"])
    assert [(floor, file, one.key, one.line) for floor, file, one in found] == [
        ("files", "files.py", "area: not b -> b", 12), ("files", "files.py", "area: 0 -> 1", 12),
    ]  # fmt: skip
    assert capsys.readouterr().out == "gone: files.py area: 8 -> 9\ngone: model/a.py f: 1 -> 2\n"
    assert mutate.recorded_survivors(["data"]) == []


def test_the_score_leaves_equivalent_mutants_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "equivalent.json").write_text('{"model/a.py": {"f: 1 -> 2": "the second axis is the last"}}')
    monkeypatch.setattr(mutate, "EQUIVALENT", tmp_path / "equivalent.json")
    verdicts = ["killed", "timeout", "survived", "no test", "killed", "survived"]
    rows = [
        {"floor": "model", "file": "model/a.py", "line": n, "mutant": f"f: {n} -> {n + 1}", "verdict": verdict}
        for n, verdict in enumerate(verdicts, start=-1)
    ]
    result = mutate.summary(rows, 6, 0)
    assert result["total"] == {"mutants": 6, "killed": 2, "timeout": 1, "equivalent": 1, "no test": 1, "survived": 1,
                               "score": 0.6}  # fmt: skip
    assert result["survivors"] == ["model/a.py:2 f: 2 -> 3", "model/a.py:4 f: 4 -> 5"]
