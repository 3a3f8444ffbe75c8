"""What `minimind course translate` does and prints."""

from collections.abc import Sequence
from pathlib import Path

from minimind_lite.files import repository_root, write_text

from ..kit.errors import CourseError
from ..kit.paths import shown
from .files import edition_path
from .translation import as_text, mark_done, problems, share, sources, start, take_text

LANGUAGE = "zh"


def change(starts: Sequence[str], dones: Sequence[str], cells: Sequence[str], folder: str) -> list[str]:
    """Lay out and mark what was asked for; returns one line for each notebook changed.

    Raises CourseError for cells without the one notebook that they are in.
    """
    if cells and len(dones) != 1:
        raise CourseError("--cell names cells of one notebook: give one --done NN with it")
    lines = []
    for path in sources(starts, folder) if starts else []:
        lost = start(path, LANGUAGE)
        now = share(path, LANGUAGE)
        lines += [f"{shown(edition_path(path, LANGUAGE))}: {now.done} of {now.cells} cells rendered", *lost]
    for path in sources(dones, folder) if dones else []:
        lines.append(f"{shown(edition_path(path, LANGUAGE))}: {mark_done(path, cells, LANGUAGE)} cells marked")
    return lines


def exchange(exports: Sequence[str], imports: Sequence[str], folder: str) -> list[str]:
    """Write editions as text files to be edited, and read such files back; returns one line for each."""
    lines = []
    for path in sources(exports, folder) if exports else []:
        write_text(text_file(path), as_text(path, LANGUAGE))
        lines.append(f"written: {shown(text_file(path))}")
    for path in sources(imports, folder) if imports else []:
        count = take_text(path, text_file(path).read_text(encoding="utf-8"), LANGUAGE)
        lines.append(f"{shown(edition_path(path, LANGUAGE))}: {count} cells changed and marked as rendered")
    return lines


def text_file(path: Path) -> Path:
    """Where the edition of a notebook is edited as text."""
    return repository_root() / "build" / "translate" / path.parent.name / f"{path.stem}.md"


def status_lines() -> list[str]:
    """One line per notebook: how many of its cells are rendered, and how many are stale."""
    lines = []
    for one in (share(path, LANGUAGE) for path in sources()):
        stale = f", {one.stale} stale" if one.stale else ""
        lines.append(f"{shown(one.path):32}{one.done:4} of {one.cells} cells{stale}")
    return [*lines, summary()]


def summary() -> str:
    """The share of all cells that is rendered."""
    shares = [share(path, LANGUAGE) for path in sources()]
    done, cells = sum(one.done for one in shares), sum(one.cells for one in shares)
    begun = sum(edition_path(one.path, LANGUAGE).is_file() for one in shares)
    return f"{begun} of {len(shares)} notebooks, {done / max(cells, 1):.0%} of all cells are rendered in {LANGUAGE}"


def all_problems() -> list[str]:
    """Everything that is out of step, or ill set, in the edition."""
    return [line for path in sources() for line in problems(path, LANGUAGE)]
