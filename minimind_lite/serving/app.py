"""The routes: from a request to prompts for the engine, and from its tokens to OpenAI's objects."""

import asyncio
import base64
import re
import struct
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

try:
    from fastapi import FastAPI, Request
    from fastapi.exceptions import RequestValidationError
    from fastapi.middleware.cors import CORSMiddleware
    from starlette.exceptions import HTTPException
    from starlette.responses import Response, StreamingResponse
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"the server needs the package {error.name}: pip install 'minimind-lite[serve]'", name=error.name
    ) from error

from minimind_lite.generation.continuous import Event
from minimind_lite.serving.answers import Delta, Reader, chunk_of, completion_logprobs, message_of, usage_of
from minimind_lite.serving.documented import RESPONSES, document
from minimind_lite.serving.errors import ApiError, encoded, from_engine, from_validation
from minimind_lite.serving.guard import OPENED, Guard, Keys, Limits
from minimind_lite.serving.metrics import Metrics
from minimind_lite.serving.models import ServedModel, ServingError
from minimind_lite.serving.prompts import Prompt, chat_prompt, completion_prompts, text_ids
from minimind_lite.serving.scheduler import Scheduler, Stream
from minimind_lite.serving.schemas import ChatRequest, CompletionRequest, EmbeddingRequest

DONE = b"data: [DONE]\n\n"
_STREAM_HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}  # a proxy must not collect the pieces


@dataclass
class Answering:
    """The answers to one request while they are made."""

    model: ServedModel
    prompt: Prompt
    streams: list[Stream]
    readers: list[Reader]
    metrics: Metrics
    deadline: float  # on the event loop's clock
    begun: float = field(default_factory=time.perf_counter)

    async def events(self) -> AsyncIterator[tuple[int, Event]]:
        """(choice, token) of all answers, as they come. Raises ApiError."""
        arrived: asyncio.Queue[tuple[int, Event] | ApiError] = asyncio.Queue()

        async def follow(choice: int, stream: Stream) -> None:
            try:
                async for event in stream.events(self.deadline):
                    arrived.put_nowait((choice, event))
            except ApiError as error:
                arrived.put_nowait(error)

        tasks = [asyncio.create_task(follow(choice, stream)) for choice, stream in enumerate(self.streams)]
        left, first = len(tasks), True
        try:
            while left:
                item = await arrived.get()
                if isinstance(item, ApiError):
                    raise item
                if first:
                    self.metrics.first_token(self.model.name, time.perf_counter() - self.begun)
                    first = False
                left -= item[1].finish_reason is not None
                yield item
        finally:
            for task in tasks:
                task.cancel()

    def usage(self) -> dict[str, int]:
        """Counts of tokens so far."""
        read = sum(len(ids) for ids in self.prompt.ids)
        return usage_of(read, sum(reader.tokens for reader in self.readers))

    async def whole(self) -> list[tuple[Delta, str]]:
        """Every answer and why it ended, once all have ended."""
        answers = [Delta() for _ in self.streams]
        reasons = [""] * len(self.streams)
        async for choice, event in self.events():
            answers[choice].add(self.readers[choice].push(event))
            if event.finish_reason is not None:
                reasons[choice] = self.readers[choice].finish_reason(event.finish_reason)
        return list(zip(answers, reasons, strict=True))


class Chat:
    """How chats look on the wire."""

    kind, prefix = "chat.completion", "chatcmpl"

    @staticmethod
    def choice(index: int, answer: Delta, reason: str, logprobs: bool) -> dict[str, Any]:
        """A whole answer."""
        likelihoods = {"content": answer.logprobs, "refusal": None} if logprobs else None
        return {"index": index, "message": message_of(answer), "logprobs": likelihoods, "finish_reason": reason}

    @staticmethod
    def part(index: int, delta: Delta, reason: str | None, logprobs: bool, before: int) -> dict[str, Any]:
        """A piece of an answer."""
        likelihoods = {"content": delta.logprobs, "refusal": None} if logprobs and delta.logprobs else None
        return {"index": index, "delta": chunk_of(delta), "logprobs": likelihoods, "finish_reason": reason}

    @staticmethod
    def opening(index: int) -> dict[str, Any] | None:
        """What a stream begins with."""
        delta = {"role": "assistant", "content": ""}
        return {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}


class Completion:
    """How plain completions look on the wire."""

    kind, prefix = "text_completion", "cmpl"

    @staticmethod
    def choice(index: int, answer: Delta, reason: str, logprobs: bool) -> dict[str, Any]:
        """A whole answer."""
        return Completion.part(index, answer, reason, logprobs, 0)

    @staticmethod
    def part(index: int, delta: Delta, reason: str | None, logprobs: bool, before: int) -> dict[str, Any]:
        """A piece of an answer; ``before``: the characters of the tokens before it."""
        likelihoods = completion_logprobs(delta.logprobs, before) if logprobs else None
        text = delta.texts.get("content", "")
        return {"index": index, "text": text, "logprobs": likelihoods, "finish_reason": reason}

    @staticmethod
    def opening(index: int) -> dict[str, Any] | None:
        """What a stream begins with."""
        return None


Layout = type[Chat] | type[Completion]


class Service:
    """The routes of one server."""

    def __init__(self, models: Sequence[ServedModel], scheduler: Scheduler, limits: Limits, metrics: Metrics) -> None:
        self.models = {model.name: model for model in models}
        self.scheduler, self.limits, self.metrics = scheduler, limits, metrics
        self.guard: Guard | None = None

    async def chat(self, body: ChatRequest, request: Request) -> Response:
        """Answer a conversation."""
        model = self._model(body.model)
        return await self._answer(request, body, model, chat_prompt(body, model), Chat)

    async def complete(self, body: CompletionRequest, request: Request) -> Response:
        """Continue a text, as it stands: no template, no roles."""
        model = self._model(body.model)
        return await self._answer(request, body, model, completion_prompts(body, model), Completion)

    async def embed(self, body: EmbeddingRequest) -> Response:
        """The mean of a text's last hidden states: what a language model has, no model trained for search."""
        model = self._model(body.model)
        vectors, count = [], 0
        for ids in text_ids(body.input, model, "input"):
            vectors.append(await self.scheduler.call(lambda ids=ids: model.embed(ids)))  # type: ignore[misc]
            count += len(ids)
        packed = body.encoding_format == "base64"
        data = [
            {"object": "embedding", "index": index, "embedding": _base64(vector) if packed else vector}
            for index, vector in enumerate(vectors)
        ]
        usage = {"prompt_tokens": count, "total_tokens": count}
        return _json({"object": "list", "data": data, "model": model.name, "usage": usage})

    async def list_models(self) -> Response:
        """The names that requests can use."""
        return _json({"object": "list", "data": [_described(model) for model in self.models.values()]})

    async def one_model(self, name: str) -> Response:
        """One of them."""
        return _json(_described(self._model(name)))

    async def health(self) -> Response:
        """Whether the server takes requests."""
        draining = self.guard is not None and self.guard.draining
        return _json({"status": "draining" if draining else "ok"}, 503 if draining else 200)

    async def show_metrics(self) -> Response:
        """Counters in Prometheus' format."""
        content = self.metrics.text(self.scheduler.statistics, self.guard.active if self.guard else 0)
        return Response(content, media_type="text/plain; version=0.0.4; charset=utf-8")

    def _model(self, name: str) -> ServedModel:
        if name not in self.models:
            there = ", ".join(self.models)
            raise ApiError(404, f"there is no model {name[:80]!r} here; there is: {there}", "model_not_found", "model")
        return self.models[name]

    async def _answer(
        self,
        request: Request,
        body: ChatRequest | CompletionRequest,
        model: ServedModel,
        prompt: Prompt,
        layout: Layout,
    ) -> Response:
        """Hand the prompts to the scheduler; then a stream, or one object when all is there."""
        deadline = asyncio.get_running_loop().time() + self.limits.seconds
        try:
            streams = await self.scheduler.submit(model.name, prompt.requests)
        except Exception as error:
            raise from_engine(error) from error
        request.scope[OPENED].extend(stream.close for stream in streams)
        readers = [prompt.reader(model.tokenizer) for _ in streams]
        answering = Answering(model, prompt, streams, readers, self.metrics, deadline)
        head = {
            "id": f"{layout.prefix}-{uuid.uuid4().hex}", "object": layout.kind, "created": int(time.time()),
            "model": model.name,
        }  # fmt: skip
        if body.stream:
            pieces = _pieces(answering, layout, head, body.with_usage)
            return StreamingResponse(pieces, media_type="text/event-stream", headers=_STREAM_HEADERS)
        answers = enumerate(await answering.whole())
        choices = [layout.choice(index, one, reason, prompt.logprobs) for index, (one, reason) in answers]
        return _json({**head, "choices": choices, "usage": answering.usage()})


async def _pieces(answering: Answering, layout: Layout, head: Mapping[str, Any], usage: bool) -> AsyncIterator[bytes]:
    """The answers as server-sent events; an error ends them without [DONE]."""
    head = {**head, "object": layout.kind + (".chunk" if layout is Chat else "")}
    extra = {"usage": None} if usage else {}

    def event(*choices: dict[str, Any]) -> bytes:
        return _event({**head, "choices": list(choices), **extra})

    indices = range(len(answering.streams))
    pending, before = [Delta() for _ in indices], [0 for _ in indices]
    try:
        for index in indices:
            if (opening := layout.opening(index)) is not None:
                yield event(opening)
        async for index, token in answering.events():
            reader, waiting = answering.readers[index], pending[index]
            waiting.add(reader.push(token))
            reason = token.finish_reason and reader.finish_reason(token.finish_reason)
            if waiting.texts or waiting.calls or (reason and waiting):
                yield event(layout.part(index, waiting, None, answering.prompt.logprobs, before[index]))
                before[index] += sum(len(entry["token"]) for entry in waiting.logprobs)
                pending[index] = Delta()
            if reason:
                yield event(layout.part(index, Delta(), reason, False, before[index]))
    except ApiError as error:
        yield _event(error.body)
        return
    if usage:
        yield _event({**head, "choices": [], "usage": answering.usage()})
    yield DONE


def _event(value: Any) -> bytes:
    return b"data: " + encoded(value) + b"\n\n"


def _json(value: Any, status: int = 200) -> Response:
    return Response(encoded(value), status_code=status, media_type="application/json")


def _base64(vector: Sequence[float]) -> str:
    """Little-endian float32, as OpenAI's client asks for."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _described(model: ServedModel) -> dict[str, Any]:
    about = {"id": model.name, "object": "model", "created": model.created, "owned_by": "minimind"}
    return about | {"max_model_len": model.engine.max_length, "parent": model.base}


async def _refused(request: Request, error: Exception) -> Response:
    """The answer to what a route, or FastAPI itself, did not take."""
    if isinstance(error, RequestValidationError):
        refusal = from_validation(error.errors())
    elif isinstance(error, HTTPException):
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "bad_request")
        refusal = ApiError(error.status_code, str(error.detail), code)
    else:
        refusal = from_engine(error)
    return Response(
        encoded(refusal.body), status_code=refusal.status, headers=refusal.headers, media_type="application/json"
    )


def _routes(service: Service) -> Iterator[tuple[str, str, Any]]:
    yield "POST", "/v1/chat/completions", service.chat
    yield "POST", "/v1/completions", service.complete
    yield "POST", "/v1/embeddings", service.embed
    yield "GET", "/v1/models", service.list_models
    yield "GET", "/v1/models/{name:path}", service.one_model
    yield "GET", "/health", service.health
    yield "GET", "/metrics", service.show_metrics


@dataclass
class Server:
    """A server's parts: the ASGI application, and what a person who runs it holds on to."""

    app: Any  # what uvicorn runs
    guard: Guard
    scheduler: Scheduler


def create_server(
    models: Sequence[ServedModel],
    *,
    keys: Keys | None = None,
    limits: Limits | None = None,
    cors_origins: Sequence[str] = (),
    hosts: Sequence[str] = (),
) -> Server:
    """The application for ``models``; its scheduler starts and stops with it.

    cors_origins: web pages of these origins may ask; none may unless asked. hosts: names beside localhost that a server
    without keys answers to.
    """
    limits, metrics = limits or Limits(), Metrics()
    scheduler = Scheduler({model.name: model.engine for model in models})
    service = Service(models, scheduler, limits, metrics)

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        scheduler.start()
        yield
        await asyncio.to_thread(scheduler.stop)

    api = FastAPI(title="MiniMind Lite", lifespan=lifespan, docs_url=None, redoc_url=None)
    for method, path, endpoint in _routes(service):
        api.add_api_route(path, endpoint, methods=[method], response_model=None, responses=RESPONSES[path])
    document(api)
    for kind in (ApiError, RequestValidationError, HTTPException):
        api.add_exception_handler(kind, _refused)
    guard = service.guard = Guard(api, keys or Keys(), limits, metrics, hosts)
    app: Any = guard
    for origin in cors_origins:
        if not re.fullmatch(r"https?://[^/\s*]+", origin) and origin != "*":
            raise ServingError(
                f"--cors-origin {origin!r} is no page's origin: write scheme, host and port alone, such as "
                "https://page.example or http://localhost:3000"
            )
    if cors_origins:
        app = CORSMiddleware(
            guard, allow_origins=list(cors_origins), allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type"],
        )  # fmt: skip
    return Server(app, guard, scheduler)
