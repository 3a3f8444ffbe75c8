"""Stored outputs and the code that made them: a cell that ran carries a digest of its code and of all code before it.

A changed cell thus makes its own outputs stale and those of every later cell. The library and the sample data are not
in the digest: a change there that moves a figure is found by running the chapters, not by reading them.
"""

import hashlib
import json
import re
from typing import Any

from .files import MADE_BY

_LANGUAGE = re.compile(r'^language = "\w*"$', re.MULTILINE)


def digests(notebook: Any) -> dict[str, str]:
    """The digest of each code cell by its id: what the cell's outputs depend on in this notebook.

    Out of it are what is no author's code (the setup cell, the cell in which papermill sets parameters) and the
    language, so that both editions have the same digests.
    """
    found: dict[str, str] = {}
    before = ""
    for cell in notebook.cells:
        if cell.cell_type == "code" and not {"setup", "injected-parameters"} & set(cell.metadata.get("tags", [])):
            source = _LANGUAGE.sub("", cell.source)
            before = hashlib.sha256(json.dumps([before, source]).encode()).hexdigest()[:12]
            found[cell.id] = before
    return found


def store(executed: Any, stored: Any) -> list[str]:
    """Copy outputs and execution counts into ``stored``, in place, by id where both have the same source; mark them.

    A cell that was edited while the notebook ran keeps what it has. Returns the ids of the cells that did.
    """
    ran = {cell.id: cell for cell in executed.cells if cell.cell_type == "code"}
    made_by = digests(executed)
    kept = []
    for cell in (one for one in stored.cells if one.cell_type == "code"):
        same = ran.get(cell.id)
        if same is None or same.source != cell.source:
            kept.append(str(cell.id))
            continue
        cell.outputs, cell.execution_count = same.outputs, same.execution_count
        cell.metadata.pop(MADE_BY, None)
        if cell.id in made_by and cell.execution_count is not None:
            cell.metadata[MADE_BY] = made_by[cell.id]
    return kept


def adopt(notebook: Any) -> int:
    """Mark outputs that carry no mark as made by the code as it is now, in place; returns how many cells that were.

    A mark that is there stays: it may be the only sign that the code has changed since.
    """
    made_by = digests(notebook)
    unmarked = [
        cell for cell in notebook.cells if cell.id in made_by and _has_run(cell) and MADE_BY not in cell.metadata
    ]
    for cell in unmarked:
        cell.metadata[MADE_BY] = made_by[cell.id]
    return len(unmarked)


def stale(notebook: Any) -> list[str]:
    """The ids of cells whose outputs were made by other code than what is there now, or carry no mark of any."""
    made_by = digests(notebook)
    return [cell.id for cell in notebook.cells
            if cell.id in made_by and _has_run(cell) and cell.metadata.get(MADE_BY) != made_by[cell.id]]  # fmt: skip


def _has_run(cell: Any) -> bool:
    return cell.execution_count is not None or bool(cell.outputs)
