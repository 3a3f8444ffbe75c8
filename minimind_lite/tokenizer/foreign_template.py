"""Render a chat template that nobody has vouched for, in a child process that is stopped after a second.

A Jinja template is a program: its sandbox keeps it from the machine, but not from looping for ever or filling the
memory. The child runs this file alone, so it starts in a tenth of a second; it renders one conversation after another,
so that a file of a million of them does not start a million processes, and a new one takes over from one that ended.
"""

import datetime
import json
import os
import re
import subprocess
import sys
import threading
from functools import lru_cache
from typing import Any

LONGEST_TEMPLATE = 256 * 1024  # characters; published ones have at most 20,000
LONGEST_TEXT = 64 * 1024  # characters of the rendered text
SECONDS = 1.0  # for compiling and rendering; an honest template takes milliseconds
MEGABYTES = 1024  # of address space, where the system can limit it


def without_generation_marks(template: str) -> str:
    """The template without transformers' marks around what an assistant says, which write nothing."""
    template = re.sub(r"(\{%[-+]?\s*)generation(\s*[-+]?%\})", r"\1if true\2", template)
    return re.sub(r"(\{%[-+]?\s*)endgeneration(\s*[-+]?%\})", r"\1endif\2", template)


class _Child:
    """The process that renders, started when it is first needed, and again after it has ended itself."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0  # the process that started it; one that was forked off must not write into the same pipes

    def ask(self, task: bytes) -> bytes:
        """The child's answer to one line; empty if it ended instead. Raises OSError if it cannot be started."""
        with self._lock:
            if self._process is None or self._process.poll() is not None or self._owner != os.getpid():
                self._process, self._owner = self._start(), os.getpid()
            process = self._process
            if process.stdin is None or process.stdout is None:
                raise OSError("it has no pipes")
            clock = threading.Timer(30, process.kill)  # for a child that does not even start
            clock.start()
            try:
                process.stdin.write(task + b"\n")
                process.stdin.flush()
                answer = process.stdout.readline()
            except BrokenPipeError:
                answer = b""
            finally:
                clock.cancel()
            if not answer:
                self._process = None
                process.kill()
                process.communicate()
            return answer

    @staticmethod
    def _start() -> "subprocess.Popen[bytes]":
        pipe = subprocess.PIPE
        return subprocess.Popen(  # noqa: S603  this very file; the template goes in as data
            [sys.executable, "-P", __file__], stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL
        )


_CHILD = _Child()


def render_foreign(template: str, arguments: dict[str, Any]) -> str:
    """The text that ``template`` makes of ``arguments``.

    Raises ValueError for a template that is broken, raises an exception of its own, or needs too much time or memory.
    """
    if len(template) > LONGEST_TEMPLATE:
        raise ValueError(f"it is {len(template):,} characters long; at most {LONGEST_TEMPLATE:,} are rendered")
    task = json.dumps({"template": template, "arguments": arguments}).encode()
    try:
        line = _CHILD.ask(task)
    except OSError as error:
        raise ValueError(f"the process that renders it did not start ({type(error).__name__})") from error
    try:
        answer = json.loads(line)
    except ValueError:
        raise ValueError(f"it takes more than {SECONDS:g} second or too much memory to render") from None
    if "error" in answer:
        raise ValueError(answer["error"])
    return str(answer["text"])


@lru_cache(maxsize=8)
def _compiled(template: str) -> Any:
    """The template as a program of Jinja's sandbox, with what transformers offers to templates."""
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

    def tojson(value: Any, ensure_ascii: bool = False, indent: int | None = None, sort_keys: bool = False) -> str:
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, sort_keys=sort_keys)

    environment = Environment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    environment.filters["tojson"] = tojson  # Jinja's own writes < as \u003c
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = lambda form: datetime.datetime.now().strftime(form)
    return environment.from_string(without_generation_marks(template))


def _render(template: str, arguments: dict[str, Any]) -> str:
    """Compile and render, in the child."""
    from jinja2 import TemplateError

    parts, size = [], 0
    for part in _compiled(template).generate(arguments):
        parts.append(part)
        size += len(part)
        if size > LONGEST_TEXT:
            raise TemplateError(f"it writes more than {LONGEST_TEXT:,} characters")
    return "".join(parts)


def _limit() -> None:
    """Bound this process's memory where the system can."""
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEGABYTES * 2**20, MEGABYTES * 2**20))


def _answer(task: dict[str, Any]) -> dict[str, str]:
    """What becomes of one task; the process ends after SECONDS, whatever the template does."""
    clock = threading.Timer(SECONDS, os._exit, args=(1,))
    clock.daemon = True
    clock.start()
    try:
        return {"text": _render(task["template"], task["arguments"])}
    except Exception as error:  # a template can raise anything: TypeError, RecursionError, MemoryError …
        return {"error": f"{type(error).__name__}: {str(error)[:200]}"}
    finally:
        clock.cancel()


def main() -> None:
    """Read tasks as lines of JSON from standard input; write {"text": …} or {"error": …} to standard output."""
    import jinja2.sandbox  # noqa: F401  loaded before the clock starts

    _limit()
    for line in sys.stdin.buffer:
        sys.stdout.buffer.write(json.dumps(_answer(json.loads(line))).encode() + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
