"""A submission's kernel: started isolated in a scratch folder, queried over its shell channel, killed at the end.

Between grader and kernel stands a process of its own session (keeper.py), and the time is kept here: a submission that
kills or stops its parent, or its whole process group, does so to itself.
"""

import ast
import contextlib
import ctypes
import os
import sys
import time
from pathlib import Path
from queue import Empty
from typing import Any

import psutil
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

from ..calling import Outcome
from ..codec import LARGEST, dumps, loads
from .isolation import Isolation
from .originals import Originals

KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PYTHONPATH", "SYSTEMROOT", "VIRTUAL_ENV", "WINDIR")
_ANSWER = "__import__('minimind_lite.course.exercises.remote', fromlist=['answer']).answer(globals().get({0!r}), {1!r})"
LONGEST_START = 120.0  # seconds until a kernel answers
_PR_SET_CHILD_SUBREAPER = 36


class Lost(Exception):
    """The kernel is gone or does not respond: "crashed" or "timeout"."""


class _Manager(KernelManager):
    """Starts the kernel inside the isolation, and interrupts it by a message, which passes through every wall."""

    isolation: Isolation
    scratch: Path

    def format_kernel_cmd(self, extra_arguments: list[str] | None = None) -> list[str]:
        """See KernelManager."""
        assert self.kernel_spec is not None  # noqa: S101  for mypy
        self.kernel_spec.interrupt_mode = "message"
        return self.isolation.wrap(super().format_kernel_cmd(extra_arguments), self.scratch)


class SubmissionKernel:
    """Runs cells and single calls of a submission, all within ``timeout`` seconds. Use it in a ``with`` block.

    The time counts from the moment at which the kernel answers: how long it takes to start is not the learner's doing.
    """

    def __init__(self, scratch: Path, originals: Originals, isolation: Isolation, timeout: float) -> None:
        self.scratch, self.timeout, self.deadline = scratch, timeout, float("inf")
        self.course = originals.copy_to(scratch / "course")
        self.manager = _Manager(kernel_name="python3", connection_file=str(scratch / "kernel.json"))
        self.manager.isolation, self.manager.scratch = isolation, scratch
        if os.name == "posix":  # sockets in the scratch folder: they work without a network
            self.manager.transport, self.manager.ip = "ipc", str(scratch / "socket")
        self.client: BlockingKernelClient | None = None
        self.others: set[psutil.Process] = set()

    def __enter__(self) -> "SubmissionKernel":
        _adopt_orphans()
        self.others = set(psutil.Process().children(recursive=True))
        self.manager.start_kernel(env=_environment(self.scratch, self.course), cwd=str(self.scratch),
                                  extra_arguments=["--IPKernelApp.log_level=CRITICAL"])  # fmt: skip
        self.client = self.manager.client()
        self.client.start_channels(iopub=False, stdin=False, hb=False)  # its output is not needed
        self._reply(self.client.kernel_info(), LONGEST_START)
        self.deadline = time.monotonic() + self.timeout
        return self

    def __exit__(self, *_: object) -> None:
        """Kill the kernel and every process it started, including daemons if the system reports them."""
        if self.client:
            self.client.stop_channels()
        with contextlib.suppress(RuntimeError, OSError):
            self.manager.shutdown_kernel(now=True)
        while started := set(psutil.Process().children(recursive=True)) - self.others:
            for process in started:
                with contextlib.suppress(psutil.Error):
                    process.kill()
                    process.wait(5)
        self.manager.cleanup_resources()

    def execute(self, source: str) -> str:
        """Run a cell; returns the error's class and words, or "". Raises Lost."""
        content = self._ask(source, {}, self.deadline - time.monotonic())
        return "" if content.get("status") == "ok" else f"{content.get('ename')}: {str(content.get('evalue'))[:200]}"

    def call(self, function: str, request: str, seconds: float) -> str:
        """What ``remote.answer`` says of one call; "" if the kernel answered something else or was interrupted."""
        content = self._ask("", {"answer": _ANSWER.format(function, request)}, seconds)
        try:
            text = content["user_expressions"]["answer"]["data"]["text/plain"]
            value = ast.literal_eval(text) if len(text) <= LARGEST else ""
        except (KeyError, TypeError, ValueError, SyntaxError, MemoryError, RecursionError):
            return ""
        return value if isinstance(value, str) else ""

    def _ask(self, source: str, expressions: dict[str, str], seconds: float) -> dict[str, Any]:
        assert self.client is not None  # noqa: S101  for mypy
        message = self.client.execute(source, silent=not source, store_history=False, allow_stdin=False,
                                      user_expressions=expressions)  # fmt: skip
        return self._reply(message, seconds)

    def _reply(self, message: str, seconds: float) -> dict[str, Any]:
        """The reply to a message. A call that takes too long is interrupted; after that the submission is given up."""
        assert self.client is not None  # noqa: S101  for mypy
        limit = min(time.monotonic() + seconds, self.deadline)
        interrupted = False
        while True:
            with contextlib.suppress(Empty):
                reply = self.client.get_shell_msg(timeout=0.5)
                if reply["parent_header"].get("msg_id") == message:
                    return {} if interrupted else dict(reply["content"])
            if not self.manager.is_alive():
                raise Lost("crashed")
            if time.monotonic() > limit:
                if interrupted or time.monotonic() > self.deadline:
                    raise Lost("timeout")
                self.manager.interrupt_kernel()
                interrupted, limit = True, time.monotonic() + 5


class KernelCaller:
    """Calls a function of a submission in its kernel: a ``exercises.calling.Caller``."""

    def __init__(self, kernel: SubmissionKernel, function: str) -> None:
        self.kernel, self.function = kernel, function

    def run(self, operation: str, args: tuple[Any, ...], kwargs: dict[str, Any], seconds: float) -> Outcome:
        """See Caller; raises Lost, which ends the submission."""
        start = time.monotonic()
        text = self.kernel.call(self.function, dumps((operation, args, kwargs)), seconds)
        if not text and time.monotonic() - start > seconds:
            return Outcome(error="Timeout", text=f"{seconds:g} seconds")
        try:
            found = loads(text)
            changed = tuple(str(one) for one in found["changed"])
            return Outcome(found["value"], str(found["error"]), str(found["text"])[:300], changed)
        except (ValueError, KeyError, TypeError):
            return Outcome(error="Unreadable", text="the kernel's answer does not have the expected form")


def _environment(scratch: Path, course: Path) -> dict[str, str]:
    """A minimal part of the grader's environment: no tokens, and every folder of the course inside ``scratch``."""
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    kept["PYTHONPATH"] = os.pathsep.join([str(course), *filter(None, [kept.get("PYTHONPATH")])])
    folder = str(scratch)
    names = ("HOME", "USERPROFILE", "TMP", "TEMP", "TMPDIR", "IPYTHONDIR", "MINIMIND_ROOT", "MPLCONFIGDIR")
    more = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1", "USER": "submission"}
    return kept | dict.fromkeys(names, folder) | more | {"MINIMIND_PROGRESS": str(scratch / "progress.json")}


def _adopt_orphans() -> None:
    """On Linux a process whose parent has ended becomes our child, so that no daemon of a submission outlives it."""
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
