"""What a check is: it looks at a learner's function, says what it found, and never raises.

A check module holds functions decorated with ``@check``. Such a function gets a ``Task``, calls the learner's function
through it, compares with properties and independent references, and returns the sentence that says what was shown.
The decorated name is then what the notebook calls: ``check_rms_norm(rms_norm)`` prints one line.
"""

import hashlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..kit.discovery import check_modules
from ..kit.language import say
from .calling import Caller, LocalCaller
from .solved import note_solved
from .task import NotYet, Task, Wrong

SOLVED, WRONG, NOT_YET = "solved", "wrong", "not yet"
Body = Callable[[Task], str]
REGISTRY: dict[str, "Check"] = {}


@dataclass(frozen=True)
class Verdict:
    """What a check found: "solved", "wrong" or "not yet", and the sentence that says why."""

    status: str
    message: str


def shown_status(status: str) -> str:
    """The word for a verdict's status that a learner reads."""
    return {SOLVED: say("solved"), WRONG: say("not right"), NOT_YET: say("not yet")}[status]


class Check:
    """One task's check; call it with the learner's function."""

    def __init__(self, task: str, points: int, body: Body, patience: float = 1.0) -> None:
        self.task, self.points, self.body = task, points, body  # task as in "02.rms_norm"
        self.patience = patience  # how many times the usual limit a call may take
        self.name = body.__name__
        self.title = (inspect.getdoc(body) or self.name).splitlines()[0]

    @property
    def digest(self) -> str:
        """Changes when the check does, so that a task solved under an older check is recognised."""
        return hashlib.sha256(inspect.getsource(self.body).encode()).hexdigest()[:16]

    def __call__(self, function: Any) -> None:
        """Print what the check found in ``function``; record in the progress file that the task is solved."""
        verdict = self.judge(LocalCaller(function))
        if verdict.status == SOLVED:
            note_solved(self.task, self.digest)
        print(f"{shown_status(verdict.status)} · {self.task} · {verdict.message}")

    def passes(self, function: Any) -> bool:
        """Whether ``function`` solves the task: for nbgrader's hidden test cells, which need an assertion."""
        return self.judge(LocalCaller(function)).status == SOLVED

    def judge(self, caller: Caller, *, seed: int = 0, seconds: float = 10.0) -> Verdict:
        """The verdict on whatever ``caller`` calls; ``seed`` draws the inputs, ``seconds`` limits each call.

        A check whose function trains a model waits ``patience`` times as long: on a busy machine the clock on the wall
        runs many times faster than the function's own.
        """
        task = Task(caller, seed, seconds * self.patience)
        try:
            return Verdict(SOLVED, say(self.body(task)))
        except NotYet:
            what_to_do = say("put your code where it says `raise NotImplementedError`, run that cell without errors, "
                             "then this one")  # fmt: skip
            return Verdict(NOT_YET, what_to_do)
        except Wrong as wrong:
            return Verdict(WRONG, str(wrong))
        except (TypeError, ValueError, AttributeError, IndexError, KeyError, RuntimeError, ArithmeticError) as error:
            # the function returned something that the check cannot read
            said = say("your function returned {value}, which this check cannot read: {error}", value=task.last,
                       error=error)  # fmt: skip
            return Verdict(WRONG, said)

    def __repr__(self) -> str:
        return f"<check of task {self.task}>"


def check(task: str, *, points: int = 1, patience: float = 1.0) -> Callable[[Body], Check]:
    """Make a check of a function: ``task`` is "NN.name", ``points`` what the grader gives, ``patience`` how many times
    the usual limit a call may take.

    The function's docstring is the task's title in `minimind course progress`. Raises ValueError for a task's second
    check.
    """

    def register(body: Body) -> Check:
        made = Check(task, points, body, patience)
        if task in REGISTRY and REGISTRY[task].body.__module__ != body.__module__:
            raise ValueError(f"task {task} has a check already, in {REGISTRY[task].body.__module__}")
        REGISTRY[task] = made
        return made

    return register


def every_check() -> dict[str, Check]:
    """All checks of the course by task ("02.rms_norm"), in the order of the chapters and of the tasks in them."""
    modules = check_modules()
    found = {one.task: one for module in modules for one in REGISTRY.values() if one.body.__module__ == module.__name__}
    return dict(sorted(found.items(), key=lambda item: item[0].partition(".")[0]))
