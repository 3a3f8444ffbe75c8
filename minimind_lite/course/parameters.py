"""A parameter that does not exist must stop the run: papermill itself only logs it and runs on at full size.

papermill writes what ``-p NAME VALUE`` gave into a cell of its own, behind the cell tagged ``parameters`` and headed by
the comment ``# Parameters``. IPython keeps every cell's source in its history ``In``, so a chapter can compare the two.
"""

import ast
from collections.abc import Iterable, Sequence
from typing import Any

from .settings import CourseError

INJECTED_HEADER = "# Parameters"


def assigned_names(source: str) -> list[str]:
    """Names that the top level of ``source`` binds by assignment, in order; none where it is not plain Python."""
    try:
        body = ast.parse(source).body
    except SyntaxError:  # a magic or a shell line
        return []
    names: list[str] = []
    for statement in body:
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        names += [target.id for target in targets if isinstance(target, ast.Name)]
    return names


def unknown_parameters(history: Sequence[str], passed: Iterable[str] = ()) -> tuple[list[str], list[str]]:
    """(injected names that no parameters cell declares, the declared names), from the cells run so far.

    The parameters cell is the last one that binds ``profile`` and ``output_dir``; what papermill injected follows it.
    """
    declared, injected = list(passed), []
    for source in history:
        names = assigned_names(source)
        if source.lstrip().startswith(INJECTED_HEADER):
            injected = names
        elif {"profile", "output_dir"} <= set(names):
            declared, injected = [*passed, *names], []
    known = sorted(set(declared))
    return sorted(set(injected) - set(known)), known


def refuse_unknown_parameters(passed: Iterable[str]) -> None:
    """Raise CourseError if the notebook we run in was given a parameter it does not have. Silent outside IPython."""
    try:
        from IPython import get_ipython
    except ImportError:
        return
    shell = get_ipython()  # type: ignore[no-untyped-call]
    if shell is None:
        return
    unknown, known = unknown_parameters(shell.user_ns.get("In", []), list(passed))
    if unknown:
        raise CourseError(f"unknown parameter {', '.join(unknown)}; this chapter has: {', '.join(known)}")


def parse_parameters(pairs: Sequence[str]) -> dict[str, Any]:
    """``["total_steps=100", "preset=nano"]`` as names and values, read as papermill's ``-p`` reads them.

    >>> parse_parameters(["total_steps=100", "rate=1e-3", "preset=nano", "resume=False", "limit=None"])
    {'total_steps': 100, 'rate': 0.001, 'preset': 'nano', 'resume': False, 'limit': None}
    """
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.isidentifier():
            raise CourseError(f"-p {pair!r} must look like NAME=VALUE, as in -p total_steps=100")
        found[name] = _value(value)
    return found


def _value(text: str) -> Any:
    if text in ("True", "False", "None"):
        return {"True": True, "False": False, "None": None}[text]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
