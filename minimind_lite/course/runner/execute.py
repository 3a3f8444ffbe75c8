"""Run one notebook with papermill, telling a listener which heading it has reached, and explain a failure.

Several may run at the same time, each in a thread of its own, which waits for a kernel: a process of its own.
"""

import asyncio
import logging
import os
import re
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty
from typing import Any

from ..kit.errors import CourseError
from ..kit.language import say
from ..kit.parameters import assigned_names
from ..kit.paths import stage_of
from ..kit.profiles import read_parameters
from ..notebooks.cleaning import clean_text
from ..notebooks.files import read, tagged

Listener = Callable[[str, int, int], None]  # (the heading reached, cells done, cells in all)
ENGINE = "minimind"
OWN_OPTIONS = ("profile", "output_dir", "language")  # of `minimind course run`, not for -p
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Outcome:
    """How one execution ended."""

    seconds: float
    error: str = ""  # empty if every cell ran; else the cell, the line, the error, and what to do


class Interrupted(Exception):
    """The chapter was stopped between two of its cells."""


class Kernels:
    """The kernels of the chapters that are running, to be stopped together from another thread."""

    def __init__(self) -> None:
        self.managers: list[Any] = []
        self.stopping = False

    def interrupt(self, kill: bool = False) -> None:
        """Interrupt the cells that are running, and let no other begin; ``kill`` those that do not listen."""
        self.stopping = True
        for manager in list(self.managers):
            if manager.has_kernel:
                end = manager.provisioner.kill() if kill else manager.provisioner.send_signal(signal.SIGINT)
                with suppress(OSError):  # it has just ended
                    asyncio.run(end)


def execute(
    source: Path, target: Path, parameters: dict[str, Any], listener: Listener, cwd: Path, kernels: Kernels
) -> Outcome:
    """Execute ``source`` in the folder ``cwd`` and store it as ``target``; papermill injects the ``parameters``.

    Raises Interrupted if ``kernels`` are stopped between two cells; in a cell, the outcome has a KeyboardInterrupt.
    """
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    _register_engine()
    logging.getLogger("papermill").setLevel(logging.ERROR)
    target.parent.mkdir(parents=True, exist_ok=True)
    start, error = time.monotonic(), ""
    try:
        papermill.execute_notebook(
            source, target, parameters=parameters, engine_name=ENGINE, kernel_name="python3",
            language="python", progress_bar=False, listener=listener, kernels=kernels,
            resources={"metadata": {"path": str(cwd)}},  # of the kernel; papermill's cwd is that of all threads
            extra_arguments=["--IPKernelApp.log_level=CRITICAL"],
        )  # fmt: skip
    except PapermillExecutionError as failure:
        error = explain(failure, source.stem, target)
    except DeadKernelError:
        error = say("{chapter}: the kernel died, most often because memory ran out. Close other programs, or take a "
                    "smaller micro_batch_size", chapter=source.stem)  # fmt: skip
    return Outcome(time.monotonic() - start, error)


def explain(failure: Any, name: str, target: Path) -> str:
    """The cell that failed, the line in it, the end of the traceback, and what to do next."""
    lines = [_COLOUR.sub("", line) for line in "\n".join(failure.traceback).splitlines()]
    arrows = [line for line in lines if re.match(r"-+> *\d+ ", line)]
    ours = failure.ename in ("CourseError", "ConfigError")  # its message already says what to do
    stopped = say("{chapter}: cell In [{count}] stopped with {error}", chapter=name, count=failure.exec_count,
                  error=failure.ename)  # fmt: skip
    shown = [f"{stopped}: {clean_text(failure.evalue)}"]
    shown += [f"  {say('line:')} {re.sub(r'^-+> *', '', arrows[0])}"] if arrows else []
    if not ours:
        shown += [f"  {say('the end of the traceback:')}"]
        shown += [f"    {clean_text(line)}" for line in lines[-6:] if line.strip()]
    todo = say("What to do: open {file} beside the report to see all outputs up to there; after a change, continue "
               "with: minimind course run --from {number}",
               file=target.name, number=name.partition("_")[0])  # fmt: skip
    shown.append(f"  {todo}")
    return "\n".join(shown)


def declared_parameters(path: Path) -> list[str]:
    """Names that the notebook's parameters cell declares."""
    cell = tagged(read(path), "parameters")
    return assigned_names(cell.source) if cell is not None else []


def check_parameters(
    paths: list[Path], parameters: Mapping[str, str], profile: str = "quick"
) -> dict[Path, dict[str, Any]]:
    """For each chapter, those of ``parameters`` that it declares, as the types of its settings.

    Raises CourseError for one that no chapter declares, ConfigError for a value that a chapter's settings refuse.
    """
    declared = {path: declared_parameters(path) for path in paths}
    known = sorted({name for names in declared.values() for name in names} - set(OWN_OPTIONS))
    for name in parameters:
        if name in OWN_OPTIONS:
            raise CourseError(f"{name} has an option of its own: --{name.replace('_', '-')}")
        if name not in known:
            raise CourseError(f"unknown parameter {name!r}; the chapters asked for have: {', '.join(known) or 'none'}")
    return {
        path: read_parameters(stage_of(path.stem), profile, {n: v for n, v in parameters.items() if n in names})
        for path, names in declared.items()
    }


def _register_engine() -> None:
    """Register papermill's own engine with a listener that is told about each cell."""
    from papermill.engines import NBClientEngine, papermill_engines

    class ListeningEngine(NBClientEngine):  # type: ignore[misc]  # papermill has no types
        @classmethod
        def execute_managed_notebook(
            cls, nb_man: Any, kernel_name: str, listener: Listener, kernels: Kernels, **more: Any
        ) -> Any:
            headings, plain_start = _headings(nb_man.nb.cells), nb_man.cell_start

            def cell_start(cell: Any, cell_index: int | None = None, **rest: Any) -> None:
                if kernels.stopping:
                    raise Interrupted
                index = cell_index or 0
                listener(headings[index], index, len(headings))
                plain_start(cell, cell_index, **rest)

            nb_man.cell_start = cell_start
            return super().execute_managed_notebook(
                nb_man, kernel_name, kernel_manager_class=_patient_manager(kernels), **more
            )

    papermill_engines.register(ENGINE, ListeningEngine)


def _patient_manager(kernels: Kernels) -> type:
    """A kernel manager whose client checks for a reply every second instead of sleeping until it is woken.

    In a cell with a widget, nbclient sends on the socket it is waiting on, and the wake-up can be lost: the cell has
    finished, but the run waits forever (nbclient issue 312). Its kernels show pictures in the notebook, whatever
    MPLBACKEND says in the shell that started the course.
    """
    from jupyter_client.manager import AsyncKernelManager

    from ..kit.described import INLINE

    class PatientManager(AsyncKernelManager):
        def start_kernel(self, *arguments: Any, **options: Any) -> Any:
            kernels.managers.append(self)
            return super().start_kernel(*arguments, **{"env": os.environ | {"MPLBACKEND": INLINE}} | options)

        def client(self, **options: Any) -> Any:
            client = super().client(**options)
            channel = client.shell_channel
            wait = channel.get_msg

            async def get_msg(timeout: float | None = None) -> Any:
                while timeout is None:
                    with suppress(Empty):
                        return await wait(timeout=1)
                return await wait(timeout=timeout)

            channel.get_msg = get_msg
            return client

    return PatientManager


def _headings(cells: list[Any]) -> list[str]:
    """For each cell, the Markdown heading that it is under."""
    current, found = "", []
    for cell in cells:
        if cell.cell_type == "markdown":
            heading = re.search(r"^#+ +(.+)$", cell.source, re.MULTILINE)
            current = heading[1].strip() if heading else current
        found.append(current)
    return found
