"""What the server refuses and how, who may ask it, how it stops; a client that leaves takes nothing with it."""

import http.client
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from serving_kit import KEY, TOKENIZER, ask, events, running, served, tiny_model
from typer.testing import CliRunner

from minimind_lite.cli import app
from minimind_lite.cli.common import _how_to_install
from minimind_lite.generation.continuous import Engine
from minimind_lite.generation.sampling import GenerationError
from minimind_lite.model.pretrained import save_pretrained

pytest.importorskip("fastapi", reason="needs the extra serve")

from minimind_lite.serving.app import create_server
from minimind_lite.serving.guard import Keys, Limits, check_address, is_loopback
from minimind_lite.serving.models import ServingError
from minimind_lite.serving.run import RunningServer

CHAT = "/v1/chat/completions"
OPEN: dict[str, Any] = {"logit_bias": {str(token): -100 for token in (TOKENIZER.eos_id, TOKENIZER.end_of_text_id)}}


def body(**changes: Any) -> dict[str, Any]:
    return {"model": "tiny", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 4} | changes


def wait_for(condition: Callable[[], bool], seconds: float = 10) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.005)


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    with running(served(max_length=256), limits=Limits(body_bytes=20_000)) as server:
        yield server


def message(**fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "hello"}, fields]}


CALLED = {"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{}"}}]}
TOOL = {"type": "function", "function": {"name": "f"}}


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"service_tier": "auto"}, "service_tier"), ({"modalities": ["audio"]}, "modalities"),
        ({"temperature": 2.1}, "temperature"), ({"temperature": "hot"}, "temperature"), ({"top_p": 0}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"), ({"max_tokens": 1.5}, "max_tokens"), ({"max_tokens": 10**9}, "max_tokens"),
        ({"max_tokens": 500}, "max_tokens"), ({"n": 17}, "n"), ({"n": True}, "n"), ({"stop": [""]}, "stop"),
        ({"seed": -1}, "seed"), ({"top_logprobs": 2}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"logit_bias": {"hi": 1}}, "logit_bias"), ({"logit_bias": {"99999": 1}}, "logit_bias"),
        ({"presence_penalty": 3}, "presence_penalty"),
        ({"repetition_penalty": 1e-40}, "repetition_penalty"),
        ({"messages": []}, "messages"), ({"messages": "hi"}, "messages"),
        ({"stream_options": {"include_usage": True}}, "stream_options"), ({"max_completion_tokens": 3}, "max_tokens"),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, "response_format.type"),
        ({"response_format": {"type": "json_object"}, "tools": [TOOL]}, "response_format"),
        ({"tool_choice": "auto"}, "tool_choice"), ({"parallel_tool_calls": False}, "parallel_tool_calls"),
        ({"tools": [TOOL], "tool_choice": "required", "chat_template_kwargs": {"enable_thinking": True}},
         "tool_choice"),
        ({"tools": [TOOL, TOOL]}, "tools"), ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "g"}}}, "tool_choice"),
        ({"reasoning_effort": "high"}, "reasoning_effort"), ({"store": True}, "store"),
        ({"chat_template_kwargs": {"other": 1}}, "chat_template_kwargs.other"),
        (message(role="robot", content="x"), "messages[1].role"),
        (message(role="user", content="x", name="Ann"), "messages[1].name"),
        (message(role="user"), "messages[1].content"), (message(role="user", content=5), "messages[1].content"),
        (message(role="user", content=[{"type": "image_url", "image_url": {}}]), "messages[1].content[0].type"),
        (message(role="user", content=[{"type": "text", "text": "a"}, {"type": "text"}]),
         "messages[1].content[1].text"),
        (message(role="user", content="\ud800"), "messages[1].content"),
        (message(role="tool", content="x", tool_call_id="1"), "messages[1].tool_call_id"),
        (message(role="user", content="x", reasoning_content="y"), "messages[1].reasoning_content"),
        (message(role="assistant", content="x", tool_calls=[{"id": "1", "function": {"name": "f", "arguments": "[]"}}]),
         "messages[1].tool_calls[0].function.arguments"),
        (message(role="user", content="x" * 3000), "messages"), ({"messages": [{}]}, "messages[0].role"),
    ],
)  # fmt: skip
def test_what_is_not_supported_is_refused_by_name(server: Any, changes: dict[str, Any], param: str) -> None:
    status, answer, _ = ask(server, CHAT, body(**changes))
    assert status == 400, answer
    assert set(answer["error"]) == {"message", "type", "param", "code"}
    assert answer["error"]["param"] == param and answer["error"]["type"] == "invalid_request_error"
    assert server.server.scheduler.engines["tiny"].idle


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"echo": True}, "echo"), ({"suffix": "x"}, "suffix"), ({"best_of": 2}, "best_of"),
        ({"logprobs": 6}, "logprobs"),
        ({"prompt": []}, "prompt"), ({"prompt": [[]]}, "prompt"), ({"prompt": [99999]}, "prompt"),
        ({"prompt": [-1]}, "prompt"), ({"prompt": "\ud800"}, "prompt"), ({"prompt": "x " * 500}, "prompt"),
        ({"prompt": None}, "prompt"), ({"tools": []}, "tools"),
    ],
)  # fmt: skip
def test_completions_are_checked_too(server: Any, changes: dict[str, Any], param: str) -> None:
    status, answer, _ = ask(server, "/v1/completions", {"model": "tiny", "prompt": "a", "max_tokens": 4} | changes)
    assert (status, answer["error"]["param"]) == (400, param), answer


def test_embeddings_are_checked_too(server: Any) -> None:
    for changes, param in (
        ({"dimensions": 8}, "dimensions"),
        ({"input": []}, "input"),
        ({"input": "x " * 500}, "input"),
    ):
        status, answer, _ = ask(server, "/v1/embeddings", {"model": "tiny", "input": "a"} | changes)
        assert (status, answer["error"]["param"]) == (400, param), answer


@pytest.mark.parametrize("data", [b"", b"{", b"[1]", b'"x"', b"\xff\xfe", b"[" * 9000, b'{"model": NaN}', b"1" * 5000])
def test_what_is_no_json_object_is_refused(server: Any, data: bytes) -> None:
    status, answer, _ = ask(server, CHAT, data)
    assert status == 400 and answer["error"]["message"]


def test_paths_methods_and_names_that_are_not_there(server: Any) -> None:
    assert ask(server, "/v1/nothing")[0] == 404
    assert ask(server, CHAT)[0] == 405 and ask(server, CHAT)[1]["error"]["code"] == "method_not_allowed"
    status, answer, _ = ask(server, CHAT, body(model="gpt\ud800"))
    assert status == 404 and (answer["error"]["param"], answer["error"]["code"]) == ("model", "model_not_found")
    assert ask(server, "/v1/models/other")[0] == 404


def test_a_body_that_is_too_long(server: Any) -> None:
    status, answer, _ = ask(server, CHAT, b"x" * 20_001)
    assert (status, answer["error"]["code"]) == (413, "body_too_large")
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.putrequest("POST", CHAT)
    connection.putheader("transfer-encoding", "chunked")  # its length is not declared
    connection.endheaders()
    for _ in range(3):
        connection.send(b"2000\r\n" + b"x" * 8192 + b"\r\n")
    assert connection.getresponse().status == 413


def test_a_body_that_does_not_come() -> None:
    with running(limits=Limits(body_seconds=0.2)) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as slow:
            slow.sendall(b"POST " + CHAT.encode() + b" HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n{")
            assert slow.recv(100).startswith(b"HTTP/1.1 408")
        assert ask(server, CHAT, body())[0] == 200
        wait_for(lambda: server.server.guard.active == 0)  # the answer is there before the request has ended


def test_keys() -> None:
    with running(keys=Keys.of([KEY, "another-key-of-mine"])) as server:
        wrong = ("Bearer wrong", KEY, f"Basic {KEY}", f"Bearer {KEY}x", "Bearer", "")
        for headers in ({}, {"x-api-key": KEY}, *({"authorization": one} for one in wrong)):
            for path in ("/v1/models", "/metrics", "/openapi.json", "/v1/nothing"):
                status, answer, sent = ask(server, path, headers=headers)
                assert status == 401 and answer["error"]["code"] == "invalid_api_key"
                assert sent["www-authenticate"] == "Bearer" and KEY not in json.dumps(answer)
        for key in (KEY, "another-key-of-mine"):
            assert ask(server, "/v1/models", headers={"authorization": f"Bearer {key}"})[0] == 200
        assert ask(server, "/health")[0] == 200
        anywhere = {"authorization": f"bearer {KEY}", "host": "model.example.org"}
        assert ask(server, "/v1/models", headers=anywhere)[0] == 200


def test_keys_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Digests of one length, all of them, by compare_digest, whether the first one fits or none does."""
    keys, compared = Keys.of([f"key-number-{number}-of-three" for number in range(3)]), []
    compare = __import__("hmac").compare_digest
    monkeypatch.setattr("hmac.compare_digest", lambda a, b: compared.append((len(a), len(b))) or compare(a, b))
    assert keys.opens(b"key-number-0-of-three") and compared == [(32, 32)] * 3
    assert not keys.opens(b"") and compared == [(32, 32)] * 6
    assert keys.opens(b"key-number-2-of-three")
    assert repr(keys) == "Keys(3 keys)" and "key-number" not in repr(vars(keys))


@pytest.mark.parametrize(
    "key", ["", "short", "with spaces in the middle", "schlüssel-schlüssel", "line\nbreak-in-the-key"]
)
def test_a_key_that_cannot_be_one_is_refused(key: str) -> None:
    with pytest.raises(ServingError, match="API key 1 must have at least 16 characters") as refused:
        Keys.of([key])
    assert not key or key not in str(refused.value)


def test_other_addresses_need_a_key() -> None:
    for host in ("0.0.0.0", "192.168.1.2", "::", "example.org"):  # noqa: S104  refused
        with pytest.raises(ServingError, match="no API key is set"):
            check_address(host, Keys())
        check_address(host, Keys.of([KEY]))
    for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost"):
        check_address(host, Keys())
        assert is_loopback(host)
    done = CliRunner().invoke(app, ["serve", "nowhere", "--host", "0.0.0.0"])  # noqa: S104
    assert done.exit_code == 1 and "can be reached from other machines" in done.output


def test_a_page_whose_name_leads_here_is_refused(server: Any) -> None:
    for host, status in (("evil.example", 400), ("evil.example:80", 400), ("localhost", 200), ("127.0.0.1:1", 200),
                         ("[::1]:80", 200), ("", 400)):  # fmt: skip
        assert ask(server, "/v1/models", headers={"host": host})[0] == status, host
    with running(hosts=["my-box"]) as named:
        assert ask(named, "/v1/models", headers={"host": "my-box:9"})[0] == 200


def test_cors_is_off_unless_asked() -> None:
    page = {"origin": "https://page.example", "access-control-request-method": "POST"}
    with running() as server:
        for method in ("OPTIONS", "GET"):
            assert not any("access-control" in name for name in ask(server, "/v1/models", None, method, page)[2])
    with running(cors_origins=["https://page.example"], keys=Keys.of([KEY])) as server:
        status, _, sent = ask(server, CHAT, None, "OPTIONS", page)
        assert status == 200 and sent["access-control-allow-origin"] == "https://page.example"
        assert ask(server, "/v1/models", headers=page)[2]["access-control-allow-origin"] == "https://page.example"
        other = page | {"origin": "https://other.example"}
        assert "access-control-allow-origin" not in ask(server, CHAT, None, "OPTIONS", other)[2]


def left_open(server: Any, **changes: Any) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse | None]:
    """A request whose answer would take long; a stream's first bytes are read."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    data = json.dumps(body(max_tokens=900, **OPEN, **changes)).encode()
    connection.request("POST", CHAT, data, {"content-type": "application/json"})
    if not changes.get("stream"):
        return connection, None
    answer = connection.getresponse()
    answer.read(300)
    return connection, answer


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("n", [1, 3])
def test_a_client_that_leaves_frees_its_slots(stream: bool, n: int) -> None:
    model = served(slots=3)
    with running(model) as server:
        connection, answer = left_open(server, stream=stream, n=n)
        wait_for(lambda: model.engine.statistics.running == n)
        for one in (answer, connection):
            if one is not None:
                one.close()
        wait_for(lambda: model.engine.statistics.free == 3)
        made = model.engine.statistics
        assert made.cancelled == n and made.new_tokens < n * 800  # it did not run to its end
        assert ask(server, CHAT, body())[0] == 200
        wait_for(lambda: server.server.guard.active == 0)
        assert all(not streams for streams in server.server.scheduler._streams.values())


def test_a_slot_is_free_at_the_step_after_its_client_left() -> None:
    model = served(slots=2)
    with running(model) as server:
        scheduler = server.server.scheduler
        connection, answer = left_open(server, stream=True)
        wait_for(lambda: model.engine.statistics.running == 1)
        stream = next(iter(scheduler._streams["tiny"].values()))
        seen: list[int] = []
        step = model.engine.step

        def counted() -> Any:
            if stream.ended:
                seen.append(model.engine.statistics.running)
            return step()

        model.engine.step = counted  # type: ignore[method-assign]
        assert answer is not None
        answer.close()
        connection.close()
        wait_for(lambda: stream.ended and model.engine.idle)
        assert seen in ([], [1]), "at most the step that was running already"


def test_a_client_that_leaves_the_queue() -> None:
    model = served(slots=1, max_queue=1)
    with running(model) as server:
        first, answer = left_open(server, stream=True)
        second, _ = left_open(server)
        wait_for(lambda: model.engine.statistics.queued == 1)
        status, refused, sent = ask(server, CHAT, body())
        assert (status, refused["error"]["code"]) == (429, "queue_full") and int(sent["retry-after"]) >= 1
        second.close()
        wait_for(lambda: model.engine.statistics.queued == 0)
        assert answer is not None
        answer.close()
        first.close()
        wait_for(lambda: model.engine.idle)
        assert ask(server, CHAT, body())[0] == 200


def test_several_choices_get_all_their_places_or_none() -> None:
    model = served(slots=1, max_queue=2)
    with running(model) as server:
        assert ask(server, CHAT, body(n=3))[0] == 429
        assert model.engine.idle and ask(server, CHAT, body(n=2))[0] == 200


def test_a_slow_reader_holds_no_slot() -> None:
    model = served(slots=1)
    with running(model) as server, socket.create_connection(("127.0.0.1", server.port)) as slow:
        data = json.dumps(body(stream=True, max_tokens=900, **OPEN)).encode()
        head = f"POST {CHAT} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.sendall(head.encode() + b"content-length: %d\r\n\r\n" % len(data) + data)  # and nothing is read
        wait_for(lambda: model.engine.statistics.done == 1, 60)
        assert ask(server, CHAT, body())[0] == 200
        text = b""
        while b"[DONE]" not in text:
            text += slow.recv(65536)
        assert text.count(b'"content":"') > 500  # and all of it is there in the end


def test_too_many_requests_at_once() -> None:
    with running(limits=Limits(requests=1)) as server:
        connection, answer = left_open(server, stream=True)
        status, refused, sent = ask(server, "/v1/models")
        assert (status, refused["error"]["type"]) == (429, "rate_limit_error") and "retry-after" in sent
        assert ask(server, "/health")[0] == 200
        assert answer is not None
        answer.close()
        connection.close()
        wait_for(lambda: server.server.guard.active == 0)
        assert ask(server, "/v1/models")[0] == 200


def slowed(model: Any, seconds: float) -> Any:
    """The model with steps of at least ``seconds``."""
    step = model.engine.step
    model.engine.step = lambda: (time.sleep(seconds), step())[1]
    return model


def test_an_answer_that_takes_too_long() -> None:
    model = slowed(served(), 0.05)
    with running(model, limits=Limits(seconds=0.4)) as server:
        status, answer, sent = ask(server, CHAT, body(max_tokens=500, **OPEN))
        assert (status, answer["error"]["code"]) == (503, "timeout") and "retry-after" in sent
        text = ask(server, CHAT, body(max_tokens=500, stream=True, **OPEN))[1]
        last = json.loads(text.strip().split("\n\n")[-1].removeprefix("data: "))
        assert last["error"]["code"] == "timeout" and "[DONE]" not in text
        wait_for(lambda: model.engine.idle)


def test_stopping_finishes_what_is_open_and_refuses_the_rest() -> None:
    model = slowed(served(), 0.01)
    with running(model) as server:
        connection, answer = left_open(server, stream=True)
        stopping = threading.Thread(target=lambda: cut.append(server.stop(60)))
        cut: list[int] = []
        stopping.start()
        wait_for(lambda: server.server.guard.draining)
        status, refused, sent = ask(server, CHAT, body())
        assert (status, refused["error"]["code"]) == (503, "shutting_down") and "retry-after" in sent
        assert ask(server, "/health")[0:2] == (503, {"status": "draining"})
        assert answer is not None and answer.read().rstrip().endswith(b"data: [DONE]")
        stopping.join(60)
        assert cut == [0]
        connection.close()
        with pytest.raises(OSError):
            ask(server, "/health")


def test_stopping_says_what_was_cut_off(caplog: pytest.LogCaptureFixture) -> None:
    with running(slowed(served(), 0.05)) as server:
        connection, answer = left_open(server, stream=True)
        assert server.stop(0.1) == 1 and "1 answers were cut off" in caplog.text
        assert answer is not None and b"the server was stopped before this answer ended" in answer.read()
        connection.close()


def test_a_failing_step_ends_its_requests_and_not_the_server(caplog: pytest.LogCaptureFixture) -> None:
    model = served()
    with running(model) as server:
        sound, failures = model.engine.step, [GenerationError("NaN")]

        def step() -> Any:
            if failures:
                raise failures.pop()
            return sound()

        model.engine.step = step  # type: ignore[method-assign]
        status, answer, _ = ask(server, CHAT, body())
        assert (status, answer["error"]["type"], answer["error"]["code"]) == (500, "server_error", "model_failed")
        assert "NaN" not in json.dumps(answer) and "NaN" in caplog.text
        assert ask(server, CHAT, body())[0] == 200 and model.engine.statistics.free == 4


def test_no_secret_and_no_text_in_a_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with running(keys=Keys.of([KEY])) as server:
        for key in (KEY, "WRONG-SECRET-KEY"):
            headers = {"authorization": f"Bearer {key}"}
            for changes in ({}, {"temperature": 9}, {"stream": True}, {"PRIVATE-FIELD": 1}):
                ask(server, f"{CHAT}?key={key}", body(messages=[{"role": "user", "content": "PRIVATE"}], **changes),
                    headers=headers)  # fmt: skip
            ask(server, f"/v1/{key}", headers=headers)
    assert f"POST {CHAT} 200" in caplog.text and f"POST {CHAT} 400" in caplog.text
    assert not any(secret in caplog.text for secret in (KEY, "WRONG-SECRET", "PRIVATE"))


def test_metrics_count() -> None:
    with running() as server:
        ask(server, CHAT, body(max_tokens=3, **OPEN))
        ask(server, CHAT, body(stream=True, max_tokens=3, **OPEN))
        ask(server, CHAT, body(n=99))
        deadline = time.monotonic() + 20  # an answer has arrived a moment before its slot is free again
        text = ask(server, "/metrics")[1]
        while 'minimind_free{model="tiny"} 4.0' not in text and time.monotonic() < deadline:
            text = ask(server, "/metrics")[1]
        assert f'minimind_requests_total{{route="{CHAT}",status="200"}} 2.0' in text
        assert f'minimind_requests_total{{route="{CHAT}",status="400"}} 1.0' in text
        assert 'minimind_new_tokens{model="tiny"} 6.0' in text and 'minimind_free{model="tiny"} 4.0' in text
        assert "minimind_open_requests 1.0" in text
        assert 'minimind_first_token_seconds_count{model="tiny"} 2.0' in text


def test_a_port_that_is_taken() -> None:
    with running() as server, pytest.raises(ServingError, match=r"cannot listen on 127\.0\.0\.1 port"):
        RunningServer(server.server, port=server.port)


def test_the_schema_documents_every_route(server: Any) -> None:
    paths = ask(server, "/openapi.json")[1]["paths"]
    assert {CHAT, "/v1/completions", "/v1/embeddings", "/v1/models", "/health", "/metrics"} <= set(paths)
    responses = paths[CHAT]["post"]["responses"]
    assert {"200", "400", "401", "404", "408", "413", "429", "500", "503"} <= set(responses) and "422" not in responses


def test_the_command(tmp_path: Path) -> None:
    save_pretrained(tiny_model(), TOKENIZER, tmp_path / "sft")
    command = [sys.executable, "-m", "minimind_lite.cli", "serve", str(tmp_path / "sft"), "--port", "0", "--slots", "2",
               "--context", "128"]  # fmt: skip
    environment = {**os.environ, "MINIMIND_API_KEYS": KEY, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"serving sft at http://127\.0\.0\.1:(\d+)/v1", line)
        assert found, line

        class Address:
            port = int(found[1])

        headers = {"authorization": f"Bearer {KEY}"}
        status, answer, _ = ask(Address, CHAT, body(model="sft", stream=True), headers=headers)
        assert status == 200 and events(answer)
        assert ask(Address, CHAT, body(model="sft"))[0] == 401
        process.send_signal(signal.SIGTERM)
        out, error = process.communicate(timeout=60)
    finally:
        process.kill()
    assert "stopped; every answer was finished" in out and process.returncode == 0
    assert f"POST {CHAT} 200" in error and KEY not in out + error


def test_bad_commands_say_what_to_do(tmp_path: Path) -> None:
    for arguments, words in (
        ([str(tmp_path / "none")], "there is no folder"), ([str(tmp_path), "--adapter", "x"], "NAME=DIR"),
        ([str(tmp_path), "--api-key-file", str(tmp_path / "keys")], "keys"),
    ):  # fmt: skip
        done = CliRunner().invoke(app, ["serve", *arguments])
        assert done.exit_code != 0 and words in done.output, done.output


@pytest.mark.parametrize("package", ["fastapi", "uvicorn", "starlette", "prometheus_client"])
def test_a_missing_package_names_the_extra(package: str) -> None:
    assert "pip install 'minimind-lite[serve]'" in _how_to_install(package)


@pytest.mark.parametrize("origin", ["page.example", "https://page.example/", "https://*.example", ""])
def test_an_origin_that_no_page_can_have_is_refused(origin: str) -> None:
    with pytest.raises(ServingError, match="is no page's origin: write scheme, host and port alone"):
        create_server([served()], cors_origins=[origin])


@pytest.mark.parametrize(
    ("content", "words"), [(b"", "holds no key"), (b"\n \n", "holds no key"), (b"\xff\xfekey", "not UTF-8 (byte 0)")]
)
def test_a_file_without_a_key_does_not_leave_the_server_open(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "keys.txt").write_bytes(content)
    for command in (["serve", "nowhere"], ["webui"]):
        done = CliRunner().invoke(app, [*command, "--api-key-file", str(tmp_path / "keys.txt")])
        assert isinstance(done.exception, SystemExit) and done.exit_code == 1, done.output
        assert f"keys.txt: {words}" in done.output.replace("\n", "")


def test_more_slots_than_there_is_memory_for_are_refused_in_words() -> None:
    with pytest.raises(GenerationError, match=r"no memory for 1000000000000 slots of 64 tokens.*--slots"):
        Engine(tiny_model(), TOKENIZER, slots=10**12, max_length=64)
