"""Run a server in a thread of its own, from a command or a notebook, and stop it without losing an answer.

>>> with RunningServer(create_server(models)) as server:  # doctest: +SKIP
...     print(server.address)  # http://127.0.0.1:8000
"""

import logging
import socket
import threading
import time
from types import TracebackType
from typing import Any, Self

try:
    import uvicorn
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"the server needs the package {error.name}: pip install 'minimind-lite[serve]'", name=error.name
    ) from error

from minimind_lite.serving.app import Server
from minimind_lite.serving.errors import ApiError
from minimind_lite.serving.guard import check_address
from minimind_lite.serving.models import ServingError

logger = logging.getLogger(__name__)
CUT_SECONDS = 2.0  # for answers that were cut off to say so
START_SECONDS = 30.0


class RunningServer:
    """A server that listens from ``start`` to ``stop``.

    port 0 takes a free one; ``address`` says which. Raises ServingError for an address that others can reach without a
    key, and for one that cannot be had.
    """

    def __init__(self, server: Server, *, host: str = "127.0.0.1", port: int = 8000) -> None:
        check_address(host, server.guard.keys)
        self.server, self.host = server, host
        self._socket = _listening(host, port)
        self.port = int(self._socket.getsockname()[1])
        # Our own lines say what was answered; uvicorn's would hold the query, and with it whatever a client puts there.
        config = uvicorn.Config(
            server.app, lifespan="on", access_log=False, log_config=None, server_header=False,
            timeout_graceful_shutdown=int(CUT_SECONDS), timeout_keep_alive=5, ws="none",
        )  # fmt: skip
        self._uvicorn: Any = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._uvicorn.run, kwargs={"sockets": [self._socket]}, name="server", daemon=True
        )  # fmt: skip

    @property
    def address(self) -> str:
        """Where the server is, as a URL; OpenAI's clients take this with /v1 as their base_url."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def start(self) -> Self:
        """Listen; returns when the first request would be answered."""
        self._thread.start()
        until = time.monotonic() + START_SECONDS
        while not self._uvicorn.started:
            if not self._thread.is_alive() or time.monotonic() > until:
                raise ServingError(f"the server did not start on {self.address}; its log says why")
            time.sleep(0.01)
        return self

    def stop(self, seconds: float = 30.0) -> int:
        """Take no more requests (503), wait for open answers, then end.

        Answers that take longer than ``seconds`` are cut off with an error that says so; returns how many.
        """
        guard = self.server.guard
        guard.draining = True
        until = time.monotonic() + seconds
        while guard.active and time.monotonic() < until:
            time.sleep(0.02)
        cut = guard.active
        if cut:
            error = ApiError(503, "the server was stopped before this answer ended", "shutting_down")
            self.server.scheduler.post(lambda: self.server.scheduler.fail_all(error))
            logger.warning("%d answers were cut off: they took longer than %g s", cut, seconds)
            until = time.monotonic() + CUT_SECONDS
            while guard.active and time.monotonic() < until:
                time.sleep(0.02)
        self._uvicorn.should_exit = True
        self._thread.join(timeout=START_SECONDS)
        return cut

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _listening(host: str, port: int) -> socket.socket:
    """A bound socket. Raises ServingError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise ServingError(
            f"cannot listen on {host} port {port} ({error.strerror or error}): is another server running there? Choose "
            "another port, or 0 for a free one"
        ) from error
    return listening
