"""Our GGUF files in llama.cpp itself: the same tokens of texts and conversations, the same greedy answers."""

from dataclasses import replace
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from model_kit import random_model
from test_gguf_export import CONFIGS

from minimind_lite.files import repository_root
from minimind_lite.generation.engine import generate
from minimind_lite.interop.gguf_export import export_gguf
from minimind_lite.tokenizer import Tokenizer

HOW = "llama-cpp-python is not installed; pip install '.[llama-cpp]' builds it, in 8 to 26 minutes"
pytest.importorskip("llama_cpp", reason=HOW)
pytestmark = [pytest.mark.slow, pytest.mark.weekly]


@pytest.fixture(scope="module")
def compared() -> Any:
    """The command that compares with llama.cpp."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(repository_root() / "benchmarks"))
        yield import_module("gguf_in_llama_cpp")


@pytest.fixture(scope="module")
def tokenizer(compared: Any) -> Tokenizer:
    return Tokenizer.train(islice(compared.texts(), 4000), vocab_size=1024)


@pytest.fixture
def opened(compared: Any, tmp_path: Path, tokenizer: Tokenizer) -> Any:
    """A function that writes a model's file and opens it in llama.cpp."""
    peers = []

    def open_file(model: Any, kind: Any = "f32", its: Tokenizer = tokenizer) -> Any:
        peers.append(compared.GGUFPeer(export_gguf(model, its, tmp_path / "a.gguf", kind)[0], context=512))
        return peers[-1]

    yield open_file
    for peer in peers:
        peer.close()


def model_of(name: str, tokenizer: Tokenizer, more: int = 0) -> Any:
    """A random model with ``more`` rows than the tokenizer has tokens."""
    return random_model(replace(CONFIGS[name], vocab_size=tokenizer.vocab_size + more)).eval()


@pytest.mark.parametrize("name", CONFIGS)
def test_greedy_answers_are_the_same(compared: Any, opened: Any, tokenizer: Tokenizer, name: str) -> None:
    model = model_of(name, tokenizer, more=10)
    peer, prompts = opened(model), compared.prompts(tokenizer)[::4]
    assert peer.vocab_size == tokenizer.vocab_size  # it has no row that is not a token, and so cannot say one
    ours = [one.ids for one in generate(model, tokenizer, prompts, max_new_tokens=32, eos_ids=())]
    assert [peer.greedy([prompt], 32)[0] for prompt in prompts] == ours
    with torch.no_grad():
        logits = model(torch.tensor([prompts[0]]))[0, :, : tokenizer.vocab_size]
    torch.testing.assert_close(torch.from_numpy(peer.logits(prompts[0])), logits, atol=1e-4, rtol=0)


# As in test_gguf_export, where our own reader is bounded; llama.cpp also rounds what it multiplies by these matrices.
@pytest.mark.parametrize(("kind", "tolerance"), [("f16", 0.01), ("q8_0", 0.2)])
@pytest.mark.parametrize("name", CONFIGS)
def test_in_fewer_bits_logits_differ_by_little(
    compared: Any, opened: Any, tokenizer: Tokenizer, name: str, kind: str, tolerance: float
) -> None:
    model, ids = model_of(name, tokenizer), compared.prompts(tokenizer)[0]
    with torch.no_grad():
        difference = (torch.from_numpy(opened(model, kind).logits(ids)) - model(torch.tensor([ids]))[0]).abs()
    assert 0 < difference.amax(dim=-1).median() < tolerance


def test_a_wide_space_is_in_no_run_of_chinese(opened: Any) -> None:
    poem = "\u3000\u3000床前明月光，\u2003疑是地上霜。\n\u3000\u3000举头望明月\u3000低头思故乡\u205f不"
    wide = Tokenizer.train([poem] * 5, vocab_size=400)
    assert any(b"\xe3\x80\x80" in wide.token_bytes(token) for token in wide.encode(poem))
    peer = opened(model_of("llama", wide), its=wide)
    for text in (poem, *poem.split("，"), "\u3000床", "\u3000A", "霜\u3000\u3000霜", "\u2003疑"):
        assert peer.encode(text) == wide.encode(text)


def test_texts_and_conversations_become_the_same_tokens(compared: Any, opened: Any, tokenizer: Tokenizer) -> None:
    peer = opened(model_of("llama", tokenizer))
    text, chat = compared.same_tokens(tokenizer, peer), compared.same_layouts(tokenizer, peer)
    assert text["texts"] > 10_000 and not text["different"], text["first"]
    assert chat["conversations"] > 100 and not any(chat["different"].values())
