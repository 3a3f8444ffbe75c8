"""Ask an OpenAI-compatible server, and collect its answer while it comes, in a thread of its own.

The page looks at the turn that grows; nothing here knows Streamlit. An answer that nobody looks at any more, as when a
browser was closed, is stopped: the server then gives its slot to somebody else.
"""

import socket
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

try:
    import openai
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"the chat page needs the package {error.name}: pip install 'minimind-lite[webui]'", name=error.name
    ) from error

from minimind_lite.serving.page.conversation import Turn

UNWATCHED_SECONDS = 20.0  # after which an answer that nobody looks at is stopped
LIST_SECONDS = 10.0  # for a server to say which models it has
LIKELIEST = 20  # tokens that are asked for beside the one that was drawn: the most that OpenAI's interface gives


@dataclass(frozen=True)
class Endpoint:
    """Where a server is. ``address`` ends with /v1, as OpenAI's clients want it."""

    address: str
    key: str = field(default="", repr=False)

    def client(self, seconds: float) -> Any:
        """A client that gives up after so many seconds of silence."""
        return openai.OpenAI(base_url=self.address, api_key=self.key or "none", max_retries=0, timeout=seconds)

    def models(self) -> list[str]:
        """The names of the models there. Raises openai.OpenAIError."""
        with self.client(LIST_SECONDS) as client:
            return [model.id for model in client.models.list()]


@dataclass(frozen=True)
class Drawing:
    """What a person set: how words are drawn, and what else a request says."""

    temperature: float = 0.7
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    max_tokens: int = 256
    seed: int | None = None
    stop: tuple[str, ...] = ()
    thinking: bool | None = None  # as the model likes, on or off
    probabilities: bool = True

    def request(self) -> dict[str, Any]:
        """The arguments of the client's call; what stands at "off" is left out, since not every server knows it."""
        made: dict[str, Any] = {"temperature": self.temperature, "max_tokens": self.max_tokens}
        extra: dict[str, Any] = {}
        for name, off in (("top_k", 0), ("min_p", 0.0), ("repetition_penalty", 1.0)):
            if getattr(self, name) != off:
                extra[name] = getattr(self, name)
        if self.thinking is not None:
            extra["chat_template_kwargs"] = {"enable_thinking": self.thinking}
        if self.top_p < 1:
            made["top_p"] = self.top_p
        if self.seed is not None:
            made["seed"] = self.seed
        if self.stop:
            made["stop"] = list(self.stop)
        if self.probabilities:
            made |= {"logprobs": True, "top_logprobs": LIKELIEST}
        return made | ({"extra_body": extra} if extra else {})


class Answer:
    """One answer while it is made: ``turn`` grows until ``done``."""

    def __init__(
        self,
        endpoint: Endpoint,
        turn: Turn,
        messages: Sequence[Mapping[str, Any]],
        drawing: Drawing,
        tools: Sequence[Any] = (),
    ) -> None:
        self.endpoint, self.turn = endpoint, turn
        self.watched = time.monotonic()
        self._request = {"model": turn.model, "messages": list(messages), "stream": True, **drawing.request()}
        self._request |= {"tools": list(tools)} if tools else {}
        self._stopped = False
        self._stream: Any = None
        self._thread = threading.Thread(target=self._run, name="answer", daemon=True)
        self._thread.start()

    @property
    def done(self) -> bool:
        """Whether nothing more comes."""
        return bool(self.turn.ended)

    def stop(self) -> None:
        """Take no more of it. The connection is cut, so that a server notices at once."""
        self._stopped = True
        self.turn.ended = self.turn.ended or "stopped"
        with suppress(AttributeError, OSError):  # not connected yet, or not any more
            network = self._stream.response.extensions["network_stream"]
            network.get_extra_info("socket").shutdown(socket.SHUT_RDWR)

    def wait(self, seconds: float) -> None:
        """Return when it is done, or after so many seconds; says that somebody is looking."""
        self.watched = time.monotonic()
        self._thread.join(seconds)

    def _run(self) -> None:
        begun = time.perf_counter()
        try:
            with self.endpoint.client(600) as client:
                self._stream = client.chat.completions.create(**self._request)
                with self._stream:
                    self._read(begun)
            ended, error = "failed", "the server ended the connection in the middle of the answer"
        except Exception as problem:  # whatever it was, a person must see it, and this thread must say that it is done
            ended, error = "failed", in_words(problem, self.endpoint)
        if not self.turn.ended:
            self.turn.error, self.turn.ended = error, ended

    def _read(self, begun: float) -> None:
        """Take the pieces until one says that it is the last."""
        for chunk in self._stream:
            if not self._stopped and time.monotonic() - self.watched > UNWATCHED_SECONDS:
                self.stop()
            if self._stopped:
                return
            for choice in chunk.choices:
                take(self.turn, choice.model_dump())
                self.turn.seconds = time.perf_counter() - begun
                if choice.finish_reason:
                    self.turn.ended = choice.finish_reason
                    return


def take(turn: Turn, choice: Mapping[str, Any]) -> None:
    """Append one piece of a stream, OpenAI's choice of a chunk, to a turn."""
    delta = choice.get("delta") or {}
    turn.content += delta.get("content") or ""
    turn.reasoning += delta.get("reasoning_content") or delta.get("reasoning") or ""
    turn.tokens += (choice.get("logprobs") or {}).get("content") or []
    for part in delta.get("tool_calls") or []:
        index = part.get("index") or 0
        while len(turn.calls) <= index:
            turn.calls.append({"id": "", "type": "function", "function": {"name": "", "arguments": ""}})
        call, function = turn.calls[index], part.get("function") or {}
        call["id"] = call["id"] or part.get("id") or f"call_{index}"
        call["function"]["name"] += function.get("name") or ""
        call["function"]["arguments"] += function.get("arguments") or ""


def in_words(problem: Exception, endpoint: Endpoint) -> str:
    """What went wrong, for a person to read; never the key."""
    if isinstance(problem, openai.APIStatusError):
        body = problem.body if isinstance(problem.body, Mapping) else {}
        return f"{endpoint.address} ({problem.status_code}): {body.get('message') or problem.message}"
    if isinstance(problem, openai.APITimeoutError):
        return f"{endpoint.address} did not answer in time"
    if isinstance(problem, openai.APIConnectionError):
        return f"nobody answers at {endpoint.address}: is the server running, and does its address end with /v1?"
    if isinstance(problem, openai.APIError):
        return f"{endpoint.address}: {problem.message}"
    return f"{endpoint.address}: {type(problem).__name__}: {problem}"
