"""What `minimind course run` and `status` print around the runner."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console

from . import state
from .parameters import parse_parameters
from .paths import shown
from .progress import minutes
from .questions import Answer, ask_trained_model
from .report import make_report, status_row, write_report
from .run import Plan, run_course
from .settings import CourseError, changed


def run_and_report(plan: Plan, *, force: bool = False, console: Console | None = None) -> bool:
    """Run the plan, write report.json and index.html, let the trained model answer; whether all went well."""
    console = console or Console(highlight=False)
    run = run_course(plan, force=force, console=console)
    answers = ask_trained_model(plan.artifacts)
    report = make_report(run, answers)
    write_report(report, plan.home)
    if run.error:
        console.print(run.error, style="red", markup=False, soft_wrap=True)
    else:
        show_answers(answers, console)
    total = minutes(report.data["total_seconds"])
    console.print(f"{total} for all chapters; report: {shown(plan.home / 'index.html')}", soft_wrap=True, markup=False)
    return not run.error


def show_answers(answers: list[Answer], console: Console) -> None:
    """The three questions as a conversation."""
    if answers:
        console.print("\nThree held-out questions for the model just trained:", markup=False)
    for one in answers:
        console.print(f"  asked:    {one.question}\n  answered: {one.answer}\n", markup=False, soft_wrap=True)


def show_status(plan: Plan, console: Console | None = None) -> None:
    """One line a chapter: its status, how long its last run took, and at which profile."""
    console = console or Console(highlight=False)
    records = state.load(plan.state_file)
    for path in plan.every:
        name, status, seconds = status_row(plan, path, records)
        last = f"{minutes(seconds):>12}  {records[name].profile}" if name in records else ""
        console.print(f"{name:18}{status:9}{last}", markup=False, soft_wrap=True)


def train_config(changes: Sequence[str] | None) -> Any:
    """The training settings with what ``-p NAME=VALUE`` changed."""
    from minimind_lite.training.options import TrainConfig

    return changed(TrainConfig(save_every=200), parse_parameters(changes or ()), "TrainConfig")


def stage_config(changes: Sequence[str] | None, options: type[Any]) -> tuple[Any, Any]:
    """``-p NAME=VALUE`` sorted into the training settings and the stage's own options: (TrainConfig, options).

    Raises CourseError for a name that neither has.
    """
    from minimind_lite.training.options import TrainConfig

    given, own = parse_parameters(changes or ()), options.__dataclass_fields__
    known = TrainConfig.__dataclass_fields__.keys() | own.keys()
    if given.keys() - known:
        names = ", ".join(sorted(given.keys() - known))
        raise CourseError(f"no setting is called {names}; there are: {', '.join(sorted(known))}")
    config = {name: value for name, value in given.items() if name not in own}
    mine = {name: value for name, value in given.items() if name in own}
    return changed(TrainConfig(save_every=200), config, "TrainConfig"), changed(options(), mine, options.__name__)


def show_progress(console: Console | None = None) -> None:
    """One line a set of exercises: how many of its tasks are solved, and the titles of those that are not."""
    from .checks import every_check
    from .checks.record import solved_tasks

    console = console or Console(highlight=False)
    checks, solved = every_check(), solved_tasks()
    for number in sorted({task.partition(".")[0] for task in checks}):
        mine = [one for task, one in checks.items() if task.startswith(f"{number}.")]
        done = sum(solved.get(one.task) == one.digest for one in mine)
        console.print(f"{number}  {done} of {len(mine)} solved", markup=False)
        for one in mine:
            old = one.task in solved and solved[one.task] != one.digest
            word = "solved" if solved.get(one.task) == one.digest else "check changed, run it again" if old else "open"
            console.print(f"    {word:8} {one.title}", markup=False, soft_wrap=True)
