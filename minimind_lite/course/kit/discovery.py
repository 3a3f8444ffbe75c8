"""Finds the chapters: a folder in ``course/chapters`` is one, and the files in it are all that belongs to it.

A part of a chapter is one of its modules: ``settings``, ``figures``, ``widgets``, ``checks``, ``labels``,
``experiments``. A chapter has only those it needs.
"""

import importlib
from functools import cache
from pathlib import Path
from types import ModuleType

CHAPTERS = Path(__file__).parents[1] / "chapters"
COURSE = __package__.rpartition(".")[0]
PACKAGE = f"{COURSE}.chapters"


@cache
def chapter_names() -> tuple[str, ...]:
    """The names of all chapters ("moe", "rope", …), in alphabetical order."""
    return tuple(sorted(folder.parent.name for folder in CHAPTERS.glob("*/__init__.py")))


@cache
def chapter_part(chapter: str, part: str) -> ModuleType | None:
    """The module ``part`` of a chapter; None if there is no such chapter, or it has no such part."""
    if not (CHAPTERS / chapter / f"{part}.py").is_file():
        return None
    return importlib.import_module(f"{PACKAGE}.{chapter}.{part}")


@cache
def check_modules() -> tuple[ModuleType, ...]:
    """Every module of checks: the chapters', then the capstones'."""
    found = (chapter_part(chapter, "checks") for chapter in chapter_names())
    return (*(module for module in found if module), importlib.import_module(f"{COURSE}.capstones.checks"))
