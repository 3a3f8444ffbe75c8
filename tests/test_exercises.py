"""Masters and what is generated from them; every exercise runs with all its checks at "not yet"."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from minimind_lite.course.exercises import masters
from minimind_lite.course.exercises.core import every_check
from minimind_lite.course.kit import paths
from minimind_lite.course.kit.errors import CourseError
from minimind_lite.course.notebooks import files

MASTERS = masters.master_paths()


def test_what_is_stored_is_what_would_be_generated() -> None:
    assert MASTERS
    assert masters.problems(MASTERS) == []


@pytest.mark.parametrize("path", MASTERS, ids=lambda path: path.stem)
def test_a_task_says_what_it_is_for_and_gives_hints(path: Path) -> None:
    master = files.read(path)
    tasks = masters.tasks_of(master, path.stem)
    known = [one for one in every_check() if one.startswith(path.stem.partition("_")[0] + ".")]
    assert sorted(known) == sorted(one.check.task for one in tasks)
    text = "\n".join(cell.source for cell in master.cells if cell.cell_type == "markdown")
    for words in ("**What it is for.**", "*Difficulty ", " minutes*", "Hint 1", "Hint 2", "The idea of the answer"):
        assert text.count(words) == len(tasks), words
    assert text.count("<details>") == text.count("</details>") == 3 * len(tasks)


@pytest.mark.parametrize("path", MASTERS, ids=lambda path: path.stem)
def test_an_exercise_holds_nothing_of_the_answer(path: Path) -> None:
    master, exercise = files.read(path), files.read(masters.exercise_path(path))
    assert [cell.id for cell in exercise.cells] == [cell.id for cell in master.cells]
    for task in masters.tasks_of(exercise, path.stem):
        assert "raise NotImplementedError" in task.solution.source
        assert task.checking.source == f"{task.check.name}({task.function})"
        assert task.solution.metadata.nbgrader.solution and task.checking.metadata.nbgrader.points > 0
    text = path.with_name("x").name + masters.exercise_path(path).read_text(encoding="utf-8")
    assert "SOLUTION" not in text and "HIDDEN" not in text and '"outputs": []' in text
    assert not any(cell.get("outputs") for cell in master.cells)


@pytest.fixture(scope="module")
def kernel() -> Iterator[KernelManager]:
    """One kernel for all exercises, as starting one takes longer than running one."""
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel()
    yield manager
    manager.shutdown_kernel(now=True)


def said(notebook: Any, kernel: KernelManager, folder: Path) -> list[tuple[str, str]]:
    """What the checks of a notebook say when it runs from top to bottom: (verdict, task) of each."""
    afresh = new_code_cell(f"%reset -f\n%cd -q {folder}")  # no name of the notebook before it is left
    notebook.cells.insert(0, afresh)
    NotebookClient(notebook, km=kernel, timeout=300).execute()
    printed = "".join(out.get("text", "") for cell in notebook.cells for out in cell.get("outputs", []))
    return re.findall(r"^(not yet|not right|solved) · (\S+)", printed, re.MULTILINE)


@pytest.mark.parametrize("path", MASTERS, ids=lambda path: path.stem)
def test_an_untouched_exercise_runs_and_every_check_says_not_yet(
    path: Path, kernel: KernelManager, tmp_path: Path
) -> None:
    notebook = files.read(masters.exercise_path(path))
    tasks = masters.tasks_of(notebook, path.stem)
    assert said(notebook, kernel, tmp_path) == [("not yet", task.check.task) for task in tasks]


@pytest.mark.parametrize("path", MASTERS, ids=lambda path: path.stem)
def test_a_master_runs_and_every_check_says_solved(path: Path, kernel: KernelManager, tmp_path: Path) -> None:
    notebook = files.read(path)
    tasks = masters.tasks_of(notebook, path.stem)
    assert said(notebook, kernel, tmp_path) == [("solved", task.check.task) for task in tasks]


def master(*cells: str) -> Any:
    return new_notebook(cells=[new_markdown_cell("# A set"), *map(new_code_cell, cells)])


SOLUTION = "def f(x):\n    y = x\n    ### BEGIN SOLUTION\n    return y\n    ### END SOLUTION\n\n\nz = 1"


def test_generation_replaces_solutions_and_hidden_tests() -> None:
    made = masters.generate(master(SOLUTION, "check_a(f)\n### BEGIN HIDDEN TESTS\nassert 1\n### END HIDDEN TESTS"))
    sources = [cell.source for cell in made.cells[1:]]
    assert sources[0] == "def f(x):\n    y = x\n    # YOUR CODE HERE\n    raise NotImplementedError\n\n\nz = 1"
    assert sources[1] == "check_a(f)"


@pytest.mark.parametrize("marker", ["### BEGIN SOLUTION", "### END SOLUTION", "### BEGIN HIDDEN TESTS"])
def test_a_marker_without_its_partner_is_refused(marker: str) -> None:
    with pytest.raises(CourseError, match="without its partner"):
        masters.generate(master(f"x = 1\n{marker}\ny = 2"))


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ([SOLUTION, SOLUTION], "no check follows"),
        (["check_rms_norm(f)"], "no solution precedes it"),
        ([SOLUTION, "check_nothing(f)"], "check_nothing is not a check of this set"),
        ([SOLUTION, "check_rms_norm(f)"], "without a task: check_root_mean_square"),
        ([SOLUTION], "without a task"),
    ],
)
def test_a_master_whose_cells_do_not_fit_is_refused(cells: list[str], words: str) -> None:
    with pytest.raises(CourseError, match=re.escape(words)):
        masters.tasks_of(master(*cells), "02_rmsnorm")


def test_stamping_twice_changes_nothing() -> None:
    first = files.read(MASTERS[0])
    again = files.text_of(masters.stamp_master(first, MASTERS[0].stem))
    assert again == MASTERS[0].read_text(encoding="utf-8")


def test_an_exercise_that_jupyterlab_has_saved_is_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("solutions", "exercises"):
        (tmp_path / folder).mkdir()
    for module in (masters, paths):
        monkeypatch.setattr(module, "repository_root", lambda: tmp_path)
    path = tmp_path / "solutions" / MASTERS[0].name
    path.write_bytes(MASTERS[0].read_bytes())
    masters.make([path])
    exercise = tmp_path / "exercises" / path.name
    saved = json.loads(exercise.read_text(encoding="utf-8"))
    saved["metadata"]["language_info"] = {"name": "python", "version": "3.12.9"}
    for cell in saved["cells"]:
        cell["metadata"]["jp-MarkdownHeadingCollapsed"] = True
    exercise.write_text(json.dumps(saved), encoding="utf-8")
    assert masters.problems([path]) == []
    for part, value in (("source", ["x = 1"]), ("metadata", {}), ("id", "another")):
        task = next(cell for cell in saved["cells"] if cell["metadata"].get("nbgrader", {}).get("solution"))
        before, task[part] = task[part], value
        exercise.write_text(json.dumps(saved), encoding="utf-8")
        assert len(masters.problems([path])) == 1, part
        task[part] = before


def test_an_edited_exercise_and_a_stray_one_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("solutions", "exercises"):
        (tmp_path / folder).mkdir()
    for module in (masters, paths):
        monkeypatch.setattr(module, "repository_root", lambda: tmp_path)
    path = tmp_path / "solutions" / MASTERS[0].name
    path.write_text(MASTERS[0].read_text(encoding="utf-8"), encoding="utf-8", newline="\n")
    assert [line.split(":")[0] for line in masters.problems([path])] == [f"exercises/{path.name}"]
    masters.make([path])
    (tmp_path / "exercises" / "99_stray.ipynb").write_text("{}")
    assert masters.problems([path]) == ["exercises/99_stray.ipynb: it has no master in solutions/"]
    changed = (
        path.read_text(encoding="utf-8").replace("wide * torch", "wide  * torch").replace('"points": 2', '"points": 9')
    )
    path.write_text(changed, encoding="utf-8", newline="\n")
    assert any(line.startswith("solutions/") for line in masters.problems([path]))
