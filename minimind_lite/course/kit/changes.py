"""Settings given on the command line or in a parameters cell: NAME=VALUE pairs, and a dataclass changed by them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from .errors import CourseError


def changed(base: Any, changes: Mapping[str, Any], owner: str) -> Any:
    """The dataclass ``base`` with those ``changes`` that are not None. ``owner`` is what an error calls it.

    Raises CourseError for an unknown name (listing the known ones) and for a value of the wrong type.
    """
    known = base.__dataclass_fields__
    unknown = sorted(set(changes) - set(known))
    if unknown:
        raise CourseError(f"{owner} has no setting called {', '.join(unknown)}; it has: {', '.join(known)}")
    wanted = {name: _as_type(name, value, getattr(base, name)) for name, value in changes.items() if value is not None}
    return replace(base, **wanted)


def _as_type(name: str, value: Any, example: Any) -> Any:
    """``value`` if it has the example's type; an int is accepted where a float is expected."""
    if isinstance(example, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not type(example):
        raise CourseError(
            f"{name} must be of type {type(example).__name__}, as in {name}={example!r}; "
            f"it is {value!r}, of type {type(value).__name__}"
        )
    return value


def parse_parameters(pairs: Sequence[str]) -> dict[str, Any]:
    """``["total_steps=100", "preset=nano"]`` as a dict, with values read the way papermill's ``-p`` reads them.

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
