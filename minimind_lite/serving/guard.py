"""What stands between the network and the server: keys, limits, and the order to drain.

An ASGI middleware: every request passes it once, before a route reads anything. It also watches for clients that leave:
whatever a request has opened is closed when its connection ends, however that happens.
"""

import asyncio
import hashlib
import hmac
import ipaddress
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from minimind_lite.serving.errors import ApiError, encoded
from minimind_lite.serving.metrics import Metrics
from minimind_lite.serving.models import ServingError
from minimind_lite.settings import Checked, Count, Positive

logger = logging.getLogger(__name__)
Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

OPENED = "minimind.opened"  # in a request's scope: what to call when the request is over
HANGING_SECONDS = 5.0  # after its time limit an answer gets so long to leave before its connection is cut
OPEN_PATHS = ("/health",)  # answered without a key, while draining, and beyond the limit of requests
SHORTEST_KEY = 16  # characters


@dataclass(frozen=True)
class Limits(Checked):
    """How much one client, and all of them, may ask for."""

    body_bytes: Count = 2_000_000
    body_seconds: Positive = 30.0  # to send the body
    requests: Count = 256  # at the same time, waiting ones included
    seconds: Positive = 600.0  # from a request's arrival to the end of its answer


@dataclass
class Keys:
    """The API keys that open the server; none: it is open. Only their hashes are kept.

    >>> Keys.of(["a-key-of-some-length"])
    Keys(1 key)
    """

    digests: list[bytes] = field(default_factory=list, repr=False)

    def __repr__(self) -> str:
        return f"Keys({len(self.digests)} key{'s' * (len(self.digests) != 1)})"

    @classmethod
    def of(cls, keys: Iterable[str]) -> "Keys":
        """Raises ServingError for a key that is too short to be one, or that no header can hold."""
        listed = list(keys)
        for number, key in enumerate(listed, 1):
            if len(key) < SHORTEST_KEY or not key.isascii() or not key.isprintable() or " " in key:
                raise ServingError(
                    f"API key {number} must have at least {SHORTEST_KEY} characters, all of them printable ASCII "
                    "without spaces; make one with: python -c 'import secrets; print(secrets.token_urlsafe(32))'"
                )
        return cls([hashlib.sha256(key.encode()).digest() for key in listed])

    def opens(self, key: bytes) -> bool:
        """Whether ``key`` is one of them; takes as long for one that is nearly right, and compares with all of them."""
        digest = hashlib.sha256(key).digest()
        found = False
        for one in self.digests:
            found |= hmac.compare_digest(digest, one)
        return found


def is_loopback(host: str) -> bool:
    """Whether an address or name can only be reached from this machine."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_address(host: str, keys: Keys) -> None:
    """Refuse to serve others than this machine without a key. Raises ServingError."""
    if not keys.digests and not is_loopback(host):
        raise ServingError(
            f"{host} can be reached from other machines, and no API key is set: set one (see the option for keys), or "
            "serve 127.0.0.1"
        )


class Guard:
    """The middleware; ``draining`` and ``active`` are for whoever stops the server."""

    def __init__(self, app: App, keys: Keys, limits: Limits, metrics: Metrics, hosts: Sequence[str] = ()) -> None:
        self.app, self.keys, self.limits, self.metrics = app, keys, limits, metrics
        self.hosts = tuple(host.lower() for host in hosts)  # names that a server without keys also answers to
        self.draining = False
        self.active = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        answer = _Answer(send)
        scope[OPENED] = []
        begun, counted = time.perf_counter(), scope["path"] not in OPEN_PATHS
        self.active += counted
        try:
            self._admit(scope)
            await self._serve(scope, receive, answer)
        except ApiError as error:
            await answer.refuse(error)
        except Exception:
            logger.exception("a request to %s failed", scope["path"])
            await answer.refuse(ApiError(500, "the server failed; its log says more", "internal_error"))
        finally:
            self.active -= counted
            for close in scope[OPENED]:
                close()
            route = getattr(scope.get("route"), "path", "other")
            self.metrics.request(route, answer.status, time.perf_counter() - begun)
            logger.info("%s %s %d %.3f s", scope["method"], route, answer.status, time.perf_counter() - begun)

    def _admit(self, scope: Scope) -> None:
        """Raise ApiError for a request that goes no further."""
        headers = dict(scope["headers"])
        if not self.keys.digests:
            self._check_host(headers.get(b"host", b"").decode("latin-1"))
        if scope["path"] in OPEN_PATHS or scope["method"] == "OPTIONS":
            return
        if self.keys.digests:
            kind, _, key = headers.get(b"authorization", b"").partition(b" ")
            if not self.keys.opens(key.strip()) or kind.lower() != b"bearer":
                raise ApiError(
                    401, "the API key is missing or wrong: send Authorization: Bearer KEY", "invalid_api_key"
                )
        if self.draining:
            raise ApiError(503, "the server is shutting down and takes no more requests", "shutting_down")
        if self.active > self.limits.requests:
            raise ApiError(429, f"{self.limits.requests} requests are being answered: try again later", "too_many")

    def _check_host(self, host: str) -> None:
        """Without a key only this machine may ask: a web page whose name leads here (DNS rebinding) may not."""
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        if not is_loopback(name) and name.lower() not in self.hosts:
            raise ApiError(400, "without an API key this server answers only to 127.0.0.1 and localhost", "wrong_host")

    async def _serve(self, scope: Scope, receive: Receive, answer: "_Answer") -> None:
        """Read the body; answer, unless the client leaves or time runs out."""
        try:
            body = await asyncio.wait_for(self._body(scope, receive), self.limits.body_seconds)
        except TimeoutError:
            raise ApiError(408, f"the body did not come within {self.limits.body_seconds:g} s", "timeout") from None
        if body is None:  # the client has left
            return
        working = asyncio.ensure_future(self.app(scope, _replay(body), answer))
        leaving = asyncio.ensure_future(_left(receive))
        try:
            limit = self.limits.seconds + HANGING_SECONDS
            await asyncio.wait((working, leaving), timeout=limit, return_when=asyncio.FIRST_COMPLETED)
            late = not working.done() and not leaving.done()
        finally:
            leaving.cancel()
            working.cancel()
        with suppress(asyncio.CancelledError):
            await working  # raises what the route raised
        if late:
            raise ApiError(503, "the answer took longer than this server allows", "timeout")

    async def _body(self, scope: Scope, receive: Receive) -> bytes | None:
        """The body, or None if the client leaves before its end. Raises ApiError when it is too long."""
        too_long = ApiError(413, f"the body is longer than {self.limits.body_bytes} bytes", "body_too_large")
        declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if declared.isdigit() and int(declared) > self.limits.body_bytes:
            raise too_long
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            if len(body) > self.limits.body_bytes:
                raise too_long
            if not message.get("more_body", False):
                return bytes(body)


class _Answer:
    """``send`` that remembers what was sent."""

    def __init__(self, send: Send) -> None:
        self.send, self.started, self.status = send, False, 499

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started, self.status = True, message["status"]
        await self.send(message)

    async def refuse(self, error: ApiError) -> None:
        """Answer with an error; a stream that has begun can only be cut."""
        if self.started:
            return
        body = encoded(error.body)
        headers = {**error.headers, "content-type": "application/json", "content-length": str(len(body))}
        if error.status in (408, 413):
            headers["connection"] = "close"  # the rest of the body is not read
        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        await self({"type": "http.response.start", "status": error.status, "headers": pairs})
        await self({"type": "http.response.body", "body": body})


def _replay(body: bytes) -> Receive:
    """A ``receive`` that gives a body that was read already, and then nothing more."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if waiting:
            return waiting.pop()
        await asyncio.Event().wait()  # the guard itself watches for clients that leave
        raise AssertionError

    return receive


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
