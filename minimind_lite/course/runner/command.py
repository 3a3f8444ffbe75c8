"""What `minimind course run` and `status` print around the runner."""

import torch
from rich.console import Console

from ..kit.bounds import step_bound
from ..kit.errors import CourseError
from ..kit.language import say, speaking
from ..kit.paths import shown
from . import state
from .forecast import as_lines, forecast, without_gpu
from .plan import Plan
from .progress_bar import minutes
from .questions import Answer, ask_trained_model
from .readable import ReadableChapters
from .report import make_report, status_row, write_report
from .run import expected_seconds, run_course
from .schedule import tasks_of, timeline


def run_and_report(plan: Plan, *, force: bool = False, console: Console | None = None) -> bool:
    """Run the plan, write report.json and index.html, show the model's answers; returns whether all went well.

    Everything is said in the plan's language.
    """
    with speaking(plan.language):
        return _run_and_report(plan, force, console or Console(highlight=False))


def _run_and_report(plan: Plan, force: bool, console: Console) -> bool:
    with ReadableChapters(plan) as readable:
        run = run_course(plan, force=force, console=console, ended=readable.make)
        answers = ask_trained_model(plan.artifacts)
    report = make_report(run, answers, readable)
    write_report(report, plan.home)
    if run.error:
        console.print(run.error, style="red", markup=False, soft_wrap=True)
    else:
        show_answers(answers, console)
    total = minutes(report.data["total_seconds"])
    text = say("{time} for all chapters; report:", time=total)
    console.print(f"{text} {shown(plan.home / 'index.html')}", soft_wrap=True, markup=False)
    return not run.error


def show_plan(plan: Plan, console: Console | None = None) -> None:
    """Print what a run would do and take."""
    console = console or Console(highlight=False)
    for line in as_lines(plan, forecast(plan)):
        console.print(line, markup=False, soft_wrap=True)


def check_gpu(plan: Plan, *, yes: bool) -> None:
    """Raise CourseError, with an estimate, if the profile is full, there is no GPU, and nobody said yes."""
    if plan.profile == "full" and not (yes or step_bound() or torch.cuda.is_available()):
        raise CourseError(without_gpu(plan))


def show_answers(answers: list[Answer], console: Console) -> None:
    """Print the questions and answers as conversations."""
    if answers:
        heading = say("Held-out questions for the model just trained, chosen by their place in the files:")
        console.print(f"\n{heading}", markup=False)
    for one in answers:
        turns = f"  {say('asked:'):9} {one.question}\n  {say('answered:'):9} {one.answer}\n"
        console.print(turns, markup=False, soft_wrap=True)


def show_status(plan: Plan, console: Console | None = None) -> None:
    """One line per chapter: its status, how long its last run took, at which profile; then what a run would take."""
    console = console or Console(highlight=False)
    last_runs, finished = state.load(plan.state_file), set()
    for path in plan.every:
        name, status, seconds = status_row(plan, path, last_runs)
        finished |= {name} if status == "done" else set()
        last = f"{minutes(seconds):>12}  {last_runs[name].profile}" if name in last_runs else ""
        console.print(f"{name:18}{status:9}{last}", markup=False, soft_wrap=True)
    due = [task for task in tasks_of(plan, expected_seconds(plan, last_runs)) if task.name not in finished]
    if due:
        left = minutes(max(slot.end for slot in timeline(due, plan.jobs)))
        console.print(f"{len(due)} to run, {plan.jobs} at a time: about {left}", markup=False, soft_wrap=True)
