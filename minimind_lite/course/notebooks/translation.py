"""The Chinese edition as files: laid out from the English notebooks, and compared with them cell by cell.

The code of both editions is the same, but for the language that the setup cell and the parameters name. A translated
Markdown cell carries in its metadata which English cell it renders and the digest of that cell's text, so that
whoever edits an English sentence is told which Chinese one has to follow.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat

from minimind_lite.files import repository_root

from ..kit.errors import CourseError
from ..kit.language import check_language
from ..kit.paths import shown
from . import colab
from .chinese import style_problems
from .files import MADE_BY, RENDERS, chapter_paths, edition_path, read, write
from .stamping import stamp, stamp_chapters, without_badge
from .terms import renamed_in_english, unexplained, unused_in_english

FOLDERS = {"notebooks": "notebooks", "solutions": "exercises"}  # where texts are written → where learners open them
_TEXT_MARK = re.compile(r"^<!-- (md-[\w-]+|code, not read back) -->$", re.MULTILINE)
OPEN = "open"  # in place of the digest: this cell still holds the English text


@dataclass(frozen=True)
class Share:
    """How much of one notebook is translated, in Markdown cells."""

    path: Path  # the English notebook
    cells: int
    done: int  # rendered, and their English has not changed since
    stale: int  # rendered, but their English has changed


def sources(numbers: Iterable[str] = (), folder: str | None = None) -> list[Path]:
    """The English notebooks that have an edition in other languages: chapters, then masters of exercises.

    ``folder``, "notebooks" or "solutions", takes one kind. Raises CourseError for a number that nothing has.
    """
    numbers, root = list(numbers), repository_root()
    found = [path for one in FOLDERS if folder in (None, one) for path in chapter_paths((), root / one)]
    known = {name for path in found for name in (path.stem, *path.stem.split("_", 1))}
    unknown = [name for name in numbers if name not in known and name.zfill(2) not in known]
    if unknown:
        raise CourseError(f"no notebook is called {', '.join(unknown)}; there are: "
                          f"{', '.join(sorted({path.stem for path in found}))}")  # fmt: skip
    wanted = {*numbers, *(name.zfill(2) for name in numbers)}
    return [path for path in found if not wanted or wanted & {path.stem, *path.stem.split("_", 1)}]


def digest(source: str) -> str:
    """What changes when the author of a Markdown cell changes its text; the stamped badge does not count."""
    return hashlib.sha256(without_badge(source).strip().encode()).hexdigest()[:12]


def rendered(cell: Any) -> tuple[str, str]:
    """(id of the English cell, digest of its text when it was rendered); the cell's own id where it has no mark."""
    identity, _, seen = str(cell.metadata.get(RENDERS, "")).partition(" ")
    return identity or str(cell.get("id", "")), seen


def code_in(cell: Any, name: str, language: str) -> str:
    """The source that an English code cell has in another edition."""
    tags = cell.metadata.get("tags", [])
    if "setup" in tags:
        return colab.setup_cell(name, language)
    if "parameters" in tags:
        return str(cell.source).replace('language = "en"', f'language = "{language}"', 1)
    return str(cell.source)


def laid_out(english: Any, before: Any | None, name: str, language: str) -> Any:
    """The edition's notebook: the code of the English one, and the text that ``before`` already has.

    A Markdown cell that ``before`` lacks holds the English text and is marked as open. A code cell keeps its outputs
    while its source is the same.
    """
    old = before.cells if before is not None else []
    texts = {rendered(cell)[0]: cell for cell in old if cell.cell_type == "markdown"}
    ran = {cell.source: cell for cell in old if cell.cell_type == "code"}
    made = nbformat.from_dict(english)
    for cell in made.cells:
        if cell.cell_type == "code":
            cell.source = code_in(cell, name, language)
            same = ran.get(cell.source)
            cell.outputs = same.outputs if same else []
            cell.execution_count = same.execution_count if same else None
            cell.metadata.pop(MADE_BY, None)  # of the English outputs
            if same and MADE_BY in same.metadata:
                cell.metadata[MADE_BY] = same.metadata[MADE_BY]
            continue
        text = texts.get(cell.id)
        seen = rendered(text)[1] if text is not None else ""
        cell.source = text.source if text is not None else without_badge(cell.source)
        cell.metadata[RENDERS] = f"{cell.id} {seen or OPEN}"
    return made


def start(path: Path, language: str = "zh") -> list[str]:
    """Lay out the edition of one English notebook, or bring it in line with the English cells as they are now.

    Returns the texts that no longer have an English cell and were left out, one line each.
    """
    check_language(language)
    target = edition_path(path, language)
    before = read(target) if target.is_file() else None
    english = read(path)
    made = laid_out(english, before, path.stem, language)
    target.parent.mkdir(exist_ok=True)
    _store(made, path, language)
    if before is None:  # links and switches may now lead to it; `minimind course exercises` stamps masters
        editions = (edition_path(one, language) for one in chapter_paths((), path.parents[1] / "notebooks"))
        first = [path] if path.parent.name == "notebooks" else []
        stamp_chapters([*first, *(one for one in editions if one.is_file())])
    known = {cell.id for cell in english.cells}
    lost = [cell for cell in (before.cells if before is not None else []) if cell.cell_type == "markdown"]
    return [f"left out, no English cell is called {rendered(cell)[0]}: {_begin(cell)}"
            for cell in lost if rendered(cell)[0] not in known]  # fmt: skip


def _store(edition: Any, path: Path, language: str) -> None:
    """Write the edition of ``path``; `minimind course exercises` stamps the masters."""
    if path.parent.name == "notebooks":
        stamp(edition, path.stem, language=language)
    write(edition, edition_path(path, language))


def mark_done(path: Path, cells: Sequence[str] = (), language: str = "zh") -> int:
    """Note that cells render the English text as it is now; returns how many were marked.

    Without ``cells`` those are marked that were open and have been written since; a cell whose English has changed must
    be named. Raises CourseError for a name that no cell has.
    """
    target = edition_path(path, language)
    if not target.is_file():
        raise CourseError(f"there is no {shown(target)} yet: minimind course translate --start {path.stem}")
    edition = read(target)
    english = {cell.id: cell for cell in read(path).cells if cell.cell_type == "markdown"}
    if set(cells) - english.keys():
        raise CourseError(f"{shown(path)} has no Markdown cell {', '.join(sorted(set(cells) - english.keys()))}")
    count = 0
    for cell in (one for one in edition.cells if one.cell_type == "markdown"):
        identity, seen = rendered(cell)
        if identity not in english:
            continue
        written = seen in ("", OPEN) and without_badge(cell.source) != without_badge(english[identity].source)
        if identity in cells or (written and not cells):
            cell.metadata[RENDERS] = f"{identity} {digest(english[identity].source)}"
            count += 1
    write(edition, target)
    return count


def as_text(path: Path, language: str = "zh") -> str:
    """The edition as one Markdown text: under each mark ``<!-- md-… -->`` a cell's text, code only to be read."""
    parts = []
    for cell in read(edition_path(path, language)).cells:
        if cell.cell_type == "markdown":
            parts.append(f"<!-- {rendered(cell)[0]} -->\n\n{without_badge(cell.source).strip()}")
        else:
            parts.append(f"<!-- code, not read back -->\n\n```python\n{cell.source}\n```")
    return "\n\n".join(parts) + "\n"


def take_text(path: Path, text: str, language: str = "zh") -> int:
    """Put the texts that ``as_text`` wrote, and somebody has edited, into the edition; returns how many changed.

    A cell that changed is marked as rendering the English text as it is now. Raises CourseError for an unknown mark.
    """
    pieces = _TEXT_MARK.split(text)[1:]
    texts = {mark: body.strip() for mark, body in zip(pieces[::2], pieces[1::2], strict=True) if mark.startswith("md")}
    target = edition_path(path, language)
    edition = read(target)
    cells = {rendered(cell)[0]: cell for cell in _texts(edition)}
    if texts.keys() - cells.keys():
        raise CourseError(f"{shown(target)} has no cell {', '.join(sorted(texts.keys() - cells.keys()))}")
    changed = [one for one, body in texts.items() if body != without_badge(cells[one].source).strip()]
    for one in changed:
        cells[one].source = texts[one]
    _store(edition, path, language)
    return mark_done(path, changed, language) if changed else 0


def share(path: Path, language: str = "zh") -> Share:
    """How much of one notebook is translated."""
    english = {cell.id: digest(cell.source) for cell in read(path).cells if cell.cell_type == "markdown"}
    target = edition_path(path, language)
    seen = dict(map(rendered, _texts(read(target)))) if target.is_file() else {}
    done = sum(seen.get(identity) == now for identity, now in english.items())
    written = sum(seen.get(identity, OPEN) not in ("", OPEN) for identity in english)
    return Share(path, len(english), done, written - done)


def problems(path: Path, language: str = "zh") -> list[str]:
    """Where the edition of one notebook is out of step with the English one, one line each, and what is ill set in it.

    A notebook that nobody has begun to translate has none.
    """
    target = edition_path(path, language)
    if not target.is_file():
        return []
    english, edition = read(path), read(target)
    found = _text_problems(english, edition) + _code_problems(english, edition, path.stem, language)
    if not found and [rendered(cell)[0] for cell in edition.cells] != [cell.id for cell in english.cells]:
        found = [f"the cells have another order than the English ones: {_again(path)}"]
    found += [f"{_name(cell)}: {line}" for cell in _texts(edition) for line in style_problems(cell.source)]
    ours, theirs = ([(_name(cell), without_badge(cell.source)) for cell in _texts(one)] for one in (edition, english))
    said = [f"{name}: {line}" for name, source in theirs for line in renamed_in_english(source)]
    if path.parent.name == "notebooks":  # exercises explain no terms
        number = path.stem.partition("_")[0]
        found += unexplained(number, ours)
        said += unused_in_english(number, [source for _, source in theirs])
    return [f"{shown(target)}: {line}" for line in found] + [f"{shown(path)}: {line}" for line in said]


def _text_problems(english: Any, edition: Any) -> list[str]:
    """Missing, open, stale and extra Markdown cells."""
    wanted = {cell.id: cell for cell in _texts(english)}
    ours = {rendered(cell)[0]: cell for cell in _texts(edition)}
    found = []
    for identity, cell in wanted.items():
        seen = rendered(ours[identity])[1] if identity in ours else ""
        if identity not in ours:
            found.append(f"missing: {identity}, in English: {_begin(cell)}")
        elif seen in ("", OPEN):
            found.append(f"open: {identity} is not marked as rendered: {_begin(cell)}")
        elif seen != digest(cell.source):
            found.append(f"stale: {identity}, whose English has changed since: {_begin(cell)}")
    return found + [f"extra: {_name(cell)}: {_begin(cell)}" for one, cell in ours.items() if one not in wanted]


def _code_problems(english: Any, edition: Any, name: str, language: str) -> list[str]:
    """Code cells that are not, byte for byte, those of the English notebook."""
    wanted = [cell for cell in english.cells if cell.cell_type == "code"]
    ours = [cell for cell in edition.cells if cell.cell_type == "code"]
    found = []
    for number, (one, other) in enumerate(zip(wanted, ours, strict=False), 1):
        expected = code_in(one, name, language)
        if other.source != expected:
            found.append(f"code cell {number} ({one.id}) differs: {_first_difference(expected, other.source)}")
        elif _marks(one) != _marks(other):
            found.append(f"code cell {number} ({one.id}) has other tags or metadata than in English")
    if len(wanted) != len(ours):
        found.append(f"{len(ours)} code cells, and {len(wanted)} in English")
    return found


def _marks(cell: Any) -> dict[str, Any]:
    """A cell's metadata but for the mark of its outputs: each edition runs on its own."""
    return {name: value for name, value in cell.metadata.items() if name != MADE_BY}


def _first_difference(expected: str, found: str) -> str:
    lines = zip([*expected.split("\n"), ""], [*found.split("\n"), ""], strict=False)
    return next((f"{other!r} instead of {one!r}" for one, other in lines if one != other), "more lines than in English")


def _texts(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "markdown"]


def _name(cell: Any) -> str:
    return rendered(cell)[0]


def _again(path: Path) -> str:
    return f"minimind course translate --start {path.stem}"


def _begin(cell: Any) -> str:
    """The first words of a cell, to recognise it by."""
    line = next((one for one in without_badge(cell.source).split("\n") if one.strip()), "")
    return line if len(line) <= 60 else f"{line[:59]}…"
