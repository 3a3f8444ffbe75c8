"""What the server answers, for its OpenAPI schema: every status of every route, and the shape of every body.

The routes write these objects themselves, since a stream's pieces and a whole answer have most of their code in common;
a test reads thousands of answers against these models.
"""

from typing import Annotated, Any, Literal

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field

from minimind_lite.serving.schemas import ErrorResponse

Responses = dict[int | str, dict[str, Any]]
Number = Annotated[int, Field(ge=0)]


class Answered(BaseModel):
    """An object of an answer: it has the fields that it names and no others."""

    model_config = ConfigDict(extra="forbid")


class Usage(Answered):
    """Counts of tokens; an answer's end token is one of them."""

    prompt_tokens: Number
    completion_tokens: Number
    total_tokens: Number


class NamedToken(Answered):
    """A token that might have stood at a place, and its log-probability, in nats."""

    token: str
    logprob: Annotated[float, Field(le=0)]
    bytes: list[Annotated[int, Field(ge=0, le=255)]]


class DrawnToken(NamedToken):
    """The token that does stand there, and the likeliest."""

    top_logprobs: list[NamedToken]


class ChatLikelihoods(Answered):
    """The log-probabilities of a chat's content."""

    content: list[DrawnToken]
    refusal: None


class NamedArguments(Answered):
    """A function that is called; the arguments are a JSON object as text."""

    name: str
    arguments: str


class AnsweredCall(Answered):
    """A call of a function."""

    id: str
    type: Literal["function"]
    function: NamedArguments


class AssistantMessage(Answered):
    """An answer as a message; reasoning_content and tool_calls are there if the model wrote any."""

    role: Literal["assistant"]
    content: str | None
    refusal: None
    reasoning_content: str = ""
    tool_calls: list[AnsweredCall] = []


class ChatChoice(Answered):
    """One of the answers to a conversation."""

    index: Number
    message: AssistantMessage
    logprobs: ChatLikelihoods | None
    finish_reason: Literal["stop", "length", "tool_calls"]


class ChatAnswer(Answered):
    """The body of an answered POST /v1/chat/completions without stream."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage


class TextLikelihoods(Answered):
    """The log-probabilities of a completion, in the older layout."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]


class TextChoice(Answered):
    """One of the continuations of a text."""

    index: Number
    text: str
    logprobs: TextLikelihoods | None
    finish_reason: Literal["stop", "length"]


class TextAnswer(Answered):
    """The body of an answered POST /v1/completions without stream."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[TextChoice]
    usage: Usage


class Embedding(Answered):
    """A text's vector: numbers, or the same as float32 in base64."""

    object: Literal["embedding"]
    index: Number
    embedding: list[float] | str


class EmbeddingUsage(Answered):
    """Counts of tokens."""

    prompt_tokens: Number
    total_tokens: Number


class EmbeddingAnswer(Answered):
    """The body of an answered POST /v1/embeddings."""

    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: EmbeddingUsage


class Model(Answered):
    """A model that can be asked. max_model_len: tokens of prompt and answer together; parent: an adapter's base."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    max_model_len: int
    parent: str | None


class ModelList(Answered):
    """The body of GET /v1/models."""

    object: Literal["list"]
    data: list[Model]


class Health(Answered):
    """The body of GET /health."""

    status: Literal["ok", "draining"]


_REFUSED = {
    400: "The request is not what this server takes.",
    401: "The API key is missing or wrong.",
    404: "There is no such model.",
    408: "The body did not come in time.",
    413: "The body is too long.",
    429: "Too many requests wait or are being answered; Retry-After says when to come again.",
    500: "The server failed; its log says more.",
    503: "The server is shutting down, or the answer took too long.",
}
_RETRY = {"Retry-After": {"description": "seconds", "required": True, "schema": {"type": "integer"}}}
_EVENT = {
    "type": "object",
    "description": "With stream: an event's data is a chunk, OpenAI's object as JSON; the last one's is [DONE].",
    "properties": {"data": {"type": "string"}},
    "required": ["data"],
}
_EVENTS = {"text/event-stream": {"schema": _EVENT}}
_TEXT = {"text/plain": {"schema": {"type": "string", "description": "Prometheus' format."}}}
_SENT = (400, 401, 408, 413, 429, 500, 503)  # what any request can be refused with, see guard.py


def _responses(answer: dict[str, Any], *refusals: int) -> Responses:
    """An answer, and the refusals of a route; "default" stands in until `document` has removed it."""
    made: Responses = {200: {"description": "The answer.", **answer}, "default": {"description": ""}}
    for status in refusals:
        made[status] = {"model": ErrorResponse, "description": _REFUSED[status]}
        made[status] |= {"headers": _RETRY} if status in (429, 503) else {}
    return made


RESPONSES: dict[str, Responses] = {
    "/v1/chat/completions": _responses({"model": ChatAnswer, "content": _EVENTS}, 404, *_SENT),
    "/v1/completions": _responses({"model": TextAnswer, "content": _EVENTS}, 404, *_SENT),
    "/v1/embeddings": _responses({"model": EmbeddingAnswer}, 404, *_SENT),
    "/v1/models": _responses({"model": ModelList}, *_SENT),
    "/v1/models/{name:path}": _responses({"model": Model}, 404, *_SENT),
    "/health": {
        **_responses({"model": Health}, 400, 408, 413, 500),
        503: {"model": Health, "description": "The server is shutting down."},
    },
    "/metrics": _responses({"content": _TEXT}, *_SENT),
}


def document(api: FastAPI) -> None:
    """Let ``api``'s schema name exactly the statuses of RESPONSES.

    FastAPI adds a 422 of its own to routes without a "default"; here a body that is refused gets 400, as OpenAI's does.
    """
    made = api.openapi

    def openapi() -> dict[str, Any]:
        schema = made()
        for path in schema["paths"].values():
            for operation in path.values():
                operation["responses"].pop("default", None)
        schema["paths"]["/metrics"]["get"]["responses"]["200"]["content"] = _TEXT  # and no JSON, FastAPI's default
        schema["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        schema["security"] = [{"key": []}, {}]  # a server without keys needs none
        return schema

    api.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to change a schema
