"""Refusals, as OpenAI's error object: ``{"error": {"message", "type", "param", "code"}}``."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from minimind_lite.generation.continuous import QueueFull
from minimind_lite.generation.sampling import GenerationError
from minimind_lite.serving import schemas

RETRY_SECONDS = 1  # after which a refused request may be tried again
# Names of fields: what else stands in a validation error's path are the names of types that were tried.
_FIELDS = {
    name
    for thing in vars(schemas).values()
    if isinstance(thing, type) and issubclass(thing, BaseModel)
    for name in thing.model_fields
}


class ApiError(Exception):
    """An answer with a status other than 200."""

    def __init__(self, status: int, message: str, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param

    @property
    def headers(self) -> dict[str, str]:
        """Headers that belong to the status."""
        if self.status in (429, 503):
            return {"retry-after": str(RETRY_SECONDS)}
        return {"www-authenticate": "Bearer"} if self.status == 401 else {}

    @property
    def body(self) -> dict[str, Any]:
        """OpenAI's error object."""
        kinds = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}
        kind = kinds.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


def encoded(value: Any) -> bytes:
    """JSON in UTF-8; half of a surrogate pair, which a client may have sent, is written as an escape."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")


def from_validation(errors: Sequence[Mapping[str, Any]]) -> ApiError:
    """The refusal of a body that is not what the schema asks for; names the parameter."""
    first = _meant(errors)
    place = _place(first)
    if first["type"] == "unfit":
        return ApiError(400, str(first["msg"]), "invalid_value", first["ctx"]["param"])
    if first["type"] == "extra_forbidden":
        param = _written([*place, *([first["loc"][-1]] if first["loc"][-1] not in place[-1:] else [])])
        return ApiError(400, f"{param} is not supported by this server", "unsupported_parameter", param)
    param = _written(place)
    words = str(first["msg"]).removeprefix("Value error, ")
    if first["type"] == "json_invalid":
        return ApiError(400, f"the body is not JSON: {first.get('ctx', {}).get('error', words)}", "invalid_json")
    alternatives = [str(one["msg"]) for one in errors[1:4] if one["loc"][: len(place)] == first["loc"][: len(place)]]
    words = "; or: ".join(dict.fromkeys([words, *alternatives])) if len(place) == 1 else words
    return ApiError(400, f"{param}: {words}" if param else words, "invalid_value", param or None)


def _place(error: Mapping[str, Any]) -> list[str | int]:
    """Where an error is, in fields and positions."""
    return [part for part in error["loc"] if isinstance(part, int) or part in _FIELDS]


def _meant(errors: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The first error; of a list of objects that was also tried as a text, the first one inside of it."""
    first, place = errors[0], _place(errors[0])
    if not (isinstance(first.get("input"), list) and all(isinstance(one, dict) for one in first["input"])):
        return first
    inside = (one for one in errors[1:] if len(_place(one)) > len(place) and _place(one)[: len(place)] == place)
    return next(inside, first)


def _written(place: Sequence[str | int]) -> str:
    """A path as text: messages[0].content."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).lstrip(".")[:200]


def from_engine(error: Exception) -> ApiError:
    """The refusal that belongs to what the engine or the tokenizer did not take."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, QueueFull):
        return ApiError(429, "too many requests are waiting: try again later", "queue_full")
    if isinstance(error, GenerationError):
        return ApiError(400, str(error), "invalid_prompt")
    raise error
