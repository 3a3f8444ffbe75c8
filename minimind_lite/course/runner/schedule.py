"""Which chapters may run beside which: each after those whose outputs it reads, and alone if it measures speed.

With one chapter at a time the order is the course's. With more, the chapter that the longest work waits for comes
first, so that the long chain from the tokenizer to the chat model never waits for a short chapter.
"""

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from minimind_lite.device import pick_device

from ..kit.paths import stage_of
from ..kit.profiles import runs_alone
from . import state
from .plan import Plan


@dataclass(frozen=True)
class Task:
    """One chapter as the schedule sees it."""

    name: str
    seconds: float  # that it is expected to take
    needs: frozenset[str] = frozenset()  # the earlier chapters of the run that have to be finished before it
    alone: bool = False


@dataclass(frozen=True)
class Slot:
    """When a task runs, in seconds from now."""

    task: Task
    start: float
    end: float


def usable_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def default_jobs(profile: str) -> int:
    """Two chapters at a time where that helps, at the profile quick on a CPU with two usable cores; else one."""
    return 2 if profile == "quick" and pick_device().type == "cpu" and usable_cores() >= 2 else 1


def tasks_of(plan: Plan, seconds: Mapping[str, float]) -> list[Task]:
    """The plan's chapters as tasks, in the course's order. seconds: that each is expected to take, by name.

    A chapter needs the earlier ones whose outputs it reads, and those that look for its own output: they have to find
    there what they would find if the chapters ran one after another.
    """
    reads = {path.stem: {*state.required_stages(path), *state.optional_stages(path)} for path in plan.chapters}
    found: list[Task] = []
    for name in reads:
        stage = stage_of(name)
        needs = (one.name for one in found if stage_of(one.name) in reads[name] or stage in reads[one.name])
        found.append(Task(name, seconds[name], frozenset(needs), runs_alone(stage)))
    return found


def by_urgency(tasks: Sequence[Task], jobs: int) -> list[Task]:
    """The tasks in the order in which to try them. tasks: in the course's order."""
    if jobs == 1:
        return list(tasks)
    waiting: dict[str, float] = {}  # seconds from a task's start to the end of the last one that waits for it
    for task in reversed(tasks):
        after = [waiting[other.name] for other in tasks if task.name in other.needs]
        waiting[task.name] = task.seconds + max(after, default=0.0)
    return sorted(tasks, key=lambda task: -waiting[task.name])


def next_task(waiting: Sequence[Task], running: Collection[Task], jobs: int) -> Task | None:
    """The first of ``waiting`` that may start: nothing that it needs is waiting or running; None if there is none."""
    if len(running) >= jobs or any(task.alone for task in running):
        return None
    unfinished = {task.name for task in (*waiting, *running)}
    ready = (task for task in waiting if not task.needs & unfinished and not (task.alone and running))
    return next(ready, None)


def timeline(tasks: Sequence[Task], jobs: int, running: Collection[str] = ()) -> list[Slot]:
    """When each task would run if it took its seconds, in the order in which they start; ``running`` have started."""
    waiting = [task for task in by_urgency(tasks, jobs) if task.name not in running]
    going = [Slot(task, 0.0, task.seconds) for task in tasks if task.name in running]
    slots, now = list(going), 0.0
    while waiting or going:
        while task := next_task(waiting, [slot.task for slot in going], jobs):
            waiting.remove(task)
            going.append(Slot(task, now, now + task.seconds))
            slots.append(going[-1])
        first = min(going, key=lambda slot: slot.end)
        going.remove(first)
        now = first.end
    return slots


def beside(slot: Slot, slots: Sequence[Slot]) -> list[str]:
    """The names of the tasks that run during a part of ``slot``."""
    return [one.task.name for one in slots if one is not slot and one.start < slot.end and slot.start < one.end]
