"""Every file of a model, an adapter or a GGUF, cut, flipped, nested and replaced: read, or an error of ours at once."""

import json
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from model_kit import random_model
from test_gguf import write

from minimind_lite.config import preset
from minimind_lite.interop.gguf import GGUFError, load_gguf
from minimind_lite.model.lora import LoRAConfig, LoRAError, add_adapter, load_adapter, save_adapter
from minimind_lite.model.pretrained import load_pretrained, save_pretrained
from minimind_lite.model.transformer import Transformer
from minimind_lite.tokenizer import Tokenizer

TEXTS = ["The whale swam under the ship. 床前明月光，疑是地上霜。"] * 10
SPECIAL = [
    b"",
    b"[]",
    b"null",
    b'"7"',
    b"2.0",
    b"[" * 100_000,
    b'{"a":' * 200,
    b"\xff\xfe",
    b"{" + b" " * 10**6,
    b"1" * 5000,
]


def damaged(whole: bytes, seed: int) -> Iterator[bytes]:
    """Thirty variants of a file: whole replacements, cuts, flipped bits (mostly near the start, where headers are)."""
    chance = random.Random(seed)
    yield from SPECIAL
    for _ in range(8):
        yield whole[: chance.randrange(len(whole))]
    for _ in range(16):
        data = bytearray(whole)
        for _ in range(chance.choice((1, 1, 5))):
            data[chance.randrange(min(len(data), chance.choice((64, 2000, len(data)))))] ^= 1 << chance.randrange(8)
        yield bytes(data)


def survives(file: Path, read: Callable[[], Any], errors: tuple[type[Exception], ...]) -> None:
    whole = file.read_bytes()
    for number, variant in enumerate(damaged(whole, seed=len(file.name))):
        file.write_bytes(variant)
        start = time.process_time()
        try:
            read()
        except errors as error:
            assert len(str(error)) < 5000, number
        assert time.process_time() - start < 1, number  # of our own: a busy machine makes everything slow
    file.write_bytes(whole)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(TEXTS, vocab_size=320)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_model_folder(tmp_path: Path, tokenizer: Tokenizer, name: str) -> None:
    save_pretrained(random_model(preset("pico", vocab_size=320)), tokenizer, tmp_path)
    survives(tmp_path / name, lambda: load_pretrained(tmp_path), (ValueError,))


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
def test_a_tokenizer(tmp_path: Path, tokenizer: Tokenizer, name: str) -> None:
    tokenizer.save(tmp_path)
    survives(tmp_path / name, lambda: Tokenizer.load(tmp_path), (ValueError,))


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_an_adapter(tmp_path: Path, name: str) -> None:
    model = random_model(preset("pico", vocab_size=300))
    add_adapter(model, LoRAConfig(rank=2))
    save_adapter(model, tmp_path)
    plain = random_model(preset("pico", vocab_size=300))
    numbers = iter(range(1000))
    survives(tmp_path / name, lambda: load_adapter(plain, tmp_path, f"n{next(numbers)}"), (LoRAError,))


def test_a_gguf_file(tmp_path: Path, tokenizer: Tokenizer) -> None:
    torch.manual_seed(0)
    model = Transformer(preset("pico", vocab_size=320, rope_theta=1e4))
    file = write(tmp_path / "a.gguf", model, tokenizer, template=None)
    survives(file, lambda: load_gguf(file), (GGUFError,))


@pytest.mark.parametrize("value", [7, True, None, [], {}, "a", [1], 10**30], ids=str)
@pytest.mark.parametrize("field", ["model", "added_tokens", "decoder", "pre_tokenizer", "version", "post_processor"])
def test_any_value_in_a_tokenizer_file(tmp_path: Path, tokenizer: Tokenizer, field: str, value: object) -> None:
    tokenizer.save(tmp_path)
    state = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8")) | {field: value}
    (tmp_path / "tokenizer.json").write_text(json.dumps(state), encoding="utf-8")
    try:
        Tokenizer.load(tmp_path)
    except ValueError as error:
        assert str(tmp_path) in str(error)
