"""Run the chapters in order with papermill; skip those that are finished and whose inputs have not changed."""

import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from minimind_lite.files import owned

from ..kit.bounds import step_bound
from ..kit.data_files import require_data
from ..kit.paths import resolve_output, stage_of
from ..kit.profiles import expected_minutes, published_data
from . import state
from .execute import Outcome, execute
from .plan import Plan
from .progress_bar import CourseProgressBar
from .state import LastRun


@dataclass
class CourseRun:
    """How a run went: one (name, status, seconds) per chapter, and the error message if one failed."""

    plan: Plan
    chapters: list[tuple[str, str, float]] = field(default_factory=list)
    error: str = ""


def run_course(plan: Plan, *, force: bool = False, console: Console | None = None) -> CourseRun:
    """Run the plan's chapters in order; stop at the first that fails. Skipped ones keep their recorded seconds.

    Raises FolderInUse if another run writes into the plan's folder, and CourseError before the first chapter if the
    profile is full and a published file that the run needs is not there.
    """
    with owned(plan.home):
        return _run_chapters(plan, force, console)


def _run_chapters(plan: Plan, force: bool, console: Console | None) -> CourseRun:
    run, last_runs = CourseRun(plan), state.load(plan.state_file)
    due = [path for path in plan.chapters if force or plan.verdict(path, last_runs) != "done"]
    require_data([role for path in due for role in published_data(stage_of(path.stem))], plan.profile)
    with CourseProgressBar(_expected(plan, last_runs), console) as progress:
        for position, path in enumerate(plan.chapters, 1):
            if run.error:
                run.chapters.append((path.stem, "not run", 0.0))
            elif not force and plan.verdict(path, last_runs) == "done":
                run.chapters.append((path.stem, "skipped", last_runs[path.stem].seconds))
                progress.left_over.pop(path.stem, None)
                progress.say(f"[{position}/{len(plan.chapters)}] {path.stem}: finished before, its inputs are the same")
            else:
                progress.start(path.stem, position, len(plan.chapters))
                outcome = run_chapter(plan, path, progress, last_runs)
                run.error = outcome.error
                run.chapters.append((path.stem, "failed" if outcome.error else "done", outcome.seconds))
                progress.finish(path.stem, outcome.seconds, "FAILED" if outcome.error else "done")
    return run


def run_chapter(plan: Plan, path: Path, progress: CourseProgressBar, last_runs: dict[str, LastRun]) -> Outcome:
    """Execute one chapter and record how it ended; the figures of an earlier run are removed first."""
    inputs = plan.hash_of(path)
    _make_room(plan, path, last_runs, inputs)
    parameters = {"profile": plan.profile, **plan.parameters.get(path, {})}
    if plan.artifacts != resolve_output():
        parameters["output_dir"] = str(plan.artifacts)
    start = time.monotonic()
    try:
        outcome = execute(path, plan.home / path.name, parameters, progress.listen, path.parent)
    except KeyboardInterrupt:
        outcome = Outcome(time.monotonic() - start, f"{path.stem}: interrupted; run the same command again to continue")
    if not outcome.error and not plan.results(path).is_file():
        outcome = Outcome(outcome.seconds, f"{path.stem}: ran to its end but recorded no figures in "
                          f"{plan.results(path).parent.name}/results.json; it must call chapter.record(…)")  # fmt: skip
    status = "failed" if outcome.error else "done"
    last_runs[path.stem] = LastRun(
        status, round(outcome.seconds, 1), inputs, plan.profile, plan.parameters.get(path, {})
    )
    state.save(plan.state_file, last_runs)
    return outcome


def _expected(plan: Plan, last_runs: dict[str, LastRun]) -> dict[str, float]:
    """Seconds each chapter will take: as recorded at this profile, else as its settings state, else half a minute."""
    found = {}
    for path in plan.chapters:
        last_run = last_runs.get(path.stem)
        stated = 60 * ((0 if step_bound() else expected_minutes(stage_of(path.stem), plan.profile)) or 0.5)
        found[path.stem] = (
            last_run.seconds if last_run and last_run.profile == plan.profile and last_run.status == "done" else stated
        )
    return found


def _make_room(plan: Plan, path: Path, last_runs: dict[str, LastRun], inputs: str) -> None:
    """Remove what an earlier run left, unless it was interrupted with the same inputs: then training resumes from it.

    A folder that the runner did not create is left alone.
    """
    before = last_runs.get(path.stem)
    if before and not (before.status != "done" and before.inputs == inputs):
        shutil.rmtree(plan.results(path).parent, ignore_errors=True)
    plan.results(path).unlink(missing_ok=True)
    last_runs[path.stem] = LastRun("failed", 0.0, inputs, plan.profile, {})  # until it has succeeded
    state.save(plan.state_file, last_runs)
