"""The server against its own OpenAPI schema: schemathesis makes requests from it and reads every answer against it."""

from collections.abc import Iterator
from typing import Any

import pytest
from serving_kit import KEY, ask, running, served

pytest.importorskip("fastapi", reason="needs the extra serve")
schemathesis = pytest.importorskip("schemathesis", reason="needs the group proofs")

from hypothesis import HealthCheck, Phase, given, settings  # noqa: E402
from schemathesis.checks import not_a_server_error  # noqa: E402
from schemathesis.core.failures import FailureGroup  # noqa: E402
from schemathesis.specs.openapi import checks  # noqa: E402

from minimind_lite.serving.guard import Keys, Limits  # noqa: E402

ROUTES = {
    "/v1/chat/completions": "POST", "/v1/completions": "POST", "/v1/embeddings": "POST", "/v1/models": "GET",
    "/v1/models/{name}": "GET", "/health": "GET", "/metrics": "GET",
}  # fmt: skip
CHECKS = [
    not_a_server_error, checks.status_code_conformance, checks.content_type_conformance,
    checks.response_schema_conformance, checks.response_headers_conformance, checks.negative_data_rejection,
]  # fmt: skip
EXAMPLES = 60  # of each route, good and bad ones
GOOD, BAD = schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    with running(served(max_length=256)) as server:
        yield server


@pytest.fixture(scope="module")
def schema(server: Any) -> Any:
    return schemathesis.openapi.from_url(f"{server.address}/openapi.json")


def tame(body: Any) -> None:
    """Ask for the model that is there, and for short answers; what is wrong with a body stays wrong."""
    if not isinstance(body, dict):
        return
    if isinstance(body.get("model"), str):
        body["model"] = "tiny"
    if ("messages" in body or "prompt" in body) and not {"max_tokens", "max_completion_tokens"} & set(body):
        body["max_tokens"] = 3


def statuses(schema: Any, path: str, mode: Any) -> set[int]:
    """The statuses that requests made from the schema got; every answer is checked."""
    seen = set()

    @settings(
        max_examples=EXAMPLES, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=schema[path][ROUTES[path]].as_strategy(generation_mode=mode))
    def try_one(case: Any) -> None:
        tame(case.body)
        answer = case.call(timeout=60)
        seen.add(answer.status_code)
        case.validate_response(answer, checks=CHECKS)

    try_one()
    return seen


@pytest.mark.parametrize("path", ROUTES)
def test_what_the_schema_allows_is_answered_as_it_says(schema: Any, path: str) -> None:
    """Some rules between fields cannot be written in a schema: a body may be refused for them, with 400."""
    usual = {"POST": {200, 400}, "GET": {200}}[ROUTES[path]] | ({404} if "{name}" in path else set())
    assert statuses(schema, path, GOOD) <= usual


@pytest.mark.parametrize("path", [path for path, method in ROUTES.items() if method == "POST"])
def test_what_the_schema_forbids_is_refused_as_it_says(schema: Any, path: str) -> None:
    assert statuses(schema, path, BAD) <= {400, 404}


def test_every_route_is_in_the_schema_and_no_status_is_left_open(server: Any) -> None:
    paths = ask(server, "/openapi.json")[1]["paths"]
    assert {(path, method.upper()) for path, methods in paths.items() for method in methods} == set(ROUTES.items())
    for path, method in ROUTES.items():
        answers = paths[path][method.lower()]["responses"]
        assert {"200", "400"} <= set(answers) and not {"default", "422"} & set(answers)
        assert all(answer["description"] for answer in answers.values())


CHAT: dict[str, Any] = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 3}
LIKELIHOODS = {"logprobs": True, "top_logprobs": 2, "n": 2, "stream": False}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", CHAT | LIKELIHOODS), ("/v1/chat/completions", CHAT | {"stream": True}),
        ("/v1/completions", {"model": "tiny", "prompt": ["a", "b"], "logprobs": 3, "max_tokens": 4}),
        ("/v1/embeddings", {"model": "tiny", "input": ["a", "b"], "encoding_format": "base64"}),
        ("/v1/embeddings", {"model": "other", "input": "a"}),
    ],
)  # fmt: skip
def test_answers_with_everything_in_them(schema: Any, path: str, body: dict[str, Any]) -> None:
    case = schema[path]["POST"].Case(body=body, media_type="application/json")
    case.call_and_validate(checks=CHECKS, timeout=60)


def test_an_answer_that_the_schema_does_not_know_is_caught(schema: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = {"id": "tiny", "object": "model", "created": "yesterday"}
    monkeypatch.setattr("minimind_lite.serving.app._described", lambda model: wrong)
    with pytest.raises(FailureGroup) as caught:
        schema["/v1/models"]["GET"].Case().call_and_validate(checks=CHECKS, timeout=60)
    assert any("yesterday" in str(one) for one in caught.value.exceptions)


@pytest.mark.parametrize(
    ("status", "options"),
    [
        (401, {"keys": Keys.of([KEY])}),
        (413, {"limits": Limits(body_bytes=9)}),
        (503, {"limits": Limits(seconds=1e-6)}),
    ],
)
def test_refusals_are_documented_too(server: Any, status: int, options: dict[str, Any]) -> None:
    text = ask(server, "/openapi.json")[1]
    with running(served(), **options) as refusing:
        schema = schemathesis.openapi.from_dict(text)
        schema.config.update(base_url=refusing.address)
        case = schema["/v1/chat/completions"]["POST"].Case(
            body=CHAT | {"max_tokens": 900}, media_type="application/json"
        )
        answer = case.call(timeout=60)
        assert answer.status_code == status
        case.validate_response(answer, checks=CHECKS[1:])  # 503 is a server's error, and meant
