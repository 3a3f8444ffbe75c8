"""One thread steps the engines; requests come in from the event loop, tokens go back to it.

    event loop                         scheduler's thread
    await submit(…)   ── a job ──▶     engine.submit       between two steps
    async for event   ◀─ events ──     engine.step         of every engine with something to do, in turn
    stream.close()    ── a job ──▶     engine.cancel       before the next step: a client that left frees its slot

The engine is not safe to call from several threads, so everything that touches it is a job of this thread. A reader who
is slow never holds a slot: events wait for it in a queue that is as long as its answer at most.
"""

import asyncio
import logging
import queue
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

from minimind_lite.generation.continuous import Engine, Event, Handle, QueueFull, Request, Statistics
from minimind_lite.serving.errors import ApiError

logger = logging.getLogger(__name__)
Result = TypeVar("Result")


class Stream:
    """The events of one request, for the event loop that submitted it."""

    def __init__(self, scheduler: "Scheduler", name: str, loop: asyncio.AbstractEventLoop) -> None:
        self._scheduler, self.name, self.loop = scheduler, name, loop
        self._events: asyncio.Queue[Event | ApiError] = asyncio.Queue()
        self.handle: Handle | None = None
        self.ended = False  # no more events will come

    def put(self, item: Event | ApiError) -> None:
        """Called on the event loop."""
        self._events.put_nowait(item)

    async def events(self, deadline: float | None = None) -> AsyncIterator[Event]:
        """Every token to the last. Raises ApiError if the server fails or stops, or ``deadline`` (loop time) passes."""
        finished = False
        while not finished:
            try:
                async with asyncio.timeout_at(deadline):
                    item = await self._events.get()
            except TimeoutError:
                raise ApiError(503, "the answer took longer than this server allows", "timeout") from None
            if isinstance(item, ApiError):
                raise item
            finished = item.finish_reason is not None
            yield item
        self.ended = True

    def close(self) -> None:
        """Stop the request if it has not finished; can be called more than once."""
        if not self.ended:
            self.ended = True
            self._scheduler.post(lambda: self._scheduler.drop(self))


class Scheduler:
    """Owns the engines, by the name of their model."""

    def __init__(self, engines: Mapping[str, Engine]) -> None:
        self.engines = dict(engines)
        self.statistics: dict[str, Statistics] = {name: one.statistics for name, one in self.engines.items()}
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._streams: dict[str, dict[Handle, Stream]] = {name: {} for name in self.engines}
        self._thread: threading.Thread | None = None
        self._stopping = False

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="scheduler", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread after its current step; what is unfinished ends with an error."""
        self.post(self._stop)
        if self._thread is not None:
            self._thread.join(timeout=60)

    def post(self, job: Callable[[], None]) -> None:
        """Let the thread do ``job`` between two steps."""
        self._jobs.put(job)

    async def call(self, work: Callable[[], Result]) -> Result:
        """The result of ``work``, done by the thread between two steps; raises what it raises."""
        future: Future[Result] = Future()

        def job() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(work())
                except BaseException as error:
                    future.set_exception(error)

        self.post(job)
        return await asyncio.wrap_future(future)

    async def submit(self, name: str, requests: Sequence[Request]) -> list[Stream]:
        """One stream for each request to the model ``name``: all of them, or QueueFull or GenerationError and none."""
        loop = asyncio.get_running_loop()
        streams = [Stream(self, name, loop) for _ in requests]
        try:
            await self.call(lambda: self._submit(name, requests, streams))
        except asyncio.CancelledError:  # the client left in the meantime
            for stream in streams:
                stream.close()
            raise
        return streams

    def _submit(self, name: str, requests: Sequence[Request], streams: Sequence[Stream]) -> None:
        engine = self.engines[name]
        if self._stopping:
            raise ApiError(503, "the server is shutting down", "shutting_down")
        if engine.statistics.queued + len(requests) > engine.max_queue:
            raise QueueFull(f"{engine.max_queue} requests are waiting already (max_queue): try again later")
        try:
            for request, stream in zip(requests, streams, strict=True):
                stream.handle = engine.submit(request)
                self._streams[name][stream.handle] = stream
        except Exception:
            for stream in streams:
                self.drop(stream)
            raise

    def drop(self, stream: Stream) -> None:
        """Cancel a stream's request, wherever it is. Only for the scheduler's thread."""
        if stream.handle is not None:
            self.engines[stream.name].cancel(stream.handle)
            self._streams[stream.name].pop(stream.handle, None)

    def fail_all(self, error: ApiError) -> None:
        """End every open stream with ``error``. Only for the scheduler's thread."""
        for name in self.engines:
            self._fail(name, error)

    def _fail(self, name: str, error: ApiError) -> None:
        for stream in list(self._streams[name].values()):
            self.drop(stream)
            _deliver(stream.loop, [(stream, error)])

    def _stop(self) -> None:
        self._stopping = True
        self.fail_all(ApiError(503, "the server is shutting down", "shutting_down"))

    def _run(self) -> None:
        while not self._stopping:
            idle = all(engine.idle for engine in self.engines.values())
            if idle:
                self._do(self._jobs.get())
            self._do_waiting()
            for name, engine in self.engines.items():
                if not engine.idle:
                    self._step(name, engine)
                self.statistics[name] = engine.statistics
        self._do_waiting()  # nobody waits for ever for a job that came last

    def _do_waiting(self) -> None:
        while not self._jobs.empty():
            self._do(self._jobs.get())

    def _do(self, job: Callable[[], None]) -> None:
        try:
            job()
        except Exception:  # the thread must outlive whatever one request did
            logger.exception("a job of the scheduler failed")

    def _step(self, name: str, engine: Engine) -> None:
        try:
            events = engine.step()
        except Exception:
            logger.exception("a step of the model %s failed; its requests end with an error", name)
            self._fail(name, ApiError(500, "the model failed while it made this answer", "model_failed"))
            return
        streams = self._streams[name]
        batches: dict[asyncio.AbstractEventLoop, list[tuple[Stream, Event | ApiError]]] = {}
        for event in events:
            done = event.finish_reason is not None
            stream = streams.pop(event.handle, None) if done else streams.get(event.handle)
            if stream is not None:
                batches.setdefault(stream.loop, []).append((stream, event))
        for loop, batch in batches.items():
            _deliver(loop, batch)


def _deliver(loop: asyncio.AbstractEventLoop, batch: Sequence[tuple[Stream, Any]]) -> None:
    """Put items into streams on their event loop: one call for all of a step."""

    def put() -> None:
        for stream, item in batch:
            stream.put(item)

    try:
        loop.call_soon_threadsafe(put)
    except RuntimeError:  # the loop was closed: nobody reads any more
        logger.debug("%d events came after their event loop had ended", len(batch))
