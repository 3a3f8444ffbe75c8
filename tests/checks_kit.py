"""Planted mistakes and correct alternatives for the checks; ``tests/planted/`` holds them, one file per set."""

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from minimind_lite.course.exercises.calling import LocalCaller
from minimind_lite.course.exercises.core import Check, Verdict, every_check

SEEDS = (0, 1, 2)  # a check draws its inputs: no seed may make a right answer fail or a wrong one pass


@dataclass(frozen=True)
class Planted:
    """What is planted for one check."""

    mistakes: list[tuple[Callable[..., Any], str]]  # a wrong function, and words that its message must contain
    alternatives: list[Callable[..., Any]]  # right functions, written differently


PLANTED: dict[str, Planted] = {}
CAUGHT: dict[str, int] = {}  # filled by the tests, shown as a table at the end


def plant(
    check: Check, *, mistakes: list[tuple[Callable[..., Any], str]], alternatives: list[Callable[..., Any]]
) -> None:
    """Register what the tests try on ``check``."""
    assert check.task not in PLANTED, f"{check.task} has been planted already"
    PLANTED[check.task] = Planted(mistakes, alternatives)


def load_planted() -> dict[str, Planted]:
    """All that is planted, by task."""
    package = importlib.import_module("planted")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"planted.{module.name}")
    return PLANTED


def judge(task: str, function: Any, seed: int = 0, seconds: float = 10.0) -> Verdict:
    """The verdict of the task's check."""
    return every_check()[task].judge(LocalCaller(function), seed=seed, seconds=seconds)


def table() -> list[str]:
    """Check, mistakes planted, mistakes caught: one line each."""
    rows = [("check", "planted", "caught")]
    rows += [(task, str(len(PLANTED[task].mistakes)), str(caught)) for task, caught in sorted(CAUGHT.items())]
    width = max(len(row[0]) for row in rows)
    return [f"{name:{width}}  {planted:>7}  {caught:>6}" for name, planted, caught in rows]
