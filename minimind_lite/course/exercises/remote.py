"""The kernel's side of grading: call the submission's function with what the grader sent, and return plain data.

This runs in the same process as the submission, which may change anything in it. It does not matter: the grader takes
from here only values, and decides in a process of its own whether they are right.
"""

from typing import Any

from .calling import perform
from .codec import dumps, loads


def answer(function: Any, request: str) -> str:
    """The outcome of the call as text: {"value", "error", "text", "changed"}."""
    operation, args, kwargs = loads(request, functions=True)
    outcome = perform(function, operation, args, kwargs)
    fields = {"error": outcome.error, "text": outcome.text, "changed": list(outcome.changed)}
    try:
        return dumps({"value": outcome.value, **fields})
    except TypeError as error:
        return dumps({"value": None, **fields, "error": "Unreadable", "text": f"it returned {error}"})
