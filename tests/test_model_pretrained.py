"""Model folders: ours opened by transformers, theirs opened by us, and every way in which a folder can be wrong."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from model_kit import YARN, random_model
from safetensors.torch import load_file, save_file

from minimind_lite.config import PRESETS, ConfigError, YarnScaling, preset
from minimind_lite.files import sha256_of
from minimind_lite.model.pretrained import (
    PretrainedError,
    config_from_hf,
    config_to_hf,
    load_pretrained,
    save_pretrained,
    weights_digest,
)

IDS = torch.arange(3, 90)[None]
VARIANTS: dict[str, dict[str, Any]] = {
    "llama": {},
    "llama untied": {"tie_word_embeddings": False, "rope_theta": 1e4},
    "llama yarn": {"rope_scaling": YARN},
    "qwen3_moe": {"qk_norm": True, "num_experts": 6, "num_experts_per_tok": 2, "router_balance_per": "batch"},
    "qwen3": {"qk_norm": True, "rms_norm_eps": 1e-6, "head_dim": 48},
}


def _close(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
def test_transformers_opens_ours_and_we_open_theirs(changes: dict[str, Any], tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = random_model(preset("pico", vocab_size=300, **changes))
    save_pretrained(model, None, tmp_path / "ours")
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "ours")
    with torch.no_grad():
        _close(model(IDS), theirs(IDS).logits)
        again = load_pretrained(tmp_path / "ours")
        assert again.config == model.config and torch.equal(again(IDS), model(IDS))
        theirs.save_pretrained(tmp_path / "theirs")
        back = load_pretrained(tmp_path / "theirs")
        assert back.config == model.config and torch.equal(back(IDS), model(IDS))


def test_the_tokenizer_beside_the_weights_opens_with_transformers(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    from minimind_lite.tokenizer import Tokenizer

    tokenizer = Tokenizer.train(["the whale, the white whale. 床前明月光,疑是地上霜。"] * 20, vocab_size=320)
    model = random_model(preset("pico", vocab_size=320))
    save_pretrained(model, tokenizer, tmp_path)
    text = "the white whale 明月"
    assert AutoTokenizer.from_pretrained(tmp_path)(text, add_special_tokens=False)["input_ids"] == tokenizer.encode(
        text
    )


def test_sharded_folders_of_transformers_open(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = random_model(preset("pico"))
    save_pretrained(model, None, tmp_path / "ours")
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "ours")
    theirs.save_pretrained(tmp_path / "shards", max_shard_size="1MB")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 1
    assert torch.equal(load_pretrained(tmp_path / "shards")(IDS), model(IDS))


def test_a_folder_s_weights_have_a_digest_in_one_file_or_in_shards(tmp_path: Path) -> None:
    with pytest.raises(PretrainedError, match="does not exist"):
        weights_digest(tmp_path)
    for number in (1, 2):
        (tmp_path / f"model-0000{number}-of-00002.safetensors").write_bytes(bytes([number]))
    shards = weights_digest(tmp_path)
    (tmp_path / "model-00002-of-00002.safetensors").write_bytes(b"other")
    assert weights_digest(tmp_path) != shards
    (tmp_path / "model.safetensors").write_bytes(b"whole")
    assert weights_digest(tmp_path) == sha256_of(tmp_path / "model.safetensors")


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("scaling", [None, YarnScaling()])
def test_a_config_survives_the_round_trip(name: str, scaling: YarnScaling | None) -> None:
    config = preset(name, rope_scaling=scaling)
    assert config_from_hf(json.loads(json.dumps(config_to_hf(config)))) == config


def test_a_config_written_by_transformers_4_is_read() -> None:
    old = config_to_hf(preset("pico", rope_scaling=YARN, rope_theta=5e5))
    del old["rope_parameters"]
    assert config_from_hf(old) == preset("pico", rope_scaling=YARN, rope_theta=5e5)
    old["rope_scaling"] = {"type": "yarn", "factor": 4.0}
    scaling = config_from_hf(old).rope_scaling
    assert scaling is not None and scaling.original_max_position_embeddings == 2048
    assert scaling.attention_factor == pytest.approx(1.1386294)  # 0.1 · ln 4 + 1


def test_absent_fields_take_the_defaults_of_transformers() -> None:
    from transformers import LlamaConfig, Qwen3Config

    from minimind_lite.model.modeling_minimind_moe import MiniMindMoeConfig

    sizes = {
        "vocab_size": 99,
        "hidden_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 96,
    }
    one_head = {"num_key_value_heads": 1}
    experts = {"num_experts": 3, "num_experts_per_tok": 1, "norm_topk_prob": True, "router_aux_loss_coef": 0.1,
               "router_balance_per": "batch", "qk_norm": False, "num_shared_experts": 1,
               "moe_intermediate_size": 48}  # fmt: skip
    kinds = ((LlamaConfig, {}), (Qwen3Config, one_head), (MiniMindMoeConfig, experts))
    for kind, given in ((kind, sizes | more) for kind, more in kinds):
        theirs = kind(**given)
        ours = config_from_hf(given | {"model_type": theirs.model_type, "pad_token_id": None, "eos_token_id": [7, 8]})
        for name in (
            "num_key_value_heads",
            "head_dim",
            "rms_norm_eps",
            "tie_word_embeddings",
            "max_position_embeddings",
        ):
            assert getattr(ours, name) == getattr(theirs, name), name
        assert ours.rope_theta == theirs.rope_parameters["rope_theta"]
        assert (ours.eos_token_id, ours.pad_token_id) == (7, 7)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model_type": "gpt2"}, "model_type is 'gpt2'"),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
        ({"attention_bias": True}, "attention_bias is True"),
        ({"rope_parameters": {"rope_type": "llama3", "factor": 8.0}}, "RoPE of type 'llama3' with factor"),
        ({"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}}, "partial_rotary_factor"),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 8.0, "mscale": 0.7}}, "mscale"),
        ({"hidden_size": None}, "hidden_size missing"),
        ({"num_key_value_heads": 3}, "num_attention_heads 4 is not divisible"),
    ],
)
def test_a_config_we_would_compute_differently_is_refused(changes: dict[str, Any], reason: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config_to_hf(preset("pico")) | changes), encoding="utf-8")
    with pytest.raises(ConfigError, match=reason) as refusal:
        load_pretrained(tmp_path)
    assert "config.json" in str(refusal.value)


def _edit(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        weights = {name: tensor.clone() for name, tensor in load_file(folder / "model.safetensors").items()}
        change(weights)
        save_file(weights, folder / "model.safetensors")

    return damage


def _cut(folder: Path) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])


def _pickle(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


NORM = "model.norm.weight"
DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (_edit(lambda w: w.pop(NORM)), f"missing: {NORM}"),
    "unexpected": (_edit(lambda w: w.update(extra=torch.zeros(1))), "unexpected: extra"),
    "mis-shaped": (
        _edit(lambda w: w.update({NORM: torch.ones(3)})),
        rf"{NORM} is \(3,\), config.json asks for \(64,\)",
    ),
    "other head": (_edit(lambda w: w.update({"lm_head.weight": torch.zeros(300, 64)})), "unexpected: lm_head.weight"),
    "cut short": (_cut, "damaged or cut short.*copy or save it again"),
    "pickle": (_pickle, "pytorch_model.bin is a pickle, which can run code"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "model.safetensors does not exist"),
    "no config": (lambda f: (f / "config.json").unlink(), "config.json does not exist"),
    "not JSON": (
        lambda f: (f / "config.json").write_text("{\n\n]", encoding="utf-8"),
        "config.json, line 3, .*not JSON",
    ),
}


@pytest.mark.parametrize(("damage", "reason"), DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_folder_is_refused_by_name(damage: Callable[[Path], object], reason: str, tmp_path: Path) -> None:
    save_pretrained(random_model(preset("pico", vocab_size=300)), None, tmp_path)
    damage(tmp_path)
    with pytest.raises(PretrainedError, match=reason) as refusal:
        load_pretrained(tmp_path)
    assert str(tmp_path) in str(refusal.value)


def test_what_older_writers_add_is_let_through(tmp_path: Path) -> None:
    model = random_model(preset("pico", vocab_size=300))
    save_pretrained(model, None, tmp_path)
    tied = model.model.embed_tokens.weight.detach()
    _edit(
        lambda w: w.update({"lm_head.weight": tied.clone(), "model.layers.0.self_attn.rotary_emb.inv_freq": tied[0]})
    )(tmp_path)
    assert torch.equal(load_pretrained(tmp_path)(IDS), model(IDS))


def test_the_precision_is_the_files_unless_asked_otherwise(tmp_path: Path) -> None:
    save_pretrained(random_model(preset("pico")).to(torch.bfloat16), None, tmp_path)
    assert json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))["dtype"] == "bfloat16"
    assert {one.dtype for one in load_pretrained(tmp_path).parameters()} == {torch.bfloat16}
    assert {one.dtype for one in load_pretrained(tmp_path, dtype=torch.float32).parameters()} == {torch.float32}


def test_a_loaded_model_trains_and_can_be_saved_over_its_own_file(tmp_path: Path) -> None:
    save_pretrained(random_model(preset("pico")), None, tmp_path)
    model = load_pretrained(tmp_path)
    model.loss(IDS[:, :-1], IDS[:, 1:])[0].backward()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter -= 0.1 * parameter.grad
    save_pretrained(model, None, tmp_path)
    assert torch.equal(load_pretrained(tmp_path)(IDS), model(IDS))


def test_a_save_that_fails_leaves_the_old_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = random_model(preset("pico"))
    save_pretrained(model, None, tmp_path)

    def full_disk(tensors: object, path: Path, metadata: object) -> None:
        path.write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr("minimind_lite.model.pretrained.save_file", full_disk)
    with pytest.raises(OSError, match="no space"):
        save_pretrained(random_model(preset("pico"), seed=1), None, tmp_path)
    assert torch.equal(load_pretrained(tmp_path)(IDS), model(IDS))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
