"""Render a chat template that nobody has vouched for, in a child process that is stopped after a second.

A Jinja template is a program: its sandbox keeps it from the machine, but not from looping for ever or filling the
memory. The child runs this file alone, so it starts in a tenth of a second.
"""

import json
import os
import re
import subprocess
import sys
import threading
from typing import Any

LONGEST_TEMPLATE = 256 * 1024  # characters; published ones have at most 20,000
LONGEST_TEXT = 64 * 1024  # characters of the rendered text
SECONDS = 1.0  # for compiling and rendering; an honest template takes milliseconds
MEGABYTES = 1024  # of address space, where the system can limit it


def render_foreign(template: str, arguments: dict[str, Any]) -> str:
    """The text that ``template`` makes of ``arguments``.

    Raises ValueError for a template that is broken, raises an exception of its own, or needs too much time or memory.
    """
    if len(template) > LONGEST_TEMPLATE:
        raise ValueError(f"it is {len(template):,} characters long; at most {LONGEST_TEMPLATE:,} are rendered")
    task = json.dumps({"template": template, "arguments": arguments}).encode()
    try:  # the time limit here is for a child that does not even start
        child = subprocess.run(  # noqa: S603  this very file; the template goes in as data
            [sys.executable, "-P", __file__], input=task, capture_output=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ValueError(f"the process that renders it did not answer ({type(error).__name__})") from error
    try:
        answer = json.loads(child.stdout)
    except ValueError:
        raise ValueError(f"it takes more than {SECONDS:g} second or too much memory to render") from None
    if "error" in answer:
        raise ValueError(answer["error"])
    return str(answer["text"])


def _render(template: str, arguments: dict[str, Any]) -> str:
    """Compile and render, in the child."""
    from jinja2 import TemplateError
    from jinja2.runtime import Context
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Environment(ImmutableSandboxedEnvironment):
        """The sandbox, without the operators that make much out of little in one step, which no clock interrupts."""

        intercepted_binops = frozenset({"*", "**", "%"})

        def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
            small = all(isinstance(side, int | float) and abs(side) < 10**6 for side in (left, right))
            if not small or operator == "**":
                raise TemplateError(f"the operator {operator} is allowed on small numbers only")
            return super().call_binop(context, operator, left, right)

    def raise_exception(message: object) -> None:
        raise TemplateError(str(message))

    # transformers' marks around what an assistant says; they write nothing
    template = re.sub(r"(\{%[-+]?\s*)generation(\s*[-+]?%\})", r"\1if true\2", template)
    template = re.sub(r"(\{%[-+]?\s*)endgeneration(\s*[-+]?%\})", r"\1endif\2", template)
    environment = Environment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    environment.globals["raise_exception"] = raise_exception
    parts, size = [], 0
    for part in environment.from_string(template).generate(arguments):
        parts.append(part)
        size += len(part)
        if size > LONGEST_TEXT:
            raise TemplateError(f"it writes more than {LONGEST_TEXT:,} characters")
    return "".join(parts)


def _limit() -> None:
    """End this process after SECONDS, whatever it does; bound its memory where the system can."""
    clock = threading.Timer(SECONDS, os._exit, args=(1,))
    clock.daemon = True
    clock.start()
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEGABYTES * 2**20, MEGABYTES * 2**20))


def main() -> None:
    """Read a task as JSON from standard input; write {"text": …} or {"error": …} to standard output."""
    import jinja2.sandbox  # noqa: F401  loaded before the clock starts

    task = json.loads(sys.stdin.buffer.read())
    _limit()
    try:
        answer = {"text": _render(task["template"], task["arguments"])}
    except Exception as error:  # a template can raise anything: TypeError, RecursionError, MemoryError …
        answer = {"error": f"{type(error).__name__}: {str(error)[:200]}"}
    sys.stdout.buffer.write(json.dumps(answer).encode())


if __name__ == "__main__":
    main()
