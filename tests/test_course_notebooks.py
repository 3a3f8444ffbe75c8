"""Chapters as files: what is stamped, cleaned away, and found by the check; and the stored chapters themselves."""

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import nbformat
import pytest
from course_kit import RECORD, write_chapter
from IPython.core.inputtransformer2 import TransformerManager
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from minimind_lite.course.kit.errors import CourseError
from minimind_lite.course.kit.language import LANGUAGES
from minimind_lite.course.notebooks import cleaning, colab, files, outputs, stamping
from minimind_lite.course.runner.refresh import refresh
from minimind_lite.files import repository_root

STORED = [path for language in LANGUAGES for path in files.chapters_in(language)]


@pytest.mark.parametrize("path", STORED, ids=lambda path: f"{files.language_of(path)}-{path.stem}")
def test_stored_chapters_are_in_order(path: Path) -> None:
    assert stamping.problems(path) == []


def test_the_setup_cell_is_the_same_everywhere_and_short() -> None:
    one, other = colab.setup_cell("03_rope"), colab.setup_cell("10_sft")
    assert one.replace("03_rope", "10_sft") == other
    assert len(one.splitlines()) <= 8
    assert max(map(len, one.splitlines())) <= 120
    assert f"--branch {colab.repository_ref()} {colab.repository_url()}" in one


def run_setup(cell: str, shell: str, commands: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Execute the setup cell as IPython would, its shell lines only noted."""

    class Shell:
        def __str__(self) -> str:
            return shell

        def system(self, command: str) -> None:
            commands.append(command)

        def run_line_magic(self, name: str, line: str) -> None:
            commands.append(f"%{name} {line}")

    source = TransformerManager().transform_cell(cell)
    exec(compile(source, "setup", "exec"), {"get_ipython": Shell})


def test_the_setup_cell_clones_on_colab_only(monkeypatch: pytest.MonkeyPatch) -> None:
    greeted: list[str] = []
    monkeypatch.setattr(colab, "setup", greeted.append)
    local: list[str] = []
    run_setup(colab.setup_cell("03_rope"), "<ipykernel.zmqshell.ZMQInteractiveShell>", local, monkeypatch)
    away: list[str] = []
    run_setup(colab.setup_cell("03_rope"), "<google.colab._shell.Shell>", away, monkeypatch)
    assert (local, greeted) == ([], ["03_rope"] * 2)
    folder = colab.repository_url().rpartition("/")[2]
    assert away[0].startswith("git clone -q --depth 1 --branch main ")
    assert away[1] == f"%cd -q /content/{folder}"


def test_the_setup_cell_says_what_to_do_where_the_course_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "minimind_lite.course", None)
    monkeypatch.setitem(sys.modules, "minimind_lite.course.notebooks", None)
    with pytest.raises(ImportError, match="make lab"):
        run_setup(colab.setup_cell("03_rope"), "local", [], monkeypatch)


def test_colab_keeps_its_torch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    commands: list[list[str]] = []
    pins: list[str] = []

    def run(command: list[str], check: bool, timeout: float) -> None:
        commands.append(command)
        pins.extend(Path(command[command.index("-c") + 1]).read_text().split() if "-c" in command else [])

    have = {"torch": "2.5.0+cu124", "numpy": "2.0.2"}

    def version(name: str) -> str:
        if name not in have:
            raise colab.importlib.metadata.PackageNotFoundError(name)
        return have[name]

    monkeypatch.setattr(colab.importlib.metadata, "version", version)
    monkeypatch.setattr(colab.subprocess, "run", run)
    colab.install_on_colab(tmp_path)
    assert "--no-deps" in commands[0]
    wanted = commands[1][commands[1].index("-c") + 2 :]
    assert pins == ["torch==2.5.0+cu124", "numpy==2.0.2"]
    assert not [one for one in wanted if one.startswith(("torch", "numpy", "ipykernel"))]
    assert [one for one in wanted if one.startswith("einops")]


def test_setup_installs_only_on_colab(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    installed: list[Path] = []
    monkeypatch.setattr(colab, "install_on_colab", installed.append)
    monkeypatch.setattr(colab.os, "chdir", lambda _: None)
    colab.setup("03_rope")
    assert installed == []
    assert "torch" in capsys.readouterr().out
    monkeypatch.setitem(sys.modules, "google.colab", ModuleType("google.colab"))
    colab.setup("03_rope")
    assert installed == [repository_root()]


def test_an_exercise_states_its_own_minutes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own = sum(minutes for minutes, _ in files.tasks_in(repository_root() / "exercises" / "02_rmsnorm.ipynb"))
    for folder in ("exercises", "exercises/zh"):
        monkeypatch.chdir(repository_root() / folder)
        colab.setup("02_rmsnorm")
        said = capsys.readouterr().out
        assert f"02_rmsnorm, exercises: about {own} minutes in all" in said and "by profile" not in said
    monkeypatch.chdir(repository_root() / "notebooks")
    colab.setup("02_rmsnorm")
    said = capsys.readouterr().out
    assert "minutes by profile" in said and "exercises" not in said


def test_stamping_is_idempotent_and_keeps_ids_through_edits(tmp_path: Path) -> None:
    path = write_chapter(tmp_path, "00_toy")
    stamping.stamp_chapters([path])
    first = path.read_bytes()
    ids = [cell.id for cell in files.read(path).cells]
    stamping.stamp_chapters([path])
    assert path.read_bytes() == first
    notebook = files.read(path)
    notebook.cells[4].source = "## Other words"
    notebook.cells.insert(5, new_markdown_cell("New"))
    nbformat.write(notebook, path)
    stamping.stamp_chapters([path])
    after = [cell.id for cell in files.read(path).cells]
    assert after[:5] + after[6:] == ids
    assert len(set(after)) == len(after)


def test_equal_cells_get_different_ids() -> None:
    notebook = new_notebook(cells=[new_code_cell("x = 1"), new_code_cell("x = 1")])
    stamping.give_ids(notebook, "00_toy")
    first, second = (cell.id for cell in notebook.cells)
    assert second == f"{first}-2"


def test_refresh_executes_cleans_and_stores(tmp_path: Path) -> None:
    noisy = "import sys; print(sys.prefix, object()); print('50%|#####     | 5/10', file=sys.stderr)"
    widget = "import ipywidgets; ipywidgets.IntSlider()"
    path = write_chapter(tmp_path / "notebooks", "00_toy", noisy, widget, RECORD, real=True)
    refresh([path], output_dir=tmp_path / "out")
    assert stamping.all_problems([path]) == []
    text = path.read_text(encoding="utf-8")
    assert sys.prefix not in text
    assert "papermill" not in text
    assert "widget-view" not in text
    assert "5/10" not in text.replace(json.dumps(noisy)[1:-1], "")
    assert '"execution": {' not in text


def test_a_failing_chapter_is_not_stored(tmp_path: Path) -> None:
    path = write_chapter(tmp_path / "notebooks", "00_toy", "1 / 0")
    stamping.stamp_chapters([path])
    before = path.read_bytes()
    with pytest.raises(CourseError, match="ZeroDivisionError"):
        refresh([path], output_dir=tmp_path / "out")
    assert path.read_bytes() == before


def test_a_chapter_over_500_kb_is_refused(tmp_path: Path) -> None:
    notebook = new_notebook(cells=[new_markdown_cell("# Big\n" + "x" * 500_000)])
    with pytest.raises(CourseError, match="under 500 KB"):
        files.write(notebook, tmp_path / "00_big.ipynb")


def output(**data: Any) -> Any:
    return new_output("display_data", data=data)


def test_cleaning_keeps_what_matters() -> None:
    slider = output(**{"application/vnd.jupyter.widget-view+json": {}, "text/plain": "IntSlider()"})
    stream = [new_output("stream", name="stdout", text=one) for one in ("a\n", f"at {Path.home()}/x/y.py\n")]
    bar = new_output("stream", name="stderr", text="\r 10%|# | 1/10\r100%|##| 10/10 [00:01<00:00]\n")
    kept = cleaning.clean_outputs([slider, *stream, bar, output(**{"text/plain": "<f at 0x7f00aabbccdd>"})])
    assert [one.output_type for one in kept] == ["stream", "display_data"]
    assert kept[0].text == "a\nat x/y.py\n"
    assert kept[1].data["text/plain"] == "<f at 0x…>"


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("/tmp/ipykernel_12/345.py:3: UserWarning", "cell:3: UserWarning"),  # noqa: S108  a text, no file
        ("a/b and 3/4 stay", "a/b and 3/4 stay"),
        ("https://arxiv.org/home/x", "https://arxiv.org/home/x"),
        ("at /home/someone/course/x.py", "at …"),
        (r"at C:\Users\me\x.py", "at …"),
    ],
)
def test_clean_text(text: str, cleaned: str) -> None:
    assert cleaning.clean_text(text) == cleaned


def planted(path: Path, kind: str) -> None:
    """Make one mistake in a good chapter."""
    notebook = nbformat.read(path, as_version=4)
    cells = notebook.cells
    if kind == "badge":
        cells[0].source = "# The chapter toy"
    elif kind == "setup cell":
        cells[1].source += "\nimport os"
    elif kind == "parameters":
        cells[2].source = "x = 1"
    elif kind == "course.begin":
        cells[3].source = "x = 1"
    elif kind == "not one of ours":
        cells[4].id = "abc"
    elif kind == "'papermill' must not be stored":
        cells[3].metadata["papermill"] = {"duration": 1}
    elif kind == "'widgets'":
        notebook.metadata["widgets"] = {}
    elif kind == "execution counts":
        cells[3].execution_count = 9
    elif kind == "no cell has an output":
        for cell in cells:
            cell.outputs = []
    elif kind == "its outputs were made by other code: `minimind course refresh 00`":
        cells[3].source += "\n"
    elif kind == "path of one machine":
        cells[3].outputs = [new_output("stream", name="stdout", text="/home/someone/x")]
    elif kind == "stored with an error":
        cells[3].outputs = [new_output("error", ename="ValueError", evalue="no", traceback=[])]
    elif kind == "widget view":
        cells[3].outputs = [output(**{"application/vnd.jupyter.widget-view+json": {}})]
    path.write_text(nbformat.writes(notebook), encoding="utf-8")


@pytest.fixture(scope="module")
def good_chapter(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A chapter as the tool stores it, without the time a kernel takes."""
    path = write_chapter(tmp_path_factory.mktemp("good"), "00_toy", real=True)
    notebook = files.read(path)
    for number, cell in enumerate([cell for cell in notebook.cells if cell.cell_type == "code"], 1):
        cell.execution_count = number
        cell.outputs = [new_output("stream", name="stdout", text="hello\n")]
    stamping.stamp(notebook, path.stem)
    outputs.adopt(notebook)
    files.write(notebook, path)
    assert stamping.problems(path) == []
    return path.read_bytes()


@pytest.mark.parametrize(
    "kind",
    ["badge", "setup cell", "parameters", "course.begin", "not one of ours",
     "'papermill' must not be stored", "'widgets'", "execution counts", "no cell has an output",
     "its outputs were made by other code: `minimind course refresh 00`", "path of one machine", "stored with an error",
     "widget view"],
)  # fmt: skip
def test_the_check_finds_each_planted_mistake(tmp_path: Path, good_chapter: bytes, kind: str) -> None:
    path = tmp_path / "00_toy.ipynb"
    path.write_bytes(good_chapter)
    planted(path, kind)
    assert any(kind in line for line in stamping.problems(path))


def test_badges_point_to_another_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = (repository_root() / "pyproject.toml").read_text(encoding="utf-8")
    (tmp_path / "pyproject.toml").write_text(copy, encoding="utf-8")
    monkeypatch.setattr(colab, "repository_root", lambda: tmp_path)
    colab.change_repository("my-class/course.2026")
    assert colab.repository_url() == "https://github.com/my-class/course.2026"
    assert "github.com/my-class/course.2026 /content/course.2026" in colab.setup_cell("03_rope")
    assert "/github/my-class/course.2026/blob/main/" in colab.badge("03_rope")
    colab.change_repository("my-class/course.2026", "v9.9")
    assert "--branch v9.9 https" in colab.setup_cell("03_rope")
    assert "/blob/v9.9/" in colab.badge("03_rope")
    for wrong_ref in ("", "-b", "a b", 'a"'):
        with pytest.raises(CourseError, match="--ref"):
            colab.change_repository("my-class/course.2026", wrong_ref)
    for wrong in ("no-slash", "a/b/c", "a b/c", "/x", "a/", 'a/b"'):
        with pytest.raises(CourseError, match="OWNER/NAME"):
            colab.change_repository(wrong)


def test_the_public_address_stands_in_one_place() -> None:
    root, address = repository_root(), colab.repository_url()
    sources = [path for path in (root / "minimind_lite").rglob("*.py") if address in path.read_text(encoding="utf-8")]
    assert sources == []


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"cells": 3}', '{"cells": [3]}', '{"cells": [{"cell_type": "markdown"}]}']
)
def test_the_minutes_of_what_is_no_notebook_are_refused_by_name(text: str, tmp_path: Path) -> None:
    path = tmp_path / "02_rmsnorm.ipynb"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CourseError, match=r"02_rmsnorm\.ipynb is not a notebook that can be read"):
        files.tasks_in(path)
