"""`minimind course refresh`: execute chapters at the quick profile, clean what they printed, and store them."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from . import notebooks
from .paths import DEFAULT_OUTPUT
from .profiles import CourseError, is_smoke
from .run import make_plan, run_course


def stamp_chapters(paths: Sequence[Path]) -> None:
    """Write setup cell, badge and ids into each chapter, and clean it, without running anything."""
    for path in paths:
        notebook = notebooks.stamp(notebooks.read(path), path.stem)
        notebooks.write(notebook, path)


def refresh(
    paths: Sequence[Path],
    *,
    run: bool = True,
    output_dir: str | Path = DEFAULT_OUTPUT,
    console: Console | None = None,
) -> None:
    """Stamp, execute in order, clean and store the chapters; nothing is stored of one that fails.

    Raises CourseError with the failing cell, or where a chapter would be over 500 KB.
    """
    if is_smoke() and run:
        raise CourseError("MINIMIND_SMOKE=1 is set: chapters are stored as the quick profile makes them, so unset it")
    stamp_chapters(paths)
    if not run:
        return
    for path in paths:
        plan = make_plan("quick", path.stem, path.stem, (), output_dir, path.parent)
        result = run_course(plan, force=True, console=console)
        if result.error:
            raise CourseError(result.error)
        executed = notebooks.read(plan.home / path.name)
        notebooks.write(notebooks.stamp(executed, path.stem), path)


def check(paths: Sequence[Path]) -> list[str]:
    """Everything wrong with the stored chapters, one line each, headed by the chapter's name."""
    return [f"{path.stem}: {line}" for path in paths for line in notebooks.problems(path)]
