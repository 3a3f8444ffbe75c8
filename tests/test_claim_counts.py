"""In how many runs a claim held: what is counted, what cannot be counted together, and where the counts are shown."""

import importlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from course_kit import RECORD, write_chapter

from minimind_lite.course.kit.errors import CourseError
from minimind_lite.course.runner import arithmetic, report
from minimind_lite.course.runner.page import ChapterView, page
from minimind_lite.course.runner.plan import make_plan
from minimind_lite.files import repository_root

Report = dict[str, Any]
CLAIM = 'chapter.claim("it learns", 1 < {limit})'


@pytest.fixture
def claims(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ModuleType]:
    """benchmarks/claims.py, which records under ``tmp_path``."""
    monkeypatch.syspath_prepend(str(repository_root() / "benchmarks"))
    module = importlib.import_module("claims")
    monkeypatch.setattr(module, "RECORD", tmp_path / "claims.json")
    yield module
    del sys.modules["claims"]


def made(seed: int, held: dict[str, bool], **changes: Any) -> Report:
    """The report of a run of chapter 06 alone."""
    rows = [
        {"name": "01_tokenizer", "status": "missing", "seconds": 0.0},
        {"name": "06_moe", "status": "done", "seconds": 1.0, "parameters": {"seed": seed}},
    ]
    return {"commit": "a" * 40, "profile": "quick", "device": "cpu, 2 cores", "arithmetic": "avx2:1",
            "chapters": rows, "claims": {"06_moe": held}} | changes  # fmt: skip


def named(*reports: Report) -> dict[Path, Report]:
    return {Path(f"{number}.json"): one for number, one in enumerate(reports)}


def test_a_claim_is_counted_over_the_runs_that_make_it(claims: ModuleType) -> None:
    counted = claims.count(
        named(
            made(0, {"it learns": True, "it talks": True}),
            made(1, {"it learns": False, "it talks": True}),
            made(1, {"it learns": True}, arithmetic="default:2"),
        )
    )
    assert counted == {
        "06_moe": {
            "commit": "a" * 40,
            "runs": ["seed 0, avx2:1", "seed 1, avx2:1", "seed 1, default:2"],
            "claims": {
                "it learns": {"held": 2, "of": 3, "not_in": ["seed 1, avx2:1"]},
                "it talks": {"held": 2, "of": 2, "not_in": []},
            },
        }
    }


def test_a_run_without_parameters_has_the_seed_of_its_settings(claims: ModuleType) -> None:
    one = made(0, {"it learns": True})
    del one["chapters"][1]["parameters"], one["arithmetic"]  # as reports were before they said it
    assert claims.count(named(one))["06_moe"]["runs"] == ["seed 0, cpu, 2 cores"]


def test_a_chapter_that_failed_or_is_stale_does_not_count(claims: ModuleType) -> None:
    for status in ("failed", "stale", "missing"):
        one = made(0, {"it learns": True})
        one["chapters"][1]["status"] = status
        assert claims.count(named(one)) == {}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"commit": "b" * 40}, "1.json is of commit bbbbbbbbbbbb, 0.json of aaaaaaaaaaaa: run both at the same one"),
        ({"claims": None}, "1.json: records no claims; give the report.json of a run"),
        ({"chapters": None}, "1.json: records no claims"),
        ({"profile": "full"}, "1.json: a run at the profile full; claims are counted at quick"),
        ({"chapters": [{"name": "06_moe", "status": "done", "parameters": {"seed": 1, "total_steps": 3}}]},
         "1.json: 06_moe was run with total_steps=3, which is another experiment"),
    ],
)  # fmt: skip
def test_what_cannot_be_counted_together(claims: ModuleType, changes: Report, words: str) -> None:
    with pytest.raises(CourseError, match=words):
        claims.count(named(made(0, {"it learns": True}), made(1, {"it learns": True}, **changes)))


def test_a_report_counts_only_once(claims: ModuleType) -> None:
    with pytest.raises(CourseError, match=r"1\.json and 0\.json are the same report"):
        claims.count(named(made(0, {"it learns": True}), made(0, {"it learns": True})))


def test_chapters_that_were_not_run_keep_their_record(claims: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "claims.json").write_text(
        json.dumps({"profile": "quick", "chapters": {"06_moe": "old", "07b_cleaning": "kept"}}), encoding="utf-8"
    )
    claims.record(named(made(0, {"it learns": True})))
    stored = json.loads((tmp_path / "claims.json").read_text(encoding="utf-8"))["chapters"]
    assert list(stored) == ["06_moe", "07b_cleaning"]
    assert stored["06_moe"]["commit"] == "a" * 40 and stored["07b_cleaning"] == "kept"


def test_runs_are_added_to_those_of_another_commit_and_none_counts_twice(claims: ModuleType) -> None:
    claims.record(named(made(0, {"it learns": False, "it is gone": True})))
    later = [made(seed, {"it learns": True, "it is new": seed == 2}, commit="b" * 40) for seed in (1, 2)]
    claims.record(named(*later), add=True)
    stored = json.loads(claims.RECORD.read_text(encoding="utf-8"))["chapters"]["06_moe"]
    before = f"seed 0, avx2:1 (commit {'a' * 7})"
    assert stored == {
        "commit": "b" * 40,
        "runs": [before, "seed 1, avx2:1", "seed 2, avx2:1"],
        "claims": {
            "it learns": {"held": 2, "of": 3, "not_in": [before]},
            "it is new": {"held": 1, "of": 2, "not_in": ["seed 1, avx2:1"]},
        },
    }
    claims.record(named(made(3, {"it learns": True}, arithmetic="cpu (x86_64)", commit="c" * 40)), add=True)
    stored = json.loads(claims.RECORD.read_text(encoding="utf-8"))["chapters"]["06_moe"]
    later_runs = [f"seed {seed}, avx2:1 (commit {'b' * 7})" for seed in (1, 2)]
    assert stored["runs"] == [before, *later_runs, "seed 3, cpu (x86_64)"]
    with pytest.raises(CourseError, match=r"counted before: seed 0, avx2:1; without --add"):
        claims.record(named(made(0, {"it learns": True}, commit="c" * 40)), add=True)
    assert json.loads(claims.RECORD.read_text(encoding="utf-8"))["chapters"]["06_moe"] == stored


def test_reports_from_elsewhere_are_counted_and_what_is_none_is_named(
    claims: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def called(*names: str) -> int:
        monkeypatch.setattr(sys, "argv", ["claims.py", "--report", *(str(tmp_path / name) for name in names)])
        return int(claims.main())

    (tmp_path / "a.json").write_text(json.dumps(made(0, {"it learns": False})), encoding="utf-8")
    (tmp_path / "b.json").write_text("{", encoding="utf-8")
    assert called("a.json") == 0
    assert "06_moe: 0 of 1: it learns\n    not: seed 0, avx2:1" in capsys.readouterr().out
    before = (tmp_path / "claims.json").read_bytes()
    for wrong in ("b.json", "none.json"):
        assert called("a.json", wrong) == 1
        assert wrong in capsys.readouterr().err
    assert (tmp_path / "claims.json").read_bytes() == before


@pytest.fixture
def toy_course(claims: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A course whose second chapter claims something and reads from the first; the third does neither."""
    notebooks, seed = tmp_path / "notebooks", "\nseed = None"
    given = 'profile = "quick"\noutput_dir = "x"\nlanguage = "en"' + seed
    write_chapter(notebooks, "00_one", RECORD.replace("count", "2"), parameters=given)
    work = ('chapter.require("one")', RECORD.replace("count", "2"), "limit = 3 - (seed or 0)")
    note = '(stage / "results.json").write_text(json.dumps({"figures": {"a": 1}, "claims": {"it learns": 1 < limit}}))'
    write_chapter(notebooks, "01_two", *work, f"def claim(*_):\n    {note}\n" + "chapter.claim = claim",
                  CLAIM.format(limit="limit"), parameters=given)  # fmt: skip
    write_chapter(notebooks, "02_three", RECORD.replace("count", "2"), parameters=given)
    monkeypatch.setattr(
        claims, "make_plan", lambda *given, language, **more: make_plan(*given, folder=notebooks, **more)
    )
    monkeypatch.delenv("MINIMIND_SMOKE", raising=False)
    return tmp_path / "work"


def test_the_course_runs_once_for_every_seed_and_a_second_call_runs_nothing_again(
    claims: ModuleType, toy_course: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["claims.py", "--seeds", "0", "2", "--modes", "default:1", "--work", str(toy_course)]
    monkeypatch.setattr(sys, "argv", arguments)
    before = dict(os.environ)
    assert claims.main() == 0
    first = capsys.readouterr().out
    assert "01_two: 1 of 2: it learns\n    not: seed 2, default:1" in first
    assert "02_three: starts" not in first and "00_one: starts" in first
    assert os.environ == before
    assert sorted(path.name for path in toy_course.iterdir()) == ["seed-0-default-1", "seed-2-default-1"]
    assert claims.main() == 0
    again = capsys.readouterr().out
    assert "starts" not in again and "01_two: 1 of 2: it learns" in again


def test_a_chapter_that_fails_is_named_and_nothing_recorded(
    claims: ModuleType, toy_course: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_chapter(toy_course.parent / "notebooks", "00_one", "1 / 0", parameters="profile = output_dir = seed = None")
    monkeypatch.setattr(sys, "argv", ["claims.py", "--seeds", "0", "--modes", "default:1", "--work", str(toy_course)])
    assert claims.main() == 1
    assert "00_one: cell In" in capsys.readouterr().err
    assert not claims.RECORD.exists()


def test_modes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert arithmetic.environment("avx2:2")["OMP_NUM_THREADS"] == "2"
    for wrong in ("sse:1", "avx2", "avx2:", "avx2:0", "avx2:-1", ":1", ""):
        with pytest.raises(CourseError, match="no arithmetic mode"):
            arithmetic.environment(wrong)
    monkeypatch.setattr(arithmetic, "best_kernels", lambda: "avx2")
    assert arithmetic.check_mode("default:1") == "default:1" and arithmetic.check_mode("avx2:2") == "avx2:2"
    with pytest.raises(CourseError, match="no avx512 kernels; its best are called avx2"):
        arithmetic.check_mode("avx512:1")
    for name in ("ATEN_CPU_CAPABILITY", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    assert arithmetic.mode_here() == "avx2:1"
    with arithmetic.computing("default:2"):
        assert arithmetic.mode_here() == "default:2" and os.environ["MINIMIND_DEVICE"] == "cpu"
    assert arithmetic.mode_here() == "avx2:1"


def test_the_page_shows_the_recorded_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = {"commit": "abc", "profile": "quick", "device": "cpu, 1 core", "jobs": 1, "total_seconds": 1.0}
    held = {"it learns": True, "it talks": False, "it sings": True}
    counts = {"it learns": (3, 3), "it talks": (0, 1)}
    text = page(data, [ChapterView(Path("a.ipynb"), "A", "done", 1.0, {}, held, "", "", counts)], [], "")
    assert 'it learns <span class="quiet">held in 3 of 3 recorded runs</span></li>' in text
    assert 'it talks <span class="quiet">held in 0 of 1 recorded run</span></li>' in text
    assert "it sings</li>" in text

    monkeypatch.setattr(report, "repository_root", lambda: tmp_path)
    assert report.recorded_counts() == {}
    (tmp_path / "benchmarks" / "results").mkdir(parents=True)
    chapter = {"claims": {"it learns": {"held": 2, "of": 3, "not_in": ["seed 1, avx2:1"]}}}
    record = json.dumps({"chapters": {"06_moe": chapter}})
    (tmp_path / "benchmarks" / "results" / "claims.json").write_text(record, encoding="utf-8")
    assert report.recorded_counts() == {"06_moe": {"it learns": (2, 3)}}


def test_a_report_says_which_parameters_were_changed(tmp_path: Path) -> None:
    from minimind_lite.course.runner import state
    from minimind_lite.course.runner.run import CourseRun

    write_chapter(tmp_path / "notebooks", "00_one")
    plan = make_plan(output_dir=tmp_path / "out", folder=tmp_path / "notebooks")
    last = state.LastRun("done", 1.0, "", "quick", {"seed": 3, "language": "zh"})
    state.save(plan.state_file, {"00_one": last})
    made = report.make_report(CourseRun(plan, [("00_one", "done", 1.0)]), [])
    assert made.data["chapters"] == [{"name": "00_one", "status": "done", "seconds": 1.0, "parameters": {"seed": 3}}]
