"""Stop a run that was given a parameter the chapter does not have: papermill only logs it, and runs at full size.

papermill writes the values of ``-p NAME VALUE`` into a cell of its own, after the cell tagged ``parameters`` and headed
by the comment ``# Parameters``. IPython keeps every cell's source in its history ``In``, so a chapter can compare the
two.
"""

import ast
from collections.abc import Iterable, Sequence

from .errors import CourseError
from .language import say

INJECTED_HEADER = "# Parameters"


def assigned_names(source: str) -> list[str]:
    """Names that the top level of ``source`` binds by assignment, in order; empty if it is not plain Python."""
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
    """Raise CourseError if this notebook was given a parameter that it does not have. Does nothing outside IPython."""
    try:
        from IPython import get_ipython
    except ImportError:
        return
    shell = get_ipython()
    if shell is None:
        return
    unknown, known = unknown_parameters(shell.user_ns.get("In", []), list(passed))
    if unknown:
        raise CourseError(say("unknown parameter {unknown}; this chapter has: {known}",
                              unknown=", ".join(unknown), known=", ".join(known)))  # fmt: skip
