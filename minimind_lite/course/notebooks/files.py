"""Notebooks as files: find them, read them, and write them.

With the format checkers that JupyterLab brings, nbformat takes about as long to import as torch. The first cell of
every chapter imports this module, so nbformat waits until a notebook is read.
"""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from minimind_lite.files import read_json, repository_root, write_text

from ..kit.errors import CourseError
from ..kit.language import LANGUAGES, check_language

_READING = re.compile(r"^\| time \|.*\| *(\d+) minutes \|$", re.MULTILINE)
_TASK = re.compile(r"^\*Difficulty .* · (\d+) minutes\*$", re.MULTILINE)
LARGEST = 500_000  # bytes in one stored chapter
MADE_BY = "made_by"  # metadata of a code cell that has run: the digest of the code that made its outputs
RENDERS = "renders"  # metadata of a translated cell: the id of the English one, and the digest of its text


def chapter_paths(numbers: Iterable[str] = (), folder: Path | None = None) -> list[Path]:
    """The chapters' files in order; only those given by number, name or file, if any are.

    Raises CourseError for one that does not exist, with those that do.
    """
    every = sorted((folder or repository_root() / "notebooks").glob("[0-9][0-9]*_*.ipynb"))
    wanted = list(numbers)
    for one in wanted:
        if not any(_is_called(path, one) for path in every):
            raise CourseError(f"no chapter is called {one!r}; there are: {', '.join(path.stem for path in every)}")
    return [path for path in every if not wanted or any(_is_called(path, one) for one in wanted)]


def chapters_in(language: str, numbers: Iterable[str] = ()) -> list[Path]:
    """The chapters of one edition, as ``chapter_paths`` gives those of the English one."""
    folder = repository_root() / "notebooks"
    return chapter_paths(numbers, folder if check_language(language) == "en" else folder / language)


def language_of(path: Path) -> str:
    """The edition that a notebook belongs to, by its folder: ``notebooks/zh`` holds the Chinese one."""
    return path.parent.name if path.parent.name in LANGUAGES else "en"


def edition_path(path: Path, language: str) -> Path:
    """The file of an English notebook in another language."""
    return path if language == "en" else path.parent / language / path.name


def _is_called(path: Path, name: str) -> bool:
    stem = Path(name).stem
    number, _, topic = path.stem.partition("_")
    return stem in (path.stem, topic, number) or stem.zfill(2) == number


def read(path: Path) -> Any:
    """The notebook at ``path`` in format 4.5; CourseError if it is not a notebook."""
    import nbformat

    try:
        read_json(path)  # says more clearly than nbformat what is wrong with a file that is no JSON object
        return nbformat.read(path, as_version=4)
    except (ValueError, LookupError, TypeError, AttributeError, nbformat.ValidationError) as error:
        raise CourseError(f"{path.name} is not a notebook that can be read: {str(error)[:200]}") from error


def title_of(path: Path) -> str:
    """The notebook's title: its first heading."""
    for cell in read(path).cells:
        if cell.source.startswith("# ") and cell.cell_type == "markdown":
            return str(cell.source.splitlines()[0].removeprefix("# ").strip())
    return path.stem


def reading_minutes(path: Path) -> int:
    """How long an English chapter takes to read, as the table of its first cell states it; 0 if it does not."""
    stated = _READING.search(read(path).cells[0].source)
    return int(stated[1]) if stated else 0


def tasks_in(path: Path) -> list[tuple[int, str]]:
    """(minutes, text) of every task of a set of exercises in English, as the text under its title states them.

    Raises CourseError for a file that is not a notebook.
    """
    try:
        cells = read_json(path)["cells"]  # not by nbformat: a set's first cell asks for its minutes
        texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
    except (ValueError, LookupError, TypeError) as error:
        raise CourseError(f"{path.name} is not a notebook that can be read: {str(error)[:200]}") from error
    return [(int(stated[1]), text) for text in texts if (stated := _TASK.search(text))]


def write(notebook: Any, path: Path) -> None:
    """Store the notebook atomically. Raises CourseError for one that is too large."""
    text = text_of(notebook)
    if len(text.encode()) > LARGEST:
        raise CourseError(f"{path.name} would be {len(text.encode()) // 1000} KB; a chapter stays under 500 KB: "
                          "fewer or smaller pictures (100 dpi at most)")  # fmt: skip
    write_text(path, text)


def text_of(notebook: Any) -> str:
    """The text that ``write`` stores for the notebook."""
    import nbformat

    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return json.dumps(nbformat.from_dict(_split(notebook)), ensure_ascii=False, indent=1, sort_keys=True) + "\n"


def _split(notebook: Any) -> Any:
    import nbformat

    return nbformat.v4.rwbase.split_lines(nbformat.from_dict(notebook))


def tagged(notebook: Any, tag: str) -> Any | None:
    """The first cell that carries ``tag``, or None."""
    return next((cell for cell in notebook.cells if tag in cell.metadata.get("tags", [])), None)
