"""Stored outputs are those of the code beside them, and both editions store the same kinds of them."""

from pathlib import Path
from typing import Any

import pytest
from course_kit import PARAMETERS, write_chapter
from nbformat.v4 import new_code_cell, new_notebook, new_output

from minimind_lite.course.notebooks import files, outputs, stamping, translation
from minimind_lite.course.notebooks.files import MADE_BY
from minimind_lite.course.runner import refresh as refreshing

SETUP, SET = {"tags": ["setup"]}, {"tags": ["parameters"]}


def ran(*sources: str, language: str = "en") -> Any:
    """A notebook that ran: setup, parameters, and ``sources``, each of which printed itself."""
    parameters = PARAMETERS.replace('"en"', f'"{language}"')
    notebook = new_notebook(cells=[new_code_cell("setup", metadata=SETUP), new_code_cell(parameters, metadata=SET),
                                   *map(new_code_cell, sources)])  # fmt: skip
    for number, cell in enumerate(notebook.cells, 1):
        cell.id = f"code-{number}"
        cell.execution_count = number
        cell.outputs = [new_output("stream", name="stdout", text=cell.source)]
    return notebook


def test_a_changed_cell_makes_its_outputs_and_all_later_ones_stale() -> None:
    notebook = ran("a = 1", "b = 2", "a + b")
    assert outputs.adopt(notebook) == 4
    assert outputs.stale(notebook) == []
    notebook.cells[3].source = "b = 3"
    assert outputs.stale(notebook) == ["code-4", "code-5"]
    assert outputs.adopt(notebook) == 0, "a mark was overwritten"
    notebook.cells[3].source = "b = 2"
    assert outputs.stale(notebook) == []


@pytest.mark.parametrize("change", ["moved", "removed", "added"])
def test_cells_that_come_and_go_make_later_outputs_stale(change: str) -> None:
    notebook = ran("a = 1", "a = 2", "a")
    outputs.adopt(notebook)
    cells = notebook.cells
    if change == "moved":
        cells[2], cells[3] = cells[3], cells[2]
    elif change == "removed":
        del cells[2]
    else:
        cells.insert(4, new_code_cell("a = 3"))
    assert "code-5" in outputs.stale(notebook)
    assert "code-2" not in outputs.stale(notebook)


def test_the_setup_cell_and_the_language_do_not_count_but_other_parameters_do() -> None:
    notebook, chinese = ran("a"), ran("a", language="zh")
    notebook.cells[0].source = "another repository"
    assert outputs.digests(notebook) == outputs.digests(chinese)
    chinese.cells[1].source += "\nsteps = 9"
    assert not set(outputs.digests(notebook).values()) & set(outputs.digests(chinese).values())


def test_storing_takes_what_the_same_code_printed() -> None:
    executed, stored = ran("a = 1", "b = 2"), ran("a = 1", "b = 2")
    for cell in stored.cells:
        cell.outputs, cell.execution_count = [], None
    injected = new_code_cell('language = "zh"\ncount = 1', metadata={"tags": ["injected-parameters"]})
    executed.cells.insert(2, injected)
    assert outputs.store(executed, stored) == []
    assert outputs.stale(stored) == []
    assert [cell.outputs[0].text for cell in stored.cells[2:]] == ["a = 1", "b = 2"]
    assert MADE_BY not in stored.cells[0].metadata and MADE_BY in stored.cells[3].metadata


def test_a_cell_edited_during_the_run_keeps_its_outputs_and_is_named() -> None:
    executed, stored = ran("a = 1", "b = 2"), ran("a = 1", "b = 2")
    outputs.adopt(stored)
    stored.cells[2].source = "a = 5"
    executed.cells[3].outputs[0].text = "new"
    assert outputs.store(executed, stored) == ["code-3"]
    assert stored.cells[3].outputs[0].text == "new"
    assert outputs.stale(stored) == ["code-3", "code-4"], "made by the code before the edit"


def test_refresh_keeps_text_that_was_written_while_the_chapter_ran(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_chapter(tmp_path / "notebooks", "00_toy", "print(count)")
    home = tmp_path / "home"

    class Plan:
        pass

    class Result:
        error = ""

    def run(plan: Any, **options: Any) -> Any:
        executed = files.read(path)
        for number, cell in enumerate([one for one in executed.cells if one.cell_type == "code"], 1):
            cell.execution_count = number
            cell.outputs = [new_output("stream", name="stdout", text="3\n")]
        home.mkdir()
        files.write(executed, home / path.name)
        edited = files.read(path)
        edited.cells[4].source = "## Written meanwhile"
        files.write(edited, path)
        return Result()

    Plan.home = home  # type: ignore[attr-defined]
    monkeypatch.setattr(refreshing, "make_plan", lambda *_: Plan)
    monkeypatch.setattr(refreshing, "run_course", run)
    refreshing.refresh([path], output_dir=tmp_path)
    stored = files.read(path)
    assert stored.cells[4].source == "## Written meanwhile"
    assert stored.cells[-1].outputs[0].text == "3\n"
    assert outputs.stale(stored) == []


def test_the_check_names_file_cell_and_the_command_of_the_edition(tmp_path: Path) -> None:
    path = write_chapter(tmp_path / "zh", "07b_toy", "print(count)")
    notebook = files.read(path)
    notebook.cells[-1].execution_count = 4
    files.write(notebook, path)
    cell = notebook.cells[-1].id
    wanted = f"{path}: {cell}: its outputs were made by other code: `minimind course refresh --language zh 07b`"
    assert wanted in stamping.all_problems([path])
    assert stamping.adopt_outputs([path]) == 1
    assert wanted not in stamping.all_problems([path])


def test_an_edition_laid_out_anew_keeps_the_marks_of_its_own_outputs() -> None:
    english, before = ran("a = 1", "b = 2"), ran("a = 1", "b = 0", language="zh")
    outputs.adopt(english)
    before.cells[2].metadata[MADE_BY] = "older"
    made = translation.laid_out(english, before, "00_toy", "zh")
    assert made.cells[2].metadata[MADE_BY] == "older", "the English mark was taken for outputs of another run"
    assert MADE_BY not in made.cells[3].metadata and made.cells[3].outputs == []


ESTIMATE = "still to come: "  # how the line begins that training/estimate.py writes
# Cells whose outputs may be of other kinds in the two editions: (chapter, cell id) → why.
KNOWN: dict[tuple[str, str], str] = {}


def kinds(cell: Any) -> list[str]:
    """What a code cell shows: one entry for each output, its type with its stream or its MIME types, in order.

    Without what a stage says on stderr where it will take long: that depends on the machine's load.
    """
    shown = [one for one in cell.outputs if not (one.get("name") == "stderr" and one.text.startswith(ESTIMATE))]
    return [" ".join([one.output_type, one.get("name", ""), *sorted(one.get("data", {}))]) for one in shown]


def differences(english: Any, edition: Any) -> dict[str, str]:
    """The code cells that show other kinds of outputs in an edition than in English, by id, and what they show.

    An error output is a difference too. Numbers are not compared: training and timing differ from run to run.
    """
    theirs = {cell.id: kinds(cell) for cell in edition.cells if cell.cell_type == "code"}
    found = {}
    for cell in (one for one in english.cells if one.cell_type == "code"):
        ours = kinds(cell)
        if ours != theirs.get(cell.id):
            found[cell.id] = f"{ours} in English, {theirs.get(cell.id)} in the edition"
        elif any(one.startswith("error") for one in ours) and "raises-exception" not in cell.metadata.get("tags", []):
            found[cell.id] = f"{ours} in both"
    return found


@pytest.mark.parametrize("path", files.chapter_paths(), ids=lambda path: path.stem)
def test_both_editions_show_the_same_kinds_of_outputs(path: Path) -> None:
    found = differences(files.read(path), files.read(files.edition_path(path, "zh")))
    known = {cell for chapter, cell in KNOWN if chapter == path.stem}
    assert {cell: what for cell, what in found.items() if cell not in known} == {}
    assert known <= found.keys(), "known to differ, and it does not any more"


def picture() -> Any:
    return new_output("display_data", data={"image/png": "x", "text/plain": "<Figure>"})


@pytest.mark.parametrize("plant", ["empty", "a picture more", "another MIME type", "a warning", "an error in both"])
def test_the_comparison_of_editions_finds_what_is_planted(plant: str) -> None:
    english, edition = ran("plot()"), ran("plot()", language="zh")
    english.cells[2].outputs, edition.cells[2].outputs = [picture()], [picture()]
    english.cells[1].outputs[0].text = "another number"
    assert differences(english, edition) == {}
    cell = edition.cells[2]
    if plant == "empty":
        cell.outputs = []
    elif plant == "a picture more":
        cell.outputs.append(picture())
    elif plant == "another MIME type":
        cell.outputs[0].data = {"text/html": "x"}
    elif plant == "a warning":
        cell.outputs.insert(0, new_output("stream", name="stderr", text="careful"))
    else:
        english.cells[2].outputs = cell.outputs = [new_output("error", ename="ValueError", evalue="", traceback=[])]
    assert list(differences(english, edition)) == ["code-3"]
