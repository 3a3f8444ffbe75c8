"""`minimind grade` against submissions of honest learners, and of others."""

import csv
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from typer.testing import CliRunner

from minimind_lite.cli import app
from minimind_lite.course.exercises import masters
from minimind_lite.course.exercises.grading.kernel import SubmissionKernel
from minimind_lite.course.exercises.grading.report import judged
from minimind_lite.course.exercises.grading.submission import read_submission
from minimind_lite.files import repository_root
from tests.grade_kit import NAME, grade_file, isolated, originals, solutions, statuses, submission


def test_the_solution_gets_all_points_and_the_stub_none(tmp_path: Path) -> None:
    full = grade_file(submission(tmp_path, solutions()), timeout=120)
    assert (full.status, full.points, full.max_points) == ("graded", 10, 10)
    empty = grade_file(submission(tmp_path, {}), timeout=120)
    assert empty.points == 0
    assert set(statuses(empty).values()) == {"not yet"}


@pytest.fixture(scope="module")
def one_kernel() -> Iterator[SubmissionKernel]:
    """One kernel for all masters, as starting one takes longer than grading one."""
    with (
        tempfile.TemporaryDirectory(prefix="minimind-grade-", ignore_cleanup_errors=True) as folder,
        SubmissionKernel(Path(folder).resolve(), originals(), isolated("auto"), timeout=1800) as kernel,
    ):
        yield kernel


@pytest.mark.parametrize("path", masters.master_paths(), ids=lambda path: path.stem)
def test_every_master_gets_all_points(path: Path, one_kernel: SubmissionKernel) -> None:
    assert one_kernel.execute("%reset -f") == ""  # no name of the master before it is left
    tasks = judged(read_submission(path, originals().sets), one_kernel, call_seconds=60.0)  # right, however busy it is
    assert [(task.task, task.message) for task in tasks if task.points < task.max_points] == []
    assert sum(task.points for task in tasks) == sum(task.max_points for task in tasks) > 0


# Each attack stands in the cell of the first task and wants the points of the second, whose own code is wrong.
ATTACKS = {
    "prints passed": "print('solved · 02.rms_norm · agrees with torch')",
    "replaces print and allclose": "import builtins\nbuiltins.print = lambda *a, **k: None\n"
    "torch.allclose = torch.equal = lambda *a, **k: True",
    "replaces the checks": "from minimind_lite.course.exercises import core, task\n"
    "core.Check.judge = lambda *a, **k: core.Verdict('solved', 'yes')\ntask.close = lambda *a, **k: True\n"
    "task.Task.equal = task.Task.that = lambda *a, **k: None\ncheck_rms_norm.passes = lambda f: True",
    "replaces the far side": "from minimind_lite.course.exercises import codec, remote\n"
    "remote.answer = lambda *a: codec.dumps({'value': 'solved', 'error': '', 'text': '', 'changed': []})",
    "answers with garbage": "from minimind_lite.course.exercises import remote\n"
    "remote.answer = lambda *a: '{' * 100000",
    "answers with a pickle": "from minimind_lite.course.exercises import remote\n"
    "remote.answer = lambda *a: '{\"function\": [\"os\", \"abort\"]}'",
    "writes the grades": "import pathlib\nfor name in ('grades.json', 'progress.json', 'grades.csv'):\n"
    "    pathlib.Path(name).write_text('[{\"points\": 10}]')",
    "an object that says yes": "class Yes:\n    __eq__ = lambda *a: True\n    __hash__ = None\n"
    "    __getattr__ = lambda *a: Yes()\n    __call__ = lambda *a, **k: Yes()\nrms_norm = Yes()",
    "looks for the expected value": "import gc\n_found = [o for o in gc.get_objects() if isinstance(o, torch.Tensor)]",
    "runs the check cell itself": "check_rms_norm(lambda x, w, eps: torch.nn.functional.rms_norm(x, w.shape, w, eps))",
}  # fmt: skip
WRONG = {"02.rms_norm": "def rms_norm(x, weight, eps):\n    return x * 0.5"}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_an_attack_gets_no_credit(attack: str, tmp_path: Path) -> None:
    grade = grade_file(submission(tmp_path, WRONG | {"02.root_mean_square": attack}), timeout=120)
    assert grade.points == 0, statuses(grade)
    assert "solved" not in statuses(grade).values()


LIMITS = {"timeout": 5, "crashed": 60}  # seconds: the first is waited for, the second is not


@pytest.mark.parametrize(
    ("last_cell", "status"),
    [
        ("while True:\n    pass", "timeout"),
        ("while True:\n    try:\n        import time; time.sleep(9)\n    except BaseException:\n        1", "timeout"),
        ("import os\nos._exit(0)", "crashed"),
        ("import ctypes\nctypes.string_at(0)", "crashed"),
        ("def predicted_size(layers, gain, norm):\n    import os\n    os._exit(0)", "crashed"),
    ],
    ids=["loop", "deaf loop", "os._exit", "segfault", "os._exit in a call"],
)  # fmt: skip
def test_what_hangs_or_crashes_gets_nothing_even_for_right_tasks(last_cell: str, status: str, tmp_path: Path) -> None:
    start = time.monotonic()
    grade = grade_file(submission(tmp_path, solutions() | {"02.growth": last_cell}), timeout=LIMITS[status])
    assert (grade.status, grade.points, grade.max_points) == (status, 0, 10)
    assert time.monotonic() - start < 40


def test_a_function_that_hangs_costs_its_own_task(tmp_path: Path) -> None:
    hang = "def predicted_size(layers, gain, norm):\n    while True:\n        pass"
    path = submission(tmp_path, solutions() | {"02.growth": hang})
    grade = grade_file(path, timeout=120, call_seconds=2.0)
    assert (grade.status, grade.points) == ("graded", 8)
    assert "still running after 2 seconds" in grade.tasks[-1].message


@pytest.mark.parametrize("way", ["sys.exit", "exit", "raise"])
def test_leaving_a_cell_early_costs_only_what_it_did_not_define(way: str, tmp_path: Path) -> None:
    leave = {"sys.exit": "import sys\nsys.exit(0)", "exit": "raise SystemExit", "raise": "1 / 0"}[way]
    grade = grade_file(submission(tmp_path, solutions() | {"02.growth": leave}), timeout=120)
    assert (grade.status, grade.points) == ("graded", 8)
    assert "the cell stopped with" in grade.tasks[-1].message


def test_edited_or_removed_checks_get_nothing_and_their_code_does_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "ran"

    def edit(notebook: Any) -> None:
        tasks = masters.tasks_of(notebook, NAME)
        tasks[0].checking.source += f"\nopen({str(mark)!r}, 'w')"
        notebook.cells.remove(tasks[1].checking)
        notebook.cells.append(nbformat.v4.new_code_cell(f"open({str(mark)!r}, 'w')"))  # a cell that nobody asked for

    notebook = submission(tmp_path, solutions(), edit)
    grade = grade_file(notebook, timeout=120, isolation="none")
    assert list(statuses(grade).values()) == ["edited check"] * 2 + ["solved"] * 3
    assert not mark.exists()


def test_cells_are_found_where_an_editor_gave_new_ids(tmp_path: Path) -> None:
    def renumber(notebook: Any) -> None:
        for index, cell in enumerate(notebook.cells):
            cell.id = f"colab-{index}"

    assert grade_file(submission(tmp_path, solutions(), renumber), timeout=120).points == 10


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux hands us the orphans")
def test_a_daemon_does_not_outlive_its_submission(tmp_path: Path) -> None:
    mark = tmp_path / "alive"
    daemon = f"""import os, subprocess, sys
code = '''
import os, time
if os.fork() == 0:
    os.setsid()
    while True:
        open({str(mark)!r}, "w").write(str(time.time()))
        time.sleep(0.1)
'''
subprocess.run([sys.executable, "-c", code])"""
    assert grade_file(submission(tmp_path, {"02.growth": daemon}), timeout=60, isolation="none").status == "graded"
    time.sleep(0.3)
    before = mark.read_text()
    time.sleep(0.5)
    assert mark.read_text() == before


def test_a_submission_works_in_its_scratch_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "instructor")
    seen = tmp_path / "seen.json"
    look = f"""import json, os
from minimind_lite.course.kit.paths import resolve_output
from minimind_lite.course.exercises.solved import progress_file
places = [os.getcwd(), str(resolve_output()), str(progress_file()), os.path.expanduser("~")]
json.dump([places, "SECRET_TOKEN" in os.environ], open({str(seen)!r}, "w"))"""
    grade_file(submission(tmp_path, {"02.growth": look}), timeout=60, isolation="none")
    places, token = json.loads(seen.read_text())
    assert not token
    for place in places:
        assert "minimind-grade-" in place
        assert not Path(place).exists()  # gone with the scratch folder
        assert not Path(place).is_relative_to(repository_root())


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"cells": 3, "nbformat": 4, "nbformat_minor": 5, "metadata": {}}',
                                     "[" * 10_000, "\x00"])  # fmt: skip
def test_a_file_that_is_no_submission_is_reported(content: str, tmp_path: Path) -> None:
    path = tmp_path / "x.ipynb"
    path.write_text(content, encoding="utf-8")
    assert grade_file(path, timeout=10).status == "unreadable"
    assert grade_file(tmp_path / "missing.ipynb", timeout=10).status == "unreadable"


def test_the_command_writes_csv_and_json(tmp_path: Path) -> None:
    good, bad = submission(tmp_path, solutions()), tmp_path / "=bad().ipynb"
    bad.write_text("{}")
    for folder in ("handed in", "empty"):
        (tmp_path / folder).mkdir()
    good.rename(tmp_path / "handed in" / good.name)
    nothing = CliRunner().invoke(app, ["grade", str(tmp_path / "empty"), "--output", str(tmp_path / "out")])
    assert nothing.exit_code == 1 and "has no notebooks in it" in nothing.output.replace("\n", " ")
    monkey = CliRunner().invoke(
        app, ["grade", str(tmp_path / "handed in"), str(bad), "--output", str(tmp_path / "out")]
    )
    assert monkey.exit_code == 0, monkey.output
    assert "10 of 10" in monkey.output
    grades = json.loads((tmp_path / "out" / "grades.json").read_text(encoding="utf-8"))
    assert [(one["status"], one["points"]) for one in grades] == [("graded", 10), ("unreadable", 0)]
    with (tmp_path / "out" / "grades.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["points"] for row in rows if row["task"] == "total"] == ["10", "0"]
    assert rows[0]["set"] == NAME and rows[0]["status"] == "solved"
