"""What the tests of the server share: a tiny model in a folder's shape, a server on a free port, raw requests."""

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from minimind_lite.config import preset
from minimind_lite.generation.continuous import Engine
from minimind_lite.generation.engine import Generation, generate
from minimind_lite.generation.sampling import GREEDY, SamplingConfig
from minimind_lite.model.transformer import Transformer
from minimind_lite.serving.models import ServedModel
from minimind_lite.tokenizer import Message, Tokenizer

TEXTS = ["the quick brown fox jumps over the lazy dog", "湖南的简称是湘", '{"name": "look", "arguments": {"at": 12}}']
TOKENIZER = Tokenizer.train(TEXTS * 3, vocab_size=330)
KEY = "a-key-for-the-tests"


def tiny_model(seed: int = 0, **changes: Any) -> Transformer:
    """A random model whose distribution is not flat, so that its greedy answers differ and do not hang on rounding."""
    torch.manual_seed(seed)
    config = preset("pico", vocab_size=TOKENIZER.vocab_size, tie_word_embeddings=False, **changes)
    model = Transformer(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(3)
        model.lm_head.weight.mul_(10)
    return model


def scripted(*parts: str | int) -> ServedModel:
    """A model that says texts and control tokens (by id), then ends its turn; for one request only."""
    tokens = [token for part in parts for token in ([part] if isinstance(part, int) else TOKENIZER.encode(part))]

    class Scripted(Transformer):
        said = 0

        def logits(self, hidden: torch.Tensor) -> torch.Tensor:
            token = tokens[self.said] if self.said < len(tokens) else TOKENIZER.eos_id
            self.said += 1
            scores = torch.full((*hidden.shape[:-1], TOKENIZER.vocab_size), -30.0)
            scores[..., token] = 30.0
            return scores

    return served(Scripted(preset("pico", vocab_size=TOKENIZER.vocab_size)), slots=1)


def tag(text: str) -> int:
    """The id of a control token."""
    found = TOKENIZER.control_id(text)
    assert found is not None
    return found


def served(model: Transformer | None = None, name: str = "tiny", **options: Any) -> ServedModel:
    """A model with an engine."""
    settings = {"slots": 4, "max_length": 1024, "prefill_chunk": 64} | options
    return ServedModel(name, Engine(model or tiny_model(), TOKENIZER, **settings))


def said(text: str) -> list[Message]:
    """A conversation of one question."""
    return [{"role": "user", "content": text}]


def solo(model: ServedModel, messages: list[Message], tokens: int, sampling: SamplingConfig = GREEDY) -> Generation:
    """What a conversation gets alone, from the plain loop that knows no server."""
    prompt = TOKENIZER.render(messages, add_generation_prompt=True).ids
    return generate(model.engine.model, TOKENIZER, [prompt], max_new_tokens=tokens, sampling=sampling)[0]


@contextmanager
def running(*models: ServedModel, **options: Any) -> Iterator[Any]:
    """A server on a free port of the loopback interface."""
    from minimind_lite.serving.app import create_server
    from minimind_lite.serving.run import RunningServer

    server = RunningServer(create_server(models or (served(),), **options), port=0).start()
    try:
        yield server
    finally:
        server.stop(5)


def ask(
    server: Any, path: str, body: Any = None, method: str | None = None, headers: dict[str, str] | None = None
) -> tuple[int, Any, dict[str, str]]:
    """(status, body, headers) of one request without any client's help; the body is read as JSON if it is that."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    sent = {"content-type": "application/json"} | (headers or {})
    connection.request(method or ("GET" if body is None else "POST"), path, data, sent)
    answer = connection.getresponse()
    text, kind = answer.read(), answer.getheader("content-type", "")
    connection.close()
    content = json.loads(text) if kind == "application/json" else text.decode()
    return answer.status, content, {name.lower(): value for name, value in answer.getheaders()}


def events(text: str) -> list[Any]:
    """The values of a stream of server-sent events; the last must be [DONE]."""
    lines = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
    assert lines[-1] == "[DONE]", lines[-1]
    return [json.loads(line) for line in lines[:-1]]
