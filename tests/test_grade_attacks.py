"""Submissions that attack the grader itself: what each isolation holds, and that what it does not hold is said.

Every attack also runs where it is known to succeed, or is seen to have run: one that fails by itself proves nothing.
"""

import csv
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

import minimind_lite
from minimind_lite.cli import app
from minimind_lite.course.exercises.grading import isolation as isolation_module
from minimind_lite.course.exercises.grading.isolation import NOT_HELD, choose
from minimind_lite.course.exercises.grading.keeper import LARGEST_FILE, MEMORY
from minimind_lite.course.exercises.grading.originals import Originals
from minimind_lite.course.exercises.grading.report import Grader
from minimind_lite.course.kit.errors import CourseError
from minimind_lite.files import repository_root
from tests.grade_kit import CAPABILITIES, MASTER, NAME, grade_file, isolated, originals, solutions, submission

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals, users and namespaces are those of POSIX")
EVERY = ("bubblewrap", "user", "none")
Batch = tuple[subprocess.CompletedProcess[str], list[tuple[str, int]]]  # what a run printed, and its grades
TASKS = sorted(solutions())


def needs(name: str) -> None:
    try:
        isolated(name)
    except CourseError as error:
        pytest.skip(str(error))


def handed_in(folder: Path, name: str, cells: dict[str, str]) -> Path:
    return submission(folder, cells).rename(folder / f"{name}.ipynb")


def grades(output: Path) -> list[tuple[str, int]]:
    """(status, points) of each submission in grades.json; grades.csv must agree."""
    rows = json.loads((output / "grades.json").read_text(encoding="utf-8"))
    with (output / "grades.csv").open(encoding="utf-8", newline="") as file:
        totals = [int(row["points"]) for row in csv.DictReader(file) if row["task"] == "total"]
    assert totals == [row["points"] for row in rows]
    return [(row["status"], row["points"]) for row in rows]


def grade_in_a_process(
    isolation: str, output: Path, *files: Path, before: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    """`minimind grade` as an instructor runs it, in a session of its own, behind the words of ``before``."""
    command = [*before, sys.executable, "-m", "minimind_lite.cli", "grade", "--timeout", "60", "--isolation", isolation,
               "--output", str(output), *map(str, files)]  # fmt: skip
    return subprocess.run(
        command, capture_output=True, text=True, timeout=480, check=False, start_new_session=True,
        env=os.environ | {"PYTHONPATH": str(repository_root())},
    )  # fmt: skip


AGAINST_THE_PARENT = {
    "kills its parent": "os.kill(os.getppid(), signal.SIGKILL)\ntime.sleep(5)",
    "stops its parent": "os.kill(os.getppid(), signal.SIGSTOP)",
    "kills its parent's group": "os.killpg(os.getpgid(os.getppid()), signal.SIGKILL)\ntime.sleep(5)",
    "stops itself": "os.kill(os.getpid(), signal.SIGSTOP)",
    "stops its group": "os.killpg(0, signal.SIGSTOP)",
}
ENDS = {"stops its parent": ("graded", 8), "stops itself": ("timeout", 0), "stops its group": ("timeout", 0)}


@pytest.mark.parametrize("name", ["bubblewrap", "none"])
@pytest.mark.parametrize("attack", AGAINST_THE_PARENT)
def test_a_signal_to_its_parent_does_not_reach_the_grader(attack: str, name: str, tmp_path: Path) -> None:
    needs(name)
    source = f"import os, signal, time\n{AGAINST_THE_PARENT[attack]}"
    begun = time.monotonic()
    end = ENDS.get(attack, ("crashed", 0))
    limit = 6 if end[0] == "timeout" else 60  # seconds: the first is waited for, the second is not
    grade = grade_file(submission(tmp_path, solutions() | {"02.growth": source}), timeout=limit, isolation=name)
    assert (grade.status, grade.points) == end
    assert time.monotonic() - begun < 60


def hunt(output: Path) -> str:
    """Code that kills every process which was started to grade into ``output``."""
    return f"""import os, pathlib, signal
for process in pathlib.Path("/proc").glob("[0-9]*"):
    try:
        words = (process / "cmdline").read_bytes().split(bytes(1))
    except OSError:
        continue
    if b"grade" in words and {str(output).encode()!r} in words:
        os.kill(int(process.name), signal.SIGKILL)
"""


KILL_ALL = "import os, signal, time\nos.kill(-1, signal.SIGKILL)\ntime.sleep(5)"


@pytest.fixture(scope="module")
def hunted(tmp_path_factory: pytest.TempPathFactory) -> Batch:
    """In bubblewrap: a good submission, one that hunts the grader, one that kills whatever it can, a good one."""
    needs("bubblewrap")
    folder = tmp_path_factory.mktemp("hunted")
    good, output = handed_in(folder, "good", solutions()), folder / "out"
    hunter, killer = (
        handed_in(folder, name, {TASKS[0]: code}) for name, code in (("h", hunt(output)), ("k", KILL_ALL))
    )
    done = grade_in_a_process("bubblewrap", output, good, hunter, killer, good)
    return done, grades(output)


def test_grades_are_kept_when_the_grader_is_killed(tmp_path: Path) -> None:
    if not Path("/proc/self/cmdline").exists():
        pytest.skip("this system does not list processes in /proc")
    output = tmp_path / "out"
    good, hunter = handed_in(tmp_path, "good", solutions()), handed_in(tmp_path, "hunter", {TASKS[0]: hunt(output)})
    done = grade_in_a_process("none", output, good, hunter, good)
    assert done.returncode == -signal.SIGKILL  # isolation "none" does not hold this, and says so
    assert "stop the grader" in done.stdout
    assert grades(output) == [("graded", 10)]


def test_in_bubblewrap_the_grader_is_not_found(
    hunted: Batch,
) -> None:
    done, found = hunted
    assert done.returncode == 0, done.stderr
    assert found[:2] == [("graded", 10), ("graded", 0)] and len(found) == 4


def test_killing_every_process_reaches_only_its_own(
    hunted: Batch,
) -> None:
    done, found = hunted
    assert done.returncode == 0, done.stderr
    assert found[2:] == [("crashed", 0), ("graded", 10)]


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv, a part of util-linux, is not installed")
def test_root_needs_no_other_capabilities_to_grade_as_another_user(tmp_path: Path) -> None:
    needs("user")
    kept = ",".join(["-all", *(f"+{one}" for one in CAPABILITIES)])
    bound = ["setpriv", "--no-new-privs", f"--bounding-set={kept}", f"--inh-caps={kept}"]
    looks = "said = open('/proc/self/status').read()\nassert 'CapEff:\\t0000000000000000' in said\nimport os\n"
    looks += f"assert os.getuid() >= 61184 and not os.access({str(tmp_path)!r}, os.W_OK)\n"
    good = handed_in(tmp_path, "good", solutions() | {TASKS[0]: looks + solutions()[TASKS[0]]})
    done = grade_in_a_process("user", tmp_path / "out", good, before=bound)
    assert done.returncode == 0, done.stderr
    assert grades(tmp_path / "out") == [("graded", 10)], (tmp_path / "out" / "grades.csv").read_text(encoding="utf-8")


def spoil(course: Path) -> str:
    """Code that rewrites the checks, the handed-out notebook and a master, and adds modules, wherever they lie."""
    return f"""import pathlib
package = pathlib.Path({str(course / "minimind_lite")!r})
for path in [package / "course/exercises/core.py", package / "course/chapters/rmsnorm/checks.py",
             pathlib.Path({str(course)!r}) / "exercises/{NAME}.ipynb"]:
    path.write_text("def judge(*a): return 'solved'")
(pathlib.Path({str(course)!r}) / "solutions/{NAME}.ipynb").unlink()
(package / "torch.py").write_text("")
(package / "__pycache__").mkdir(exist_ok=True)
(package / "__pycache__/config.cpython-311.pyc").write_bytes(b"poisoned")
"""


def course_copy(folder: Path) -> Path:
    """A clone that may be spoilt."""
    for name, files in (("exercises", "*.ipynb"), ("solutions", "*.ipynb")):
        (folder / name).mkdir(parents=True)
        for path in (repository_root() / name).glob(files):
            shutil.copy2(path, folder / name)
    package = Path(minimind_lite.__file__).parent
    shutil.copytree(package, folder / "minimind_lite", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.mark.parametrize("name", EVERY)
def test_rewriting_the_checks_changes_nothing_for_the_next_batch(name: str, tmp_path: Path) -> None:
    needs(name)
    course, folder = course_copy(tmp_path / "course"), tmp_path / "submissions"
    folder.mkdir()
    before = {path: path.read_bytes() for path in course.rglob("*") if path.is_file()}
    grader = Grader(Originals(course / "minimind_lite", course), choose(name, [course]), tmp_path / "changed")
    grade = grader.grade(submission(folder, solutions() | {TASKS[0]: spoil(course)}), timeout=60)
    assert {path: path.read_bytes() for path in course.rglob("*") if path.is_file()} == before
    if name == "none":  # here the attack does get through, and is found out
        assert (grade.status, grade.points) == ("tampered", 0)
        assert "core.py" in grade.tasks[0].message
        kept = tmp_path / "changed" / "minimind_lite" / "course" / "exercises" / "core.py"
        assert kept.read_text() == "def judge(*a): return 'solved'"
    else:
        assert grade.status == "graded"
        assert not (tmp_path / "changed").exists()
    stub = grader.grade(submission(folder, {}), timeout=60)
    assert (stub.status, stub.points) == ("graded", 0)


@pytest.mark.parametrize("trick", ["a folder in its place", "its folder is a link elsewhere"])
def test_files_that_cannot_be_put_back_stop_the_batch(trick: str, tmp_path: Path) -> None:
    course = course_copy(tmp_path / "course")
    kept = Originals(course / "minimind_lite", course)
    target = course / "minimind_lite" / "course" / "exercises" / "core.py"
    if trick == "a folder in its place":
        target.unlink()
        (target / "full").mkdir(parents=True)
    else:
        target.parent.rename(tmp_path / "elsewhere")
        target.parent.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CourseError, match=r"cannot be put back: .*core\.py.*grades so far are written"):
        kept.restore(tmp_path / "changed")


def test_a_submission_has_a_package_of_its_own(tmp_path: Path) -> None:
    seen = tmp_path / "seen.txt"
    source = f"""import pathlib, minimind_lite
open({str(seen)!r}, "w").write(minimind_lite.__file__)
pathlib.Path(minimind_lite.__file__).with_name("config.py").write_text("spoilt")"""
    path = submission(tmp_path, {TASKS[0]: source})
    grade_file(path, timeout=60, isolation="none")
    assert "minimind-grade-" in seen.read_text()
    assert originals().changed() == []


# A stranger's way to full points if the masters can be read.
COPIES = f"""import json
_cells = json.load(open({str(MASTER)!r}, encoding="utf-8"))["cells"]
_sources = ["".join(cell["source"]) for cell in _cells if cell["cell_type"] == "code"]
for _source in _sources:
    if "### BEGIN SOLUTION" in _source:
        exec(_source)
"""


@pytest.mark.parametrize("name", ["bubblewrap", "none"])
def test_solutions_cannot_be_read_or_that_is_said(name: str, tmp_path: Path) -> None:
    needs(name)
    grade = grade_file(submission(tmp_path, dict.fromkeys(TASKS, COPIES)), timeout=60, isolation=name)
    assert grade.points == (10 if name == "none" else 0), [task.message for task in grade.tasks]
    assert ("solutions/" in " ".join(NOT_HELD[name])) == (name == "none")


@pytest.mark.parametrize("name", ["bubblewrap", "none"])
def test_it_writes_outside_only_where_that_is_said(name: str, tmp_path: Path) -> None:
    needs(name)
    places = [tmp_path / "mark", Path("/var/tmp") / f"minimind-mark-{os.getpid()}"]  # noqa: S108  the attack's
    source = f"import pathlib\nfor place in {[str(place) for place in places]!r}:\n"
    source += "    try:\n        pathlib.Path(place).write_text('x')\n    except OSError:\n        pass\nsaid = 1"
    try:
        grade = grade_file(submission(tmp_path, solutions() | {"02.growth": source}), timeout=60, isolation=name)
        assert (grade.status, grade.points) == ("graded", 8)
        assert [place.exists() for place in places] == [name == "none"] * 2
    finally:
        for place in places:
            place.unlink(missing_ok=True)
    assert any("write" in one for one in NOT_HELD[name]) == (name == "none")


@pytest.mark.parametrize("name", ["bubblewrap", "none"])
def test_it_opens_connections_only_where_that_is_said(name: str, tmp_path: Path) -> None:
    needs(name)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        source = f"import socket\nsocket.create_connection(('127.0.0.1', {server.getsockname()[1]}), timeout=3)"
        grade = grade_file(submission(tmp_path, {"02.growth": source}), timeout=60, isolation=name)
        assert grade.status == "graded"
        if name == "none":
            server.accept()[0].close()
        else:
            with pytest.raises(BlockingIOError):
                server.accept()
    assert ("network" in " ".join(NOT_HELD[name])) == (name == "none")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems do not limit what a process allocates")
@pytest.mark.parametrize(
    ("source", "error"),
    [
        (f"torch.zeros({MEMORY // 4 + 2**20})", "RuntimeError"),
        (f"file = open('big', 'wb')\nfile.truncate({LARGEST_FILE + 1})", "OSError"),
    ],
    ids=["memory", "disk"],
)
def test_memory_and_files_are_limited(source: str, error: str, tmp_path: Path) -> None:
    grade = grade_file(submission(tmp_path, solutions() | {"02.growth": source}), timeout=60)
    assert (grade.status, grade.points) == ("graded", 8)
    assert f"the cell stopped with {error}" in grade.tasks[-1].message


def test_a_syntax_error_is_named_first(tmp_path: Path) -> None:
    grade = grade_file(submission(tmp_path, solutions() | {"02.growth": "def predicted_size(:"}), timeout=60)
    assert grade.tasks[-1].message.startswith("the cell stopped with SyntaxError: invalid syntax")


def test_an_isolation_that_does_not_work_is_refused_and_auto_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(isolation_module.shutil, "which", lambda name: None)
    monkeypatch.setattr(isolation_module.os, "getuid", lambda: 1000)
    chosen = choose("auto")
    assert chosen.name == "none"
    reasons = "bubblewrap does not work here: bubblewrap is not installed|user does not work here: only root can"
    assert len(re.findall(reasons, " ".join(chosen.obstacles))) == 2
    for name, words in (("bubblewrap", "apt install bubblewrap"), ("user", "only root"), ("jail", "there are auto")):
        done = CliRunner().invoke(app, ["grade", str(MASTER), "--isolation", name, "--output", str(tmp_path / "out")])
        assert done.exit_code == 1
        assert words in done.output
    assert not (tmp_path / "out").exists()


def test_a_bubblewrap_that_may_not_make_namespaces_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho 'bwrap: No permissions to create a new namespace' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(CourseError, match="No permissions to create a new namespace"):
        choose("bubblewrap")
    assert choose("auto").name != "bubblewrap"


def test_what_is_not_held_is_in_the_grades_and_a_missing_file_ends_with_1(tmp_path: Path) -> None:
    path, missing = submission(tmp_path, solutions()), tmp_path / "missing.ipynb"
    asked = ["grade", str(missing), str(path), "--isolation", "none", "--output", str(tmp_path / "out")]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 1
    assert f"there is no file {missing}" in done.output
    assert all(one in done.output for one in NOT_HELD["none"])
    assert grades(tmp_path / "out") == [("unreadable", 0), ("graded", 10)]  # nothing of the others is lost
    row = json.loads((tmp_path / "out" / "grades.json").read_text(encoding="utf-8"))[1]
    assert (row["isolation"], row["not_held"]) == ("none", list(NOT_HELD["none"]))


def test_a_batch_with_a_submission_that_changed_the_course_ends_with_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    course = course_copy(tmp_path / "course")
    monkeypatch.setattr(
        "minimind_lite.course.exercises.grading.report.Originals",
        lambda: Originals(course / "minimind_lite", course),
    )
    bad, good = handed_in(tmp_path, "bad", {TASKS[0]: spoil(course)}), handed_in(tmp_path, "good", solutions())
    asked = ["grade", str(bad), str(good), "--isolation", "none", "--output", str(tmp_path / "out")]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 1
    assert "changed files of the course" in done.output
    assert grades(tmp_path / "out") == [("tampered", 0), ("graded", 10)]
