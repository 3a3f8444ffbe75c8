"""What the tool writes into a chapter (badge, setup cell, cell ids), and the check of a stored chapter."""

import ast
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat

from ..kit.errors import CourseError
from ..kit.parameters import assigned_names
from ..kit.paths import shown
from . import colab, outputs
from .cleaning import KEPT_CELL_METADATA, LOCAL_PATH, NOTEBOOK_METADATA, WIDGET_VIEW, clean
from .files import LARGEST, language_of, read, tagged, write
from .links import inside_edition

FIRST_PARAMETERS = ["profile", "output_dir", "language"]
_OUR_ID = re.compile(r"^(md|code)-[0-9a-f]{8}(-\d+)?$")


def stamp_chapters(paths: Sequence[Path]) -> None:
    """Write setup cell, badge and ids into each chapter, and clean it, without running anything."""
    for path in paths:
        write(stamp(read(path), path.stem, language=language_of(path)), path)


def stamp(notebook: Any, name: str, folder: str = "notebooks", language: str = "en") -> Any:
    """Write badge, setup cell and ids into the notebook, in place; remove what does not belong to the chapter."""
    title = notebook.cells[0] if notebook.cells else None
    if title is None or title.cell_type != "markdown" or not title.source.startswith("# "):
        raise CourseError(f"{name}: the first cell must be Markdown and begin with the title, '# …'")
    heading, _, rest = without_badge(title.source).partition("\n")
    rest = rest if language == "en" else inside_edition(rest, folder, language)
    title.source = f"{heading}\n\n{colab.badge(name, folder, language)}\n\n{rest.lstrip()}".rstrip("\n")
    if language != "en":
        for cell in (one for one in notebook.cells[1:] if one.cell_type == "markdown"):
            cell.source = inside_edition(cell.source, folder, language)
    setup = tagged(notebook, "setup")
    if setup is None:
        setup = nbformat.v4.new_code_cell(metadata={"tags": ["setup"]})
        notebook.cells.insert(1, setup)
    setup.source = colab.setup_cell(name, language)
    clean(notebook)
    give_ids(notebook, name)
    return notebook


def without_badge(source: str) -> str:
    """A title cell as its author wrote it."""
    return "\n".join(line for line in source.split("\n") if not line.startswith(colab.BADGE_START))


def give_ids(notebook: Any, name: str) -> None:
    """Give every cell a lasting id, made from its first source. Ids once given are kept; reading renames duplicates."""
    taken = {cell.get("id") for cell in notebook.cells if _OUR_ID.match(cell.get("id", ""))}
    for cell in notebook.cells:
        if not _OUR_ID.match(cell.get("id", "")):
            kind = "md" if cell.cell_type == "markdown" else "code"
            digest = hashlib.sha256((name + cell.source).encode()).hexdigest()
            base = f"{kind}-{digest[:8]}"
            names = (base if number == 1 else f"{base}-{number}" for number in range(1, 1000))
            cell.id = next(one for one in names if one not in taken)
            taken.add(cell.id)


def problems(path: Path) -> list[str]:
    """What is wrong with a stored chapter, one line each; empty if all is well."""
    notebook, name = read(path), path.stem
    found = [f"{path.stat().st_size // 1000} KB is over 500 KB"] if path.stat().st_size > LARGEST else []
    found += _structure_problems(notebook, name, language_of(path))
    ids = [cell.get("id", "") for cell in notebook.cells]
    found += [f"cell {i}: id {one!r} is not one of ours" for i, one in enumerate(ids) if not _OUR_ID.match(one)]
    if set(notebook.metadata) - set(NOTEBOOK_METADATA):
        found.append(f"metadata {sorted(set(notebook.metadata) - set(NOTEBOOK_METADATA))} must not be stored")
    code = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    if [cell.execution_count for cell in code] != list(range(1, len(code) + 1)):
        found.append("execution counts do not run 1..n: execute it with `minimind course refresh`")
    if not any(cell.outputs for cell in code):
        found.append("no cell has an output")
    found += [f"{one}: its outputs were made by other code: `{_rerun(path)}`" for one in outputs.stale(notebook)]
    return found + [f"cell {i}: {line}" for i, cell in enumerate(notebook.cells) for line in _cell_problems(cell)]


def _rerun(path: Path) -> str:
    """The command that executes and stores a chapter again."""
    language = language_of(path)
    option = "" if language == "en" else f"--language {language} "
    return f"minimind course refresh {option}{path.stem.partition('_')[0]}"


def _structure_problems(notebook: Any, name: str, language: str) -> list[str]:
    """The first cells: title with badge, setup, parameters, and the call that begins the chapter."""
    found = []
    if not notebook.cells or colab.badge(name, language=language) not in notebook.cells[0].source.split("\n"):
        found.append("the title cell lacks this repository's badge: `minimind course refresh --no-run`")
    setup, parameters = tagged(notebook, "setup"), tagged(notebook, "parameters")
    if setup is None or setup.source != colab.setup_cell(name, language):
        found.append("the setup cell is not the stamped one: `minimind course refresh --no-run`")
    names = assigned_names(parameters.source) if parameters is not None else []
    wanted = ('profile = "quick"', f'language = "{language}"')
    if names[:3] != FIRST_PARAMETERS or parameters is None or any(one not in parameters.source for one in wanted):
        found.append(f'the cell tagged "parameters" must begin with {wanted[0]}, output_dir and {wanted[1]}')
    if not any(_begins(cell.source, name) for cell in notebook.cells if cell.cell_type == "code"):
        found.append(f'no cell calls course.begin("{name}", …)')
    return found


def _begins(source: str, name: str) -> bool:
    try:
        calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    except SyntaxError:
        return False
    return any(ast.unparse(call.func) in ("course.begin", "begin") and call.args
               and getattr(call.args[0], "value", None) == name for call in calls)  # fmt: skip


def _cell_problems(cell: Any) -> list[str]:
    found = [f"metadata {key!r} must not be stored" for key in set(cell.metadata) - KEPT_CELL_METADATA]
    allowed = "raises-exception" in cell.metadata.get("tags", [])
    for output in cell.get("outputs", []):
        if output.output_type == "error" and not allowed:
            found.append(f"stored with an error: {output.ename}: {output.evalue[:100]}")
        data = output.get("data", {})
        if WIDGET_VIEW in data:
            found.append("a widget view is stored, which shows nothing without a kernel")
        texts = [output.get("text", "")] + [text for kind, text in data.items() if kind.startswith("text/")]
        found += [f"an output names a path of one machine: {hit[0]}" for hit in map(LOCAL_PATH.search, texts) if hit]
    return found


def adopt_outputs(paths: Sequence[Path]) -> int:
    """Mark the chapters' outputs that carry no mark as made by the code as it is now; returns how many cells."""
    count = 0
    for path in paths:
        notebook = read(path)
        marked = outputs.adopt(notebook)
        if marked:
            write(notebook, path)
        count += marked
    return count


def all_problems(paths: Sequence[Path]) -> list[str]:
    """Everything wrong with the stored chapters, one line each, headed by the file."""
    return [f"{shown(path)}: {line}" for path in paths for line in problems(path)]
