"""Run the chapters with papermill, one or more at a time; skip those that are finished and have the same inputs."""

import shutil
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from rich.console import Console

from minimind_lite.files import owned

from ..kit.bounds import step_bound
from ..kit.data_files import require_data
from ..kit.language import say
from ..kit.paths import resolve_output, stage_of
from ..kit.profiles import expected_minutes, published_data
from . import state
from .execute import Kernels, Outcome, execute
from .plan import Plan
from .progress_bar import CourseProgressBar
from .schedule import Task, by_urgency, next_task, tasks_of
from .state import LastRun

PATIENCE = 10.0  # seconds in which an interrupted chapter has to end by itself


@dataclass
class CourseRun:
    """How a run went: one (name, status, seconds) per chapter, and the error message if one failed."""

    plan: Plan
    chapters: list[tuple[str, str, float]] = field(default_factory=list)
    error: str = ""


def run_course(
    plan: Plan, *, force: bool = False, console: Console | None = None, ended: Callable[[Path], None] | None = None
) -> CourseRun:
    """Run the plan's chapters; after the first that fails, start no other. Skipped ones keep their recorded seconds.

    Up to ``plan.jobs`` chapters run at a time, in the order of ``schedule``. ``ended`` is told each that has run, well
    or not, and must not keep the run waiting. Raises FolderInUse if another run writes into the plan's folder, and
    CourseError before the first chapter if the profile is full and a published file that the run needs is not there.
    """
    with owned(plan.home):
        last_runs = state.load(plan.state_file)
        due = [path for path in plan.chapters if force or plan.verdict(path, last_runs) != "done"]
        require_data([role for path in due for role in published_data(stage_of(path.stem))], plan.profile)
        tasks = tasks_of(plan, expected_seconds(plan, last_runs))
        with CourseProgressBar(tasks, plan.jobs, console) as progress, ThreadPoolExecutor(plan.jobs) as threads:
            return _Running(plan, force, last_runs, tasks, progress, threads, ended).to_the_end()


class _Running:
    """One run of the course. Only the main thread decides, prints and writes the state; the others wait for kernels."""

    def __init__(
        self, plan: Plan, force: bool, last_runs: dict[str, LastRun], tasks: list[Task], progress: CourseProgressBar,
        threads: ThreadPoolExecutor, ended: Callable[[Path], None] | None,
    ) -> None:  # fmt: skip
        self.plan, self.force, self.last_runs, self.ended = plan, force, last_runs, ended
        self.progress, self.threads = progress, threads
        self.waiting = by_urgency(tasks, plan.jobs)
        self.paths = {path.stem: path for path in plan.chapters}
        self.running: dict[Future[Outcome], Task] = {}
        self.kernels = Kernels()
        self.rows = {name: (name, "not run", 0.0) for name in self.paths}
        self.errors: list[str] = []

    def to_the_end(self) -> CourseRun:
        """Run everything, or up to the first failure or interrupt."""
        try:
            while self._start_what_may() or self.running:
                for future in wait(self.running, timeout=1, return_when=FIRST_COMPLETED).done:
                    self._finish(future, future.result())
        except BaseException as error:
            self._stop()
            if not isinstance(error, KeyboardInterrupt):
                raise
            between_two = say("interrupted; run the same command again to continue")
            self.errors = self.errors or [between_two]
        return CourseRun(self.plan, list(self.rows.values()), "\n".join(self.errors))

    def _start_what_may(self) -> bool:
        """Start or skip chapters until no other may; returns whether it did."""
        before = len(self.waiting)
        while not self.errors and (task := next_task(self.waiting, self.running.values(), self.plan.jobs)):
            position = f"[{1 + list(self.paths).index(task.name)}/{len(self.paths)}] {task.name}"
            if not self.force and self.plan.verdict(self.paths[task.name], self.last_runs) == "done":
                self.rows[task.name] = (task.name, "skipped", self.last_runs[task.name].seconds)
                self.progress.skip(task.name)
                self.progress.say(say("{chapter}: finished before, its inputs are the same", chapter=position))
            else:
                self._start(task, position)
            self.waiting.remove(task)
        return len(self.waiting) < before

    def _start(self, task: Task, position: str) -> None:
        """Start one chapter; the figures of an earlier run are removed first."""
        plan, path = self.plan, self.paths[task.name]
        _make_room(plan, path, self.last_runs)
        parameters = {"profile": plan.profile, **plan.parameters.get(path, {})}
        if plan.artifacts != resolve_output():
            parameters["output_dir"] = str(plan.artifacts)
        self.progress.start(task.name, position)
        listen = partial(self.progress.listen, task.name)
        target = plan.home / path.name
        self.running[self.threads.submit(execute, path, target, parameters, listen, path.parent, self.kernels)] = task

    def _finish(self, future: Future[Outcome], outcome: Outcome) -> None:
        """Record how a chapter ended."""
        task = self.running.pop(future)
        plan, path, error = self.plan, self.paths[task.name], outcome.error
        if not error and not plan.results(path).is_file():
            error = say("{chapter}: ran to its end but recorded no figures in {stage}/results.json; "
                        "it must call chapter.record(…)", chapter=task.name, stage=stage_of(task.name))  # fmt: skip
        status = "failed" if error else "done"
        self.errors += [error] if error else []
        self.rows[task.name] = (task.name, status, outcome.seconds)
        begun = self.last_runs[task.name]
        self.last_runs[task.name] = LastRun(
            status, round(outcome.seconds, 1), begun.inputs, plan.profile, plan.parameters.get(path, {}), begun.started
        )
        state.save(plan.state_file, self.last_runs)
        self.progress.finish(task.name, outcome.seconds, bool(error))
        if self.ended:
            self.ended(path)

    def _stop(self) -> None:
        """Interrupt the chapters that are running and record them as interrupted; one that ended meanwhile is done."""
        until = time.monotonic() + PATIENCE
        while wait(self.running, timeout=0).not_done:
            try:
                self.kernels.interrupt(kill=time.monotonic() > until)  # again: a cell may just have begun
                wait(self.running, timeout=1)
            except KeyboardInterrupt:  # once more
                until = 0.0
        for future, task in list(self.running.items()):
            if future.exception() or future.result().error:
                seconds = time.time() - self.last_runs[task.name].started
                error = say("{chapter}: interrupted; run the same command again to continue", chapter=task.name)
                self._finish(future, Outcome(seconds, error))
            else:
                self._finish(future, future.result())


def expected_seconds(plan: Plan, last_runs: dict[str, LastRun]) -> dict[str, float]:
    """Seconds each chapter will take: as recorded at this profile, else as its settings state, else half a minute."""
    found = {}
    for path in plan.chapters:
        last_run = last_runs.get(path.stem)
        stated = 60 * ((0 if step_bound() else expected_minutes(stage_of(path.stem), plan.profile)) or 0.5)
        found[path.stem] = (
            last_run.seconds if last_run and last_run.profile == plan.profile and last_run.status == "done" else stated
        )
    return found


def _make_room(plan: Plan, path: Path, last_runs: dict[str, LastRun]) -> None:
    """Remove what an earlier run left, unless it was interrupted with the same inputs: then training resumes from it.

    A folder that the runner did not create is left alone.
    """
    before, inputs = last_runs.get(path.stem), plan.hash_of(path)
    if before and not (before.status != "done" and before.inputs == inputs):
        shutil.rmtree(plan.results(path).parent, ignore_errors=True)
    plan.results(path).unlink(missing_ok=True)
    last_runs[path.stem] = LastRun("failed", 0.0, inputs, plan.profile, {}, time.time())  # until it has succeeded
    state.save(plan.state_file, last_runs)
