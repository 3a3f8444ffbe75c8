"""`minimind course refresh`: execute chapters at the quick profile, clean what they printed, and store them."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from ..kit.errors import CourseError
from ..kit.paths import DEFAULT_OUTPUT
from ..kit.profiles import is_smoke
from ..notebooks.files import language_of, read, write
from ..notebooks.outputs import store
from ..notebooks.stamping import stamp, stamp_chapters
from .plan import make_plan
from .run import run_course


def refresh(
    paths: Sequence[Path],
    *,
    run: bool = True,
    output_dir: str | Path = DEFAULT_OUTPUT,
    console: Console | None = None,
) -> None:
    """Stamp, execute in order, clean and store the chapters; one that fails stays as it was.

    What was written into a chapter while it ran stays; a code cell so edited keeps its old outputs.
    Raises CourseError with the failing cell, or if a chapter would exceed 500 KB.
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
        executed = stamp(read(plan.home / path.name), path.stem, language=language_of(path))
        stored = read(path)
        store(executed, stored)
        write(stamp(stored, path.stem, language=language_of(path)), path)
