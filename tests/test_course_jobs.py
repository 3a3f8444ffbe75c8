"""Chapters side by side: what may start when, what a failure and an interrupt leave, and that results are the same."""

import ast
import io
import json
import os
import re
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import nbformat
import pytest
from course_kit import RECORD, write_chapter
from rich.console import Console

from minimind_lite.course.kit.paths import stage_of
from minimind_lite.course.kit.profiles import runs_alone
from minimind_lite.course.notebooks.files import chapter_paths
from minimind_lite.course.runner import execute, forecast, progress_bar, report, run, schedule, state
from minimind_lite.course.runner.command import run_and_report
from minimind_lite.course.runner.plan import Plan, make_plan
from minimind_lite.course.runner.progress_bar import CourseProgressBar
from minimind_lite.course.runner.run import run_course
from minimind_lite.course.runner.schedule import Task, default_jobs, next_task, tasks_of, timeline
from minimind_lite.files import LOCK, repository_root

CHAPTERS = repository_root() / "minimind_lite" / "course" / "chapters"
# The chain 01 → 04 → 05 is the longest; 07 is the real chapter that measures speed.
NEEDS = {"01_first": (), "02_short": (), "03_small": ("first",), "04_long": ("first",), "05_last": ("long", "short"),
         "06_other": ("first",), "07_generation": ("first",)}  # fmt: skip


@pytest.fixture(autouse=True)
def not_at_smoke_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MINIMIND_SMOKE", raising=False)


def course(folder: Path, jobs: int, **work: str) -> Plan:
    """A plan of light chapters; ``work``, by stage, is what one of them does besides."""
    for name, stages in NEEDS.items():
        cells = [f'chapter.require("{stage}")' for stage in stages]
        write_chapter(folder / "notebooks", name, *cells, work.get(stage_of(name), "pass"), RECORD)
    return make_plan(output_dir=folder / "out", folder=folder / "notebooks", jobs=jobs)


def quiet() -> Console:
    return Console(file=io.StringIO(), force_terminal=False, width=100)


class Fake:
    """Stands in for ``execute``: chapters that take the seconds given, and a record of what ran when."""

    def __init__(self, seconds: dict[str, float], during: Callable[[str], str] = lambda name: "") -> None:
        self.seconds, self.during = seconds, during
        self.begun: list[str] = []
        self.spans: dict[str, tuple[float, float]] = {}

    def __call__(
        self, source: Path, target: Path, parameters: dict[str, Any], listener: Any, cwd: Path, kernels: Any
    ) -> execute.Outcome:
        start, name = time.monotonic(), source.stem
        self.begun.append(name)
        listener("Work", 1, 2)
        for stage in state.required_stages(source):
            assert (Path(parameters["output_dir"]) / stage / "results.json").is_file()
        error = self.during(name)
        time.sleep(self.seconds.get(name, 0.02))
        results = Path(parameters["output_dir"]) / stage_of(name) / "results.json"
        results.parent.mkdir(parents=True, exist_ok=True)
        results.write_text(json.dumps({"figures": {"score": 1}}))
        self.spans[name] = (start, time.monotonic())
        return execute.Outcome(time.monotonic() - start, error)

    def beside(self, name: str) -> set[str]:
        start, end = self.spans[name]
        return {other for other, (one, two) in self.spans.items() if other != name and one < end and start < two}


def fake(monkeypatch: pytest.MonkeyPatch, *arguments: Any) -> Fake:
    made = Fake(*arguments)
    monkeypatch.setattr(run, "execute", made)
    monkeypatch.setattr(state, "library_hash", lambda chapter: "")  # takes a while, and nothing changes here
    return made


def expect(monkeypatch: pytest.MonkeyPatch, seconds: dict[str, float]) -> None:
    """Seconds that the runner believes the chapters will take."""
    seconds = {name: seconds.get(name, 1.0) for name in NEEDS}
    monkeypatch.setattr(run, "expected_seconds", lambda plan, last_runs: seconds)


EXPECTED = {"01_first": 5.0, "04_long": 50.0, "05_last": 20.0, "06_other": 10.0}


def test_chapters_run_beside_one_another_after_what_they_need(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = fake(monkeypatch, {"01_first": 0.3, "02_short": 0.1, "04_long": 1.0, "06_other": 0.2})
    expect(monkeypatch, EXPECTED)
    console = quiet()
    ran = run_course(course(tmp_path, 2), console=console)
    assert [status for _, status, _ in ran.chapters] == ["done"] * len(NEEDS) and not ran.error
    assert [name for name, _, _ in ran.chapters] == list(NEEDS)  # the course's order, whatever ran first
    assert made.begun[:3] == ["01_first", "02_short", "04_long"]  # the longest chain as early as it can
    assert made.beside("04_long") == {"03_small", "06_other"}
    assert made.beside("07_generation") == set()
    for name, stages in NEEDS.items():
        for other in NEEDS:
            assert stage_of(other) not in stages or made.spans[other][1] <= made.spans[name][0]
    assert "[4/7] 04_long: starts" in console.file.getvalue()  # type: ignore[attr-defined]
    saved = state.load(tmp_path / "out" / "chapters.json")
    assert {one.status for one in saved.values()} == {"done"} and all(one.started for one in saved.values())
    assert not (tmp_path / "out" / LOCK).exists()


def test_one_at_a_time_is_the_order_of_the_course(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = fake(monkeypatch, {})
    expect(monkeypatch, EXPECTED)
    run_course(course(tmp_path, 1), console=quiet())
    assert made.begun == list(NEEDS)
    assert all(one[1] <= other[0] for one, other in pairwise(made.spans[name] for name in NEEDS))


def test_a_failure_lets_the_others_finish_and_starts_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = threading.Event()

    def during(name: str) -> str:
        if name == "04_long":
            assert failing.wait(10)
        if name == "06_other":
            failing.set()
        return "06_other: broken" if name == "06_other" else ""

    made = fake(monkeypatch, {"04_long": 0.3}, during)
    expect(monkeypatch, EXPECTED)
    ran = run_course(course(tmp_path, 2), console=quiet())
    assert ran.error == "06_other: broken" and made.beside("06_other") == {"04_long"}
    statuses = {name: status for name, status, _ in ran.chapters}
    assert (statuses["04_long"], statuses["06_other"], statuses["05_last"]) == ("done", "failed", "not run")
    assert state.load(tmp_path / "out" / "chapters.json")["04_long"].status == "done"
    assert "05_last" not in made.begun


def test_a_second_run_skips_and_runs_only_what_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = fake(monkeypatch, {})
    run_course(course(tmp_path, 2), console=quiet())
    made.begun.clear()
    ran = run_course(course(tmp_path, 2, other="1 + 1"), console=quiet())
    assert made.begun == ["06_other"] and [status for _, status, _ in ran.chapters].count("skipped") == 6


def test_an_error_of_the_runner_itself_ends_all_and_is_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def during(name: str) -> str:
        if name == "02_short":
            raise OSError("no space left")
        return ""

    fake(monkeypatch, {"01_first": 0.3}, during)
    plan = course(tmp_path, 2)
    with pytest.raises(OSError, match="no space left"):
        run_course(plan, console=quiet())
    saved = state.load(plan.state_file)
    assert (saved["01_first"].status, saved["02_short"].status) == ("done", "failed") and len(saved) == 2
    assert not (plan.home / LOCK).exists()


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_an_interrupt_ends_both_and_the_next_run_goes_on(tmp_path: Path) -> None:
    sleep = "import pathlib, time\npathlib.Path('{}').touch()\ntime.sleep(60)"
    plan = course(tmp_path, 2, first=sleep.format("one"), short=sleep.format("two"))

    def interrupt() -> None:
        for _ in range(1200):
            if all((tmp_path / "notebooks" / name).exists() for name in ("one", "two")):
                os.kill(os.getpid(), signal.SIGINT)
                return
            time.sleep(0.1)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores the signal
    thread, begun = threading.Thread(target=interrupt), time.monotonic()
    thread.start()
    try:
        ran = run_course(plan, console=quiet())
    finally:
        signal.signal(signal.SIGINT, before)
    thread.join(60)
    assert time.monotonic() - begun < 55
    assert sorted(ran.error.splitlines()) == [
        f"{name}: interrupted; run the same command again to continue" for name in ("01_first", "02_short")
    ]
    assert [status for _, status, _ in ran.chapters] == ["failed", "failed"] + ["not run"] * 5
    saved = state.load(plan.state_file)
    assert {name: one.status for name, one in saved.items()} == {"01_first": "failed", "02_short": "failed"}
    assert saved["01_first"].inputs == plan.hash_of(plan.chapters[0])  # so that its training would be resumed
    assert "one" in (plan.home / "01_first.ipynb").read_text(encoding="utf-8")  # with its outputs up to there


def test_an_interrupt_between_two_chapters_is_no_success(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(monkeypatch, {})

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "next_task", interrupted)
    assert run_course(course(tmp_path, 2), console=quiet()).error.startswith("interrupted; run the same command")


def test_a_kernel_that_does_not_listen_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "PATIENCE", 0.5)
    deaf = "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nopen('deaf', 'w')\ntime.sleep(60)"
    write_chapter(tmp_path / "notebooks", "01_first", deaf)
    plan = make_plan(output_dir=tmp_path / "out", folder=tmp_path / "notebooks")
    plainly = run.wait

    def wait(futures: Any, **options: Any) -> Any:
        if options["timeout"] and (tmp_path / "notebooks" / "deaf").exists():
            (tmp_path / "notebooks" / "deaf").unlink()
            raise KeyboardInterrupt
        return plainly(futures, **options)

    monkeypatch.setattr(run, "wait", wait)
    begun = time.monotonic()
    assert "01_first: interrupted" in run_course(plan, console=quiet()).error
    assert time.monotonic() - begun < 55


def test_two_kernels_run_at_once_in_their_folder_and_the_report_counts_the_wall(tmp_path: Path) -> None:
    meet = ("import pathlib, time\npathlib.Path('{}').touch()\nuntil = time.time() + 60\n"
            "while not pathlib.Path('{}').exists():\n    assert time.time() < until\n    time.sleep(0.1)\n"
            "time.sleep(1)")  # fmt: skip
    write_chapter(tmp_path / "notebooks", "01_a", meet.format("here_a", "here_b"), RECORD)
    write_chapter(tmp_path / "notebooks", "02_b", meet.format("here_b", "here_a"), RECORD)
    plan = make_plan(output_dir=tmp_path / "out", folder=tmp_path / "notebooks", jobs=2)
    before = Path.cwd()
    assert run_and_report(plan, console=quiet())
    assert Path.cwd() == before
    made = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    each = [chapter["seconds"] for chapter in made["chapters"]]
    assert made["jobs"] == 2 and max(each) <= made["total_seconds"] <= sum(each) - 1


def test_seconds_side_by_side_count_once() -> None:
    rows = [("a", "done", 10.0), ("b", "done", 4.0), ("c", "done", 10.0), ("d", "skipped", 3.0), ("e", "missing", 0.0)]
    starts = {"a": 100.0, "b": 102.0, "c": 105.0, "d": 0.0}
    last_runs = {name: state.LastRun("done", 1.0, "", "quick", {}, start) for name, start in starts.items()}
    assert report.wall_seconds(rows, last_runs) == 18.0  # from 100 to 115, and 3 at an unknown time
    assert report.wall_seconds(rows, {}) == 27.0


def test_a_chapter_waits_for_those_that_look_for_what_it_replaces(tmp_path: Path) -> None:
    write_chapter(tmp_path / "notebooks", "01_a", '(chapter.output_dir / "b").exists()')
    write_chapter(tmp_path / "notebooks", "02_b")
    plan = make_plan(output_dir=tmp_path / "out", folder=tmp_path / "notebooks", jobs=2)
    assert [task.needs for task in tasks_of(plan, {"01_a": 1.0, "02_b": 1.0})] == [frozenset(), {"01_a"}]
    assert state.required_stages(plan.chapters[0]) == []


def test_the_schedule() -> None:
    tasks = [Task("a", 1), Task("b", 9, frozenset("a")), Task("c", 2), Task("d", 3, alone=True), Task("e", 4)]
    slots = timeline(tasks, 2)
    assert [(slot.task.name, slot.start, slot.end) for slot in slots] == [
        ("a", 0, 1), ("e", 0, 4), ("b", 1, 10), ("c", 4, 6), ("d", 10, 13)
    ]  # fmt: skip
    assert [schedule.beside(slot, slots) for slot in slots] == [["e"], ["a", "b"], ["e", "c"], ["b"], []]
    assert [slot.task.name for slot in timeline(tasks, 1)] == list("abcde")
    assert max(slot.end for slot in timeline(tasks, 1)) == 19
    assert next_task([tasks[1]], [tasks[0]], 2) is None and next_task([tasks[1]], [], 2) == tasks[1]
    assert next_task([tasks[3], tasks[4]], [tasks[0]], 2) == tasks[4]
    assert next_task([tasks[4]], [tasks[3]], 2) is None


def test_the_time_left_knows_what_runs_beside_what(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(progress_bar.time, "monotonic", lambda: now[0])
    tasks = [Task("a", 10.0), Task("b", 20.0, frozenset("a")), Task("c", 15.0), Task("d", 5.0, alone=True)]
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    with CourseProgressBar(tasks, 2, console) as progress:
        assert progress.time_left() == 35
        progress.start("a", "[1/4] a")
        progress.start("c", "[3/4] c")
        now[0] = 5.0
        assert progress.time_left() == 30
        progress.listen("a", "Look", 1, 2)
        progress.listen("c", "Listen", 1, 2)
        progress.live.refresh()
        now[0] = 10.0
        progress.finish("a", 10.0)
        progress.start("b", "[2/4] b")
        assert progress.time_left() == 25
        progress.skip("d")
        assert progress.time_left() == 20
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "[1/4] a" in text and "Look" in text and "[3/4] c" in text and "Listen" in text and "30 s left" in text


@pytest.mark.parametrize(
    ("profile", "device", "cores", "jobs"),
    [
        ("quick", "cpu", 2, 2),
        ("quick", "cpu", 8, 2),
        ("quick", "cpu", 1, 1),
        ("quick", "mps", 8, 1),
        ("full", "cpu", 8, 1),
    ],
)
def test_how_many_at_a_time(profile: str, device: str, cores: int, jobs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINIMIND_DEVICE", device)
    monkeypatch.setattr(schedule, "usable_cores", lambda: cores)
    assert default_jobs(profile) == jobs


def test_a_dry_run_says_what_runs_beside_what(tmp_path: Path) -> None:
    plan = make_plan("quick", "08", "10", output_dir=tmp_path, jobs=2)
    text = "\n".join(forecast.as_lines(plan, forecast.forecast(plan)))
    assert re.search(r"^08_pretrain: .*, after 0 s, alone$", text, re.M)
    assert re.search(r"^09_generation: .*, after \d+ min, alone$", text, re.M)
    assert "All chapters, 2 at a time: ≈" in text
    two = make_plan("quick", "02", "03", output_dir=tmp_path, jobs=2)
    assert "after 0 s, beside 03_rope" in "\n".join(forecast.as_lines(two, forecast.forecast(two)))
    one = replace(plan, jobs=1)
    assert "beside" not in "\n".join(forecast.as_lines(one, forecast.forecast(one)))


def cells_of(path: Path) -> list[str]:
    """The code that the chapter itself has: without the setup cell, which is the same for all."""
    code = [one for one in nbformat.read(path, as_version=4).cells if one.cell_type == "code"]
    return [one.source for one in code if "setup" not in one.metadata.get("tags", [])]


def calls(source: str, method: str) -> list[ast.Call]:
    return [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute) and node.func.attr == method]  # fmt: skip


@pytest.mark.parametrize("path", chapter_paths(), ids=lambda path: path.stem)
def test_a_chapter_reaches_the_outputs_of_others_only_through_require(path: Path) -> None:
    """So that what it needs is known before it runs; a folder that it made a path to by itself would not be."""
    stage, cells = stage_of(path.stem), cells_of(path)
    required = set()
    for source in cells:
        required |= {ast.literal_eval(call.args[0]) for call in calls(source, "require")}  # a text, not a variable
        assert all(ast.literal_eval(call.args[0]) == stage for call in calls(source, "output") if call.args)
        # the map of chapter 00 only looks which chapters have left results
        reached = source.replace("course_map(chapter.output_dir)", "")
        assert not re.search(r"output\(\)\.parent|\.output_dir\b(?! / \"\w+\")", reached)
        if not re.search(r"^output_dir = |course\.begin\(", source, re.M):
            assert not re.search(r"(?<!\.)\boutput_dir\b", source)
            assert "build/" not in source
    assert sorted(required) == state.required_stages(path)
    assert state.optional_stages(path) == (["sft"] if path.stem == "00_welcome" else [])  # a model of an earlier run
    for module in (CHAPTERS / stage).glob("*.py"):
        assert not re.search(r"\.require\(|resolve_output|\boutput_dir\b|\"build/", module.read_text(encoding="utf-8"))


def test_what_needs_what() -> None:
    tasks = tasks_of(make_plan(), dict.fromkeys((path.stem for path in chapter_paths()), 1.0))
    needs = {task.name: sorted(stage_of(one) for one in task.needs) for task in tasks if task.needs}
    assert needs == {
        "06_moe": ["tokenizer"], "08_pretrain": ["tokenizer"], "09_generation": ["pretrain"],
        "10_sft": ["pretrain", "welcome"],  # which shows the model of an earlier run, before it is removed
        "11_lora": ["pretrain", "sft"], "12_dpo": ["sft"], "13_distill": ["sft"], "14_reason": ["sft"],
        "15_grpo": ["sft"], "15b_ppo": ["grpo"],
        "16_evaluation": ["pretrain"], "17_deploy": ["pretrain", "sft"],
    }  # fmt: skip
    part = {task.name: task.needs for task in tasks_of(make_plan(first="10"), {p.stem: 1.0 for p in chapter_paths()})}
    assert not part["10_sft"] and part["11_lora"] == {"10_sft"}  # what an earlier run made is not waited for


UNHURT = {"06_moe"}  # times three forward passes; its text has words for a busy machine


@pytest.mark.parametrize("path", chapter_paths(), ids=lambda path: path.stem)
def test_a_chapter_that_measures_speed_runs_alone(path: Path) -> None:
    stage = stage_of(path.stem)
    sources = cells_of(path) + [one.read_text(encoding="utf-8") for one in (CHAPTERS / stage).glob("*.py")]
    timed = any("perf_counter()" in source for source in sources)
    assert timed == (runs_alone(stage) or path.stem in UNHURT)


def outputs_of(path: Path, artifacts: Path) -> list[str]:
    """What each cell of an executed chapter printed and drew, without times, folders and the names of widgets."""
    found = []
    for cell in nbformat.read(path, as_version=4).cells:
        text = "".join(str(one.get("text") or one.get("data")) for one in cell.get("outputs", []))  # come in pieces
        text = text.replace(str(artifacts), "")
        found.append(re.sub(r"[\d.,]+ (ms|s|µs)\b|\b[0-9a-f]{32}\b", "", text))
    return found


TRAINS = """import torch
torch.manual_seed({seed})
model, x = torch.nn.Linear(32, 32), torch.randn(64, 32)
for step in range(60):
    loss = (model(x).tanh() - x).square().mean()
    loss.backward()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter -= 0.5 * parameter.grad
            parameter.grad = None
    print("step", step, "loss", repr(loss.item()))
chapter.record(loss=loss.item())"""


def trains(folder: Path) -> Path:
    """Two chapters that begin as every chapter does, draw random numbers, train, and print every loss."""
    for seed, name in enumerate(("02_first", "03_second")):
        write_chapter(folder, name, TRAINS.format(seed=seed), real=True)
    return folder


@pytest.mark.parametrize("whole", [False, pytest.param(True, marks=(pytest.mark.slow, pytest.mark.weekly))])
def test_side_by_side_gives_the_same_as_one_after_another(
    whole: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two small chapters, and once a week chapters 02 and 03 themselves."""
    monkeypatch.setenv("MINIMIND_SMOKE", "1")
    folder = None if whole else trains(tmp_path / "notebooks")
    plans = {
        jobs: make_plan("quick", "02", "03", output_dir=tmp_path / str(jobs), folder=folder, jobs=jobs)
        for jobs in (1, 2)
    }
    for plan in plans.values():
        assert not run_course(plan, console=quiet()).error
    saved = state.load(plans[2].state_file)
    starts = [one.started for one in saved.values()]
    assert max(starts) < min(one.started + one.seconds for one in saved.values())  # they did run side by side
    for one, two in zip(plans[1].chapters, plans[2].chapters, strict=True):
        assert plans[1].results(one).read_bytes() == plans[2].results(two).read_bytes()
        printed = [outputs_of(plan.home / one.name, plan.artifacts) for plan in plans.values()]
        assert printed[0] == printed[1] and len("".join(printed[0])) > 1000
