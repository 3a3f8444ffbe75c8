"""Our models as GGUF files: read back with equal logits and tokens, in transformers too, and what is refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from model_kit import YARN, random_model
from test_kept_templates import ATTACKS, TALK, THIRD, published
from typer.testing import CliRunner

from minimind_lite.cli import app
from minimind_lite.config import ModelConfig
from minimind_lite.interop.gguf import GGUFError, GGUFFile, load_gguf
from minimind_lite.interop.gguf_export import architecture_of, export_gguf, ollama_modelfile
from minimind_lite.model.lora import LoRAConfig, add_adapter
from minimind_lite.model.pretrained import save_pretrained
from minimind_lite.tokenizer import Tokenizer

TEXTS = ["The whale swam under the ship in 1851. 床前明月光，疑是地上霜。"] * 10
SMALL = {"vocab_size": 330, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
         "num_key_value_heads": 2, "intermediate_size": 96}  # fmt: skip
ROUTED = {**SMALL, "num_experts": 4, "num_experts_per_tok": 2}
CONFIGS = {
    "llama": ModelConfig(**SMALL, head_dim=32),
    "llama untied": ModelConfig(**SMALL, tie_word_embeddings=False, rope_theta=1e4, rms_norm_eps=1e-6),
    "llama with experts": ModelConfig(**ROUTED),
    "qwen3": ModelConfig(**SMALL, qk_norm=True),
    "qwen3moe": ModelConfig(**(ROUTED | {"num_experts_per_tok": 1}), qk_norm=True),
    "bailingmoe": ModelConfig(**ROUTED, num_shared_experts=1),
    "bailingmoe with two shared": ModelConfig(**ROUTED, num_shared_experts=2, norm_topk_prob=False),
}
IDS = torch.arange(40)[None] * 13 % 320


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(TEXTS, vocab_size=320, default_system="Be brief.")  # fewer than the model has rows


@pytest.mark.parametrize("name", CONFIGS)
def test_a_model_comes_back_with_equal_logits(tmp_path: Path, tokenizer: Tokenizer, name: str) -> None:
    model = random_model(CONFIGS[name]).eval()
    export_gguf(model, tokenizer, tmp_path / "a.gguf", "f32")
    assert GGUFFile(tmp_path / "a.gguf").get("general.architecture") == name.split()[0]
    loaded, again = load_gguf(tmp_path / "a.gguf")
    with torch.no_grad():
        torch.testing.assert_close(loaded.eval()(IDS), model(IDS)[..., :320], atol=1e-5, rtol=0)
    for field in (
        "num_experts_per_tok",
        "norm_topk_prob",
        "num_shared_experts",
        "rope_theta",
        "max_position_embeddings",
    ):
        assert getattr(loaded.config, field) == getattr(model.config, field)
    assert again.render(TALK) == tokenizer.render(TALK) and again.default_system == "Be brief."
    for text in (*TEXTS, *ATTACKS, "naïve  12.5\n\n\tx 😀"):
        assert again.encode(text) == tokenizer.encode(text)


# What a stored weight loses is at most half a step: 2⁻¹¹ of it in float16, 1/254 of its block's largest in Q8_0. Logits
# of these random models lie between -4 and 4. A token whose router is undecided may go to another expert, so what is
# bounded is the largest difference at the median position.
@pytest.mark.parametrize(("kind", "tolerance"), [("f16", 0.005), ("q8_0", 0.1)])
@pytest.mark.parametrize("name", CONFIGS)
def test_stored_in_fewer_bits_it_differs_by_little(
    tmp_path: Path, tokenizer: Tokenizer, name: str, kind: Any, tolerance: float
) -> None:
    model = random_model(CONFIGS[name]).eval()
    export_gguf(model, tokenizer, tmp_path / "a.gguf", kind)
    with torch.no_grad():
        difference = (load_gguf(tmp_path / "a.gguf")[0].eval()(IDS) - model(IDS)[..., :320]).abs().amax(dim=-1)
    assert 0 < difference.median() < tolerance
    assert model.config.num_experts or difference.max() < 2 * tolerance


# transformers' reader takes two sizes of Qwen3 from its own defaults, whatever the file says
READABLE = {"qwen3": {"head_dim": 128}, "qwen3moe": {"head_dim": 128, "intermediate_size": 768}}


@pytest.mark.parametrize("name", ["llama", "llama untied", "qwen3", "qwen3moe"])
def test_transformers_own_reader_gives_the_same_logits(tmp_path: Path, tokenizer: Tokenizer, name: str) -> None:
    from transformers import AutoModelForCausalLM

    model = random_model(replace(CONFIGS[name], **READABLE.get(name, {}))).eval()
    export_gguf(model, tokenizer, tmp_path / "a.gguf", "f32")
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="a.gguf", dtype=torch.float32)
    for layer in theirs.model.layers if name == "qwen3moe" else ():
        layer.mlp.gate.norm_topk_prob = True  # what llama.cpp always does, and transformers only if told
    with torch.no_grad():
        torch.testing.assert_close(theirs(IDS).logits, model(IDS)[..., :320], atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rope_scaling": YARN}, "without rope_scaling"),
        ({"qk_norm": True, "num_shared_experts": 1}, "shared experts together with QK-norm"),
        ({"qk_norm": True, "norm_topk_prob": False}, "experts without norm_topk_prob"),
        ({"norm_topk_prob": False}, "experts without norm_topk_prob"),
    ],
)
def test_what_llama_cpp_does_not_compute_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(GGUFError, match=words):
        architecture_of(replace(ModelConfig(**ROUTED), **changes))


def test_cuts_without_a_name_are_refused_and_nothing_is_left(tmp_path: Path, tokenizer: Tokenizer) -> None:
    from tokenizers import pre_tokenizers

    other = Tokenizer.train(TEXTS, vocab_size=320)
    other.backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    with pytest.raises(ValueError, match="no name for how this tokenizer cuts text"):
        export_gguf(random_model(CONFIGS["llama"]), other, tmp_path / "a.gguf")
    assert not list(tmp_path.iterdir())
    adapted = random_model(CONFIGS["llama"])
    add_adapter(adapted, LoRAConfig(rank=2))
    with pytest.raises(GGUFError, match="merge them first"):
        export_gguf(adapted, tokenizer, tmp_path / "a.gguf")


def test_deepseek_coders_cuts_as_published_have_the_name_too(tokenizer: Tokenizer) -> None:
    import json

    from minimind_lite.interop.gguf_tokenizer import cut_name

    cuts = json.loads(tokenizer.backend.to_str())["pre_tokenizer"]
    assert cut_name(cuts) == "deepseek-coder"
    cuts["pretokenizers"][3]["pattern"] = {"Regex": "[一-龥ࠀ-一가-\ud7ff]+"}
    assert cut_name(cuts) == "deepseek-coder"
    cuts["pretokenizers"][3]["pattern"] = {"Regex": "[一-龥]+"}
    with pytest.raises(ValueError, match="no name for how this tokenizer cuts text"):
        cut_name(cuts)


def test_rows_that_are_no_tokens_are_left_out(tmp_path: Path, tokenizer: Tokenizer) -> None:
    model = random_model(CONFIGS["llama untied"])
    export_gguf(model, tokenizer, tmp_path / "a.gguf", "f32")
    loaded, _ = load_gguf(tmp_path / "a.gguf")
    assert loaded.config.vocab_size == 320 == len(GGUFFile(tmp_path / "a.gguf").get("tokenizer.ggml.tokens"))
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        assert torch.equal(loaded.state_dict()[name], model.state_dict()[name][:320])


def test_the_chat_template_has_no_tag_of_transformers_alone(tmp_path: Path, tokenizer: Tokenizer) -> None:
    export_gguf(random_model(CONFIGS["llama"]), tokenizer, tmp_path / "a.gguf")
    template = GGUFFile(tmp_path / "a.gguf").get("tokenizer.chat_template")
    assert "generation %}" not in template.replace("add_generation", "") and "generation %}" in tokenizer.jinja()
    from jinja2 import Environment

    plain = Environment(trim_blocks=True, lstrip_blocks=True, autoescape=False).from_string(template)  # noqa: S701
    assert plain.render(messages=TALK) == tokenizer.decode(tokenizer.render(TALK).ids)


def test_a_kept_template_goes_out_and_comes_back(tmp_path: Path) -> None:
    kept = Tokenizer.load(published(tmp_path / "in", "third"))
    export_gguf(random_model(CONFIGS["qwen3"]), kept, tmp_path / "a.gguf", "f16")
    _, again = load_gguf(tmp_path / "a.gguf")
    assert again.template is not None and again.template.template == THIRD
    assert again.render(TALK) == kept.render(TALK)
    again.save(tmp_path / "out")
    assert Tokenizer.load(tmp_path / "out").render(TALK) == kept.render(TALK)


def test_a_modelfile_says_how_to_talk(tmp_path: Path, tokenizer: Tokenizer) -> None:
    said = ollama_modelfile(tokenizer, "a.gguf", 512)
    assert said.startswith("FROM ./a.gguf\n") and 'SYSTEM """Be brief."""' in said and "PARAMETER num_ctx 512" in said
    assert '{{ end }}<|im_start|>assistant\n"""' in said and 'PARAMETER stop "<|im_end|>"' in said
    plain = ollama_modelfile(Tokenizer.train(TEXTS, vocab_size=320), "a.gguf", 512)
    assert "SYSTEM" not in plain
    third = ollama_modelfile(Tokenizer.load(published(tmp_path, "third")), "a.gguf", 512)
    assert '<|im_start|>assistant\n<think>\n\n</think>\n\n"""' in third


def test_the_command_writes_both_files(tmp_path: Path, tokenizer: Tokenizer) -> None:
    model = random_model(CONFIGS["llama"])
    save_pretrained(model, tokenizer, tmp_path / "model")
    done = CliRunner().invoke(app, ["export", "gguf", str(tmp_path / "model"), str(tmp_path / "out" / "m.gguf")])
    assert done.exit_code == 0, done.output
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"m.gguf", "Modelfile"}
    wrong = ["export", "gguf", str(tmp_path / "model"), str(tmp_path / "m.gguf"), "--type", "q4"]
    refused = CliRunner().invoke(app, wrong)
    assert refused.exit_code == 1 and "must be one of f32, f16, q8_0" in refused.output


def test_nothing_but_a_gguf_file_is_written_over(tmp_path: Path, tokenizer: Tokenizer) -> None:
    model = random_model(CONFIGS["llama"]).eval()
    save_pretrained(model, tokenizer, tmp_path / "m")
    before = (tmp_path / "m" / "model.safetensors").read_bytes()
    for target, words in ((tmp_path / "m" / "model.safetensors", "is no GGUF file"), (tmp_path / "m", "is a folder")):
        done = CliRunner().invoke(app, ["export", "gguf", str(tmp_path / "m"), str(target)])
        assert done.exit_code == 1 and words in done.output.replace("\n", "")
    assert (tmp_path / "m" / "model.safetensors").read_bytes() == before
    assert not (tmp_path / "m" / "Modelfile").exists()


def test_a_modelfile_that_somebody_changed_is_kept(tmp_path: Path, tokenizer: Tokenizer) -> None:
    model = random_model(CONFIGS["llama"]).eval()
    for name in ("a.gguf", "a.gguf", "b.gguf"):  # written again, and for another file of the same model
        assert export_gguf(model, tokenizer, tmp_path / name, "f16")[1] == tmp_path / "Modelfile"
    assert (tmp_path / "Modelfile").read_text(encoding="utf-8").startswith("FROM ./b.gguf\n")
    edited = (tmp_path / "Modelfile").read_text(encoding="utf-8") + "PARAMETER temperature 0.2\n"
    (tmp_path / "Modelfile").write_text(edited, encoding="utf-8")
    assert export_gguf(model, tokenizer, tmp_path / "a.gguf", "f16")[1] == tmp_path / "a.Modelfile"
    assert (tmp_path / "Modelfile").read_text(encoding="utf-8") == edited
    assert (tmp_path / "a.Modelfile").read_text(encoding="utf-8").startswith("FROM ./a.gguf\n")
