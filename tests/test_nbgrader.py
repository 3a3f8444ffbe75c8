"""The masters in the real nbgrader: source assignment, release, autograding, points."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from minimind_lite.course.exercises import masters
from minimind_lite.course.notebooks import files
from minimind_lite.files import repository_root

VERSION = "0.9.6"
# A separate environment, reused by later runs: nbgrader needs older notebook packages than the course.
HOME = repository_root() / "build" / "nbgrader"
BIN = HOME / "venv" / ("Scripts" if os.name == "nt" else "bin")
MASTER = masters.master_paths(["02"])[0]


def install() -> str:
    """Make nbgrader's environment; returns the reason if that fails, "" if not."""
    ready = HOME / f"installed-{VERSION}"
    if ready.is_file():
        return ""
    shutil.rmtree(HOME, ignore_errors=True)
    commands = [
        [sys.executable, "-m", "venv", str(HOME / "venv")],
        [str(BIN / "python"), "-m", "pip", "install", "-q", "--retries", "1", f"nbgrader=={VERSION}"],
    ]
    for command in commands:
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        except subprocess.TimeoutExpired:
            return f"installing nbgrader {VERSION} took more than five minutes"
        if done.returncode:
            return f"nbgrader {VERSION} cannot be installed here: {done.stderr.strip().splitlines()[-1]}"
    ready.touch()
    return ""


def write_kernel(folder: Path) -> None:
    """A kernel called python3 that is this environment's Python, where torch and the course are."""
    (folder / "kernels" / "python3").mkdir(parents=True)
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    kernel = {"argv": argv, "display_name": "Python 3", "language": "python"}
    (folder / "kernels" / "python3" / "kernel.json").write_text(json.dumps(kernel), encoding="utf-8")


def nbgrader(course: Path, *arguments: str) -> str:
    environment = os.environ | {
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "JUPYTER_PATH": str(course / "jupyter"),
        "JUPYTER_CONFIG_DIR": str(course / "config"), "JUPYTER_DATA_DIR": str(course / "data"),
        "MINIMIND_PROGRESS": str(course / "progress.json"), "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    command = [str(BIN / "nbgrader"), *arguments]
    done = subprocess.run(
        command, cwd=course, env=environment, capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


def hand_in(course: Path, student: str, solved: set[str]) -> None:
    """What a student hands in: the released notebook with some tasks solved."""
    master = {t.check.task: t.solution.source for t in masters.tasks_of(files.read(MASTER), MASTER.stem)}
    released = nbformat.read(course / "release" / "ps02" / MASTER.name, as_version=4)
    for task in masters.tasks_of(released, MASTER.stem):
        if task.check.task in solved:
            task.solution.source = (
                master[task.check.task].replace("### BEGIN SOLUTION", "").replace("### END SOLUTION", "")
            )
        if student == "cheat":
            task.checking.source = "print('solved')"
    target = course / "submitted" / student / "ps02" / MASTER.name
    target.parent.mkdir(parents=True)
    nbformat.write(released, target)


@pytest.mark.weekly
@pytest.mark.timeout(1800)
def test_a_master_is_released_and_autograded_by_nbgrader(tmp_path: Path) -> None:
    reason = install()
    if reason:
        pytest.skip(reason)
    write_kernel(tmp_path / "jupyter")
    (tmp_path / "nbgrader_config.py").write_text('c = get_config()\nc.CourseDirectory.course_id = "minimind"\n')
    (tmp_path / "source" / "ps02").mkdir(parents=True)
    shutil.copy(MASTER, tmp_path / "source" / "ps02")
    nbgrader(tmp_path, "generate_assignment", "ps02", "--create")

    released = nbformat.read(tmp_path / "release" / "ps02" / MASTER.name, as_version=4)
    ours = files.read(masters.exercise_path(MASTER))
    for theirs, task in zip(masters.tasks_of(released, MASTER.stem), masters.tasks_of(ours, MASTER.stem), strict=True):
        assert theirs.checking.source.strip() == task.checking.source  # the hidden assertion is gone
        assert theirs.solution.source.replace("Error()", "Error") == task.solution.source  # nbgrader's stub is ours

    tasks = {task.check.task: task.check.points for task in masters.tasks_of(ours, MASTER.stem)}
    hand_in(tmp_path, "full", set(tasks))
    hand_in(tmp_path, "half", {"02.rms_norm", "02.leak"})
    hand_in(tmp_path, "none", set())
    hand_in(tmp_path, "cheat", set())
    nbgrader(tmp_path, "autograde", "ps02", "--create")
    nbgrader(tmp_path, "export", "--to", "grades.csv")
    with (tmp_path / "grades.csv").open(encoding="utf-8", newline="") as file:
        points = {row["student_id"]: float(row["score"]) for row in csv.DictReader(file)}
    assert points == {
        "full": sum(tasks.values()),
        "half": tasks["02.rms_norm"] + tasks["02.leak"],
        "none": 0,
        "cheat": 0,
    }
