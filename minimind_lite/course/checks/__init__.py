"""The instant checks of the exercises: one module a chapter, ``chNN_name.py``; CONTRIBUTING.md says how to add one."""

import importlib
import pkgutil

from .core import REGISTRY, Check, Verdict, check
from .task import Task, Wrong

__all__ = ["Check", "Task", "Verdict", "Wrong", "check", "every_check"]


def every_check() -> dict[str, Check]:
    """All checks of the course by task ("02.rms_norm"), in the order of the chapters and of the tasks in them."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name.startswith("ch"))
    modules = [importlib.import_module(f"{__name__}.{name}") for name in names]
    return {one.task: one for module in modules for one in REGISTRY.values() if one.body.__module__ == module.__name__}
