"""The runner: order, skipping what is unchanged, stopping at a failure, and what both leave behind."""

import asyncio
import errno
import io
import json
import os
import shutil
import signal
import socket
import threading
from pathlib import Path
from queue import Empty
from types import SimpleNamespace
from typing import ClassVar

import pytest
from course_kit import RECORD, write_chapter
from rich.console import Console

from minimind_lite.course.kit.errors import CourseError
from minimind_lite.course.runner import execute, progress_bar, state
from minimind_lite.course.runner.command import run_and_report, show_status
from minimind_lite.course.runner.plan import Plan, make_plan
from minimind_lite.course.runner.progress_bar import CourseProgressBar, minutes
from minimind_lite.course.runner.report import make_report
from minimind_lite.course.runner.run import run_course
from minimind_lite.course.runner.schedule import Task
from minimind_lite.files import LOCK, FolderInUse, process_start, repository_root

PLOT = """import matplotlib.pyplot as plt
figure, axes = plt.subplots(figsize=(3, 2)); axes.plot([1, 2])
plt.show()"""


class Course:
    """Three toy chapters: the second needs the first, the third nothing."""

    def __init__(self, folder: Path) -> None:
        self.notebooks, self.out = folder / "notebooks", folder / "out"
        write_chapter(self.notebooks, "00_one", RECORD, PLOT)
        write_chapter(self.notebooks, "01_two", 'chapter.require("one")\n' + RECORD)
        write_chapter(self.notebooks, "02_three", RECORD)

    def plan(self, *parameters: str, first: str | None = None, last: str | None = None) -> Plan:
        return make_plan("quick", first, last, parameters, self.out, self.notebooks)

    def statuses(self, *parameters: str) -> list[str]:
        return [status for _, status, _ in run_course(self.plan(*parameters), console=log()).chapters]


def log() -> Console:
    return Console(file=io.StringIO(), force_terminal=False, width=100)


def printed(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.fixture(autouse=True)
def no_trained_model_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MINIMIND_SMOKE", raising=False)


def test_runs_skips_and_runs_again_what_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLBACKEND", "agg")  # as on a server; the pictures are there all the same
    course, console = Course(tmp_path), log()
    assert run_and_report(course.plan(), console=console)
    assert "[2/3] 01_two: starts" in printed(console)
    assert "[3/3] 02_three: done in" in printed(console)
    report = json.loads((course.out / "report.json").read_text(encoding="utf-8"))
    assert set(report) == {"commit", "profile", "language", "device", "arithmetic", "jobs", "total_seconds", "chapters",
                           "figures", "claims", "answers"}  # fmt: skip
    assert [chapter["name"] for chapter in report["chapters"]] == ["00_one", "01_two", "02_three"]
    assert report["figures"]["one.score"] == 1.5
    assert report["figures"]["total_seconds"] == report["total_seconds"] > 0
    page = (course.out / "index.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 1
    assert "http" not in page.replace("http-equiv", "")
    # A second run has nothing to do, and still reports the seconds of the first.
    assert course.statuses() == ["skipped"] * 3
    assert run_and_report(course.plan(), console=log())
    again = json.loads((course.out / "report.json").read_text(encoding="utf-8"))
    assert again["total_seconds"] == report["total_seconds"]
    # A change of code, and a change of an upstream result, make chapters stale; nothing else does.
    write_chapter(course.notebooks, "00_one", "count += 1\n" + RECORD)
    assert course.statuses() == ["done", "done", "skipped"]


def test_parameters_reach_the_chapters_and_are_inputs(tmp_path: Path) -> None:
    course = Course(tmp_path)
    plan = course.plan("count=5", first="02")
    assert [status for _, status, _ in run_course(plan, console=log()).chapters] == ["done"]
    assert json.loads(plan.results(plan.chapters[0]).read_text(encoding="utf-8"))["figures"]["score"] == 2.5
    console = log()
    show_status(course.plan(), console)
    lines = printed(console).splitlines()
    assert [line.split()[1] for line in lines[:-1]] == ["missing", "missing", "done"]
    assert lines[-1] == "2 to run, 1 at a time: about 1 min 00 s"
    assert plan.verdict(plan.chapters[0], state.load(plan.state_file)) == "done"
    other = course.plan("count=6", first="02")
    assert other.verdict(plan.chapters[0], state.load(plan.state_file)) == "stale"


HASHED = {
    "course/kit/style.py": True,
    "course/kit/bands.json": True,
    "course/__init__.py": True,
    "course/chapters/moe/figures.py": True,
    "course/chapters/moe/settings.py": True,
    "model/moe.py": True,
    "config.py": True,
    "course/chapters/moe/checks.py": False,
    "course/chapters/rope/figures.py": False,
    "course/runner/page.py": False,
    "course/notebooks/cleaning.py": False,
    "course/exercises/core.py": False,
    "cli/course.py": False,
    "model/moe.pyc": False,
}


@pytest.mark.parametrize("file", HASHED)
def test_what_a_chapter_depends_on_follows_from_the_rooms(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "repository_root", lambda: tmp_path)
    path = tmp_path / "minimind_lite" / file
    path.parent.mkdir(parents=True)
    path.write_text("before", encoding="utf-8")
    before = state.library_hash("moe")
    path.write_text("after", encoding="utf-8")
    assert (state.library_hash("moe") != before) == HASHED[file]


def test_a_change_that_cannot_matter_leaves_a_chapter_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    course, root, package = Course(tmp_path), repository_root(), tmp_path / "minimind_lite"
    shutil.copytree(root / "minimind_lite", package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(state, "repository_root", lambda: tmp_path)
    plan = course.plan(first="02")
    three = plan.chapters[0]
    last_runs = {"02_three": state.LastRun("done", 1.0, plan.hash_of(three), "quick", {})}
    plan.results(three).parent.mkdir(parents=True)
    plan.results(three).write_text("{}", encoding="utf-8")
    assert plan.verdict(three, last_runs) == "done"
    others = ("course/runner/page.py", "course/exercises/core.py", "course/chapters/rope/figures.py")
    command_line = next(path for path in package.rglob("*.py") if path.relative_to(package).parts[0][:3] == "cli")
    for path in (command_line, *(package / other for other in others)):
        path.write_text(path.read_text(encoding="utf-8") + "# other help", encoding="utf-8")
    assert plan.verdict(three, last_runs) == "done"
    own = package / "course" / "chapters" / "three" / "figures.py"
    own.parent.mkdir()
    for path in (own, package / "course" / "kit" / "style.py", package / "model" / "layers.py"):
        stored = path.read_bytes() if path.exists() else None
        path.write_text("# other", encoding="utf-8")
        assert plan.verdict(three, last_runs) == "stale"
        path.unlink() if stored is None else path.write_bytes(stored)
        assert plan.verdict(three, last_runs) == "done"


def test_a_failure_stops_shows_where_and_is_reported(tmp_path: Path) -> None:
    course, console = Course(tmp_path), log()
    write_chapter(course.notebooks, "01_two", "x = {}\nx['missing key'] + 1", RECORD)
    assert not run_and_report(course.plan(), console=console)
    text = printed(console)
    assert "01_two: cell In [5] stopped with KeyError" in text
    assert "line: 2 x['missing key'] + 1" in text
    assert "minimind course run --from 01" in text
    report = json.loads((course.out / "report.json").read_text(encoding="utf-8"))
    assert [chapter["status"] for chapter in report["chapters"]] == ["done", "failed", "not run"]
    assert "missing key" in (course.out / "index.html").read_text(encoding="utf-8")


def test_a_missing_upstream_names_its_chapter_without_a_traceback(tmp_path: Path) -> None:
    course, console = Course(tmp_path), log()
    write_chapter(course.notebooks, "01_two", 'chapter.require("tokenizer")', real=True)
    assert not run_and_report(course.plan(first="01", last="01"), console=console)
    assert "01_tokenizer" in printed(console)
    assert "traceback" not in printed(console)


def test_a_chapter_without_figures_has_failed(tmp_path: Path) -> None:
    write_chapter(tmp_path / "notebooks", "00_one", "x = 1")
    earlier = tmp_path / "out" / "one" / "results.json"  # must not pass for this run's
    earlier.parent.mkdir(parents=True)
    earlier.write_text("{}", encoding="utf-8")
    run = run_course(make_plan(output_dir=tmp_path / "out", folder=tmp_path / "notebooks"), console=log())
    assert "recorded no figures" in run.error and not earlier.exists()


def test_an_appendix_is_a_chapter_with_a_stage_of_its_own(tmp_path: Path) -> None:
    write_chapter(tmp_path / "notebooks", "15b_ppo")
    run = run_course(make_plan(output_dir=tmp_path / "out", folder=tmp_path / "notebooks"), console=log())
    assert [status for _, status, _ in run.chapters] == ["done"]
    assert make_report(run, []).data["figures"]["ppo.score"] == 1.5


def test_a_dead_kernel_is_explained(tmp_path: Path) -> None:
    write_chapter(tmp_path / "notebooks", "00_one", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    run = run_course(make_plan(output_dir=tmp_path / "out", folder=tmp_path / "notebooks"), console=log())
    assert "memory ran out" in run.error


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_an_interrupt_ends_the_run_and_says_how_to_go_on(tmp_path: Path) -> None:
    write_chapter(tmp_path / "notebooks", "00_one", "import time\nopen('started', 'w').close()\ntime.sleep(60)")
    plan = make_plan(output_dir=tmp_path / "out", folder=tmp_path / "notebooks")

    def interrupt() -> None:
        for _ in range(600):
            if (tmp_path / "notebooks" / "started").exists():
                os.kill(os.getpid(), signal.SIGINT)
                return
            threading.Event().wait(0.1)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores the signal
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        run = run_course(plan, console=log())
    finally:
        signal.signal(signal.SIGINT, before)
    thread.join(60)
    assert "interrupted" in run.error
    assert state.load(plan.state_file)["00_one"].status == "failed"


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        ({"profile": "huge"}, "there are: quick, colab, full"),
        ({"first": "42"}, "no chapter is called '42'; there are: 00_one, 01_two, 02_three"),
        ({"first": "02", "last": "00"}, "--from 02 comes after --to 00"),
        ({"parameters": ["cuont=1"]}, "unknown parameter 'cuont'"),
    ],
)
def test_what_cannot_work_is_refused_before_the_first_chapter(tmp_path: Path, ask: dict, message: str) -> None:
    course = Course(tmp_path)
    with pytest.raises(CourseError, match=message):
        make_plan(**ask, output_dir=course.out, folder=course.notebooks)
    assert not course.out.exists()


def test_a_full_run_names_the_files_that_it_needs_before_the_first_chapter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("minimind_lite.course.kit.data_files.repository_root", lambda: tmp_path)
    plan = make_plan("full", "08", "12", (), tmp_path / "out")
    console = log()
    with pytest.raises(CourseError, match=r"download pretrain_hq.jsonl sft_mini_512.jsonl lora_identity"):
        run_course(plan, console=console)
    assert printed(console) == "" and not (tmp_path / "out").exists()


def test_only_what_a_run_of_ours_made_is_removed_and_a_cut_off_run_goes_on(tmp_path: Path) -> None:
    course = Course(tmp_path)
    by_hand = course.out / "one" / "checkpoint"
    by_hand.parent.mkdir(parents=True)
    by_hand.write_text("made in Jupyter", encoding="utf-8")
    plan = course.plan(last="00")
    run_course(plan, console=log())
    assert by_hand.exists()
    last_runs = state.load(plan.state_file)
    cut_off = state.LastRun("failed", 0.0, last_runs["00_one"].inputs, "quick", {})
    state.save(plan.state_file, {"00_one": cut_off})
    run_course(plan, console=log())
    assert by_hand.exists()  # the same inputs: training may go on from here
    run_course(plan, force=True, console=log())
    assert not by_hand.exists()


def test_what_a_run_with_other_inputs_left_is_removed(tmp_path: Path) -> None:
    course = Course(tmp_path)
    plan = course.plan(last="00")
    run_course(plan, console=log())
    left = course.out / "one" / "checkpoint"
    left.write_text("of a run that failed", encoding="utf-8")
    state.save(plan.state_file, {"00_one": state.LastRun("failed", 0.0, "other inputs", "quick", {})})
    run_course(plan, console=log())
    assert not left.exists()


def test_profile_and_parameters_are_inputs(tmp_path: Path) -> None:
    path = write_chapter(tmp_path, "00_one")
    asked = [("quick", {}), ("full", {}), ("quick", {"count": 4}), ("quick", {"count": "4"})]
    hashes = {state.inputs_hash(path, profile, parameters, tmp_path) for profile, parameters in asked}
    assert len(hashes) == len(asked)


def test_a_chapter_whose_results_are_gone_is_stale(tmp_path: Path) -> None:
    course = Course(tmp_path)
    plan = course.plan(last="00")
    run_course(plan, console=log())
    last_runs = state.load(plan.state_file)
    assert plan.verdict(plan.chapters[0], last_runs) == "done"
    plan.results(plan.chapters[0]).unlink()
    assert plan.verdict(plan.chapters[0], last_runs) == "stale"


def test_a_state_that_cannot_be_read_just_now_is_not_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "chapters.json"
    assert state.load(file) == {}
    for damaged in ("[]", "{", '{"a": 3}', '{"a": {"status": "done"}}'):
        file.write_text(damaged)
        assert state.load(file) == {}
        assert "counts as never run" in caplog.text
        caplog.clear()

    def fails(_: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(state, "read_json", fails)
    with pytest.raises(OSError, match="Input/output"):
        state.load(file)


def test_two_runs_of_the_course_cannot_share_a_folder(tmp_path: Path) -> None:
    course = Course(tmp_path)
    course.out.mkdir()
    held = {"pid": os.getppid(), "started": process_start(os.getppid()), "host": socket.gethostname()}
    (course.out / LOCK).write_text(json.dumps(held))
    with pytest.raises(FolderInUse, match=f"process {os.getppid()}"):
        run_course(course.plan(last="00"), console=log())


def test_the_time_left_follows_what_the_machine_really_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(progress_bar.time, "monotonic", lambda: now[0])
    progress = CourseProgressBar([Task("a", 10.0), Task("b", 20.0), Task("c", 30.0)], console=log())
    progress.start("a", "[1/3] a")
    assert progress.time_left() == 60
    now[0] = 4.0
    assert progress.time_left() == 56
    progress.finish("a", 20.0)  # twice as long as expected
    assert progress.time_left() == 100
    progress.start("b", "[2/3] b")
    now[0] = 500.0
    assert progress.time_left() == 60  # b is late; c is still to come


def test_the_live_line_has_chapter_heading_and_time() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    with CourseProgressBar([Task("00_one", 65.0)], console=console) as progress:
        progress.start("00_one", "[1/1] 00_one")
        progress.listen("00_one", "Look at a vector", 2, 4)
        progress.live.refresh()
    text = printed(console)
    assert "[1/1] 00_one" in text
    assert "Look at a vector" in text
    assert "1 min 05 s left" in text


def test_minutes() -> None:
    assert [minutes(one) for one in (0.4, 59.4, 60, 125)] == ["0 s", "59 s", "1 min 00 s", "2 min 05 s"]


def test_a_lost_wake_up_does_not_stop_a_run_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reply that arrives unnoticed is found at the next look; a wait with a limit still ends at its limit."""
    from jupyter_client.manager import AsyncKernelManager

    class Channel:
        waits: ClassVar[list[float | None]] = []

        async def get_msg(self, timeout: float | None = None) -> str:
            self.waits.append(timeout)
            if len(self.waits) < 3 or timeout == 7:
                raise Empty
            return "reply"

    channel = Channel()
    monkeypatch.setattr(AsyncKernelManager, "client", lambda self, **options: SimpleNamespace(shell_channel=channel))
    patient = execute._patient_manager(execute.Kernels())().client().shell_channel
    assert asyncio.run(patient.get_msg()) == "reply"
    assert channel.waits == [1, 1, 1]
    with pytest.raises(Empty):
        asyncio.run(patient.get_msg(timeout=7))
