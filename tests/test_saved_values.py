"""What is saved is what is loaded: flipped bits, NaN, half-written folders, configs and adapters that say too much."""

import dataclasses
import hashlib
import json
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from model_kit import random_model
from safetensors.torch import load_file, save_file

from minimind_lite.config import ConfigError, preset
from minimind_lite.generation.chat import Chat
from minimind_lite.model.attention import KVCache
from minimind_lite.model.layers import inverse_frequencies
from minimind_lite.model.lora import (
    _ANYTHING,
    _PLAIN,
    CONFIG,
    WEIGHTS,
    LoRAConfig,
    LoRAError,
    add_adapter,
    load_adapter,
    merge,
    merged,
    save_adapter,
)
from minimind_lite.model.pretrained import (
    INCOMPLETE,
    PretrainedError,
    config_from_hf,
    config_to_hf,
    load_pretrained,
    save_pretrained,
)

PICO = preset("pico", vocab_size=300)
FILE = "model.safetensors"


def test_a_flipped_bit_is_named_and_can_be_ignored(tmp_path: Path) -> None:
    save_pretrained(random_model(PICO), None, tmp_path)
    data = bytearray((tmp_path / FILE).read_bytes())
    data[-5] ^= 1
    (tmp_path / FILE).write_bytes(data)
    with pytest.raises(PretrainedError, match=r"model\.\S+ is not what was saved"):
        load_pretrained(tmp_path)
    assert load_pretrained(tmp_path, check_values=False).config == PICO


def test_numbers_that_are_not_finite_are_named_and_counted(tmp_path: Path) -> None:
    model = random_model(PICO)
    model.model.norm.weight.data[:3] = torch.nan
    save_pretrained(model, None, tmp_path)
    with pytest.raises(PretrainedError, match=r"3 of the 64 numbers in model\.norm\.weight are NaN"):
        load_pretrained(tmp_path)


def test_folders_of_others_have_no_digests_and_are_read(tmp_path: Path) -> None:
    save_pretrained(random_model(PICO), None, tmp_path)
    save_file(load_file(tmp_path / FILE), tmp_path / FILE, metadata={"format": "pt"})
    assert load_pretrained(tmp_path).config == PICO


def test_equal_models_give_equal_files(tmp_path: Path) -> None:
    for run in range(8):
        save_pretrained(random_model(PICO), None, tmp_path / str(run))
    assert len({hashlib.sha256((tmp_path / str(run) / FILE).read_bytes()).digest() for run in range(8)}) == 1


def test_a_kill_between_the_files_of_a_folder_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_pretrained(random_model(PICO), None, tmp_path)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("minimind_lite.model.pretrained.json.dumps", killed)
        save_pretrained(random_model(PICO, seed=1), None, tmp_path)
    assert load_pretrained(tmp_path).config == PICO  # before the first file: the old model is whole

    class Killed:
        def save(self, folder: Path) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save_pretrained(random_model(PICO, seed=1), Killed(), tmp_path)
    with pytest.raises(PretrainedError, match="may not belong together"):
        load_pretrained(tmp_path)
    save_pretrained(random_model(PICO, seed=1), None, tmp_path)
    assert not (tmp_path / INCOMPLETE).exists() and load_pretrained(tmp_path).config == PICO


@pytest.mark.parametrize("in_weights", [False, True])
def test_a_model_with_adapters_is_not_saved_as_a_plain_one(tmp_path: Path, in_weights: bool) -> None:
    model = random_model(PICO)
    add_adapter(model, LoRAConfig(rank=2))
    if in_weights:
        merge(model)
    with pytest.raises(PretrainedError, match=r"save_adapter\(model, folder\).*merged\(model\)"):
        save_pretrained(model, None, tmp_path)
    save_pretrained(merged(model), None, tmp_path)
    assert load_pretrained(tmp_path).config == PICO


@pytest.mark.parametrize("content", ["[]", "null", '"700"', "2.0", "[" * 100_000, "{" * 50, "", "\xff", "1" * 5000])
def test_any_config_json_is_an_error_of_ours(tmp_path: Path, content: str) -> None:
    save_pretrained(random_model(PICO), None, tmp_path)
    (tmp_path / "config.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(PretrainedError, match=r"config\.json"):
        load_pretrained(tmp_path)


WRONG = [
    None,
    True,
    -1,
    0,
    10**9,
    10**30,
    0.5,
    1e308,
    float("nan"),
    float("inf"),
    "7",
    "",
    [],
    [1],
    ["a"],
    {},
    {"a": 1},
]


@pytest.mark.parametrize("name", sorted(config_to_hf(preset("pico-moe")) | config_to_hf(PICO)))
def test_any_value_in_a_config_is_read_or_refused_at_once(tmp_path: Path, name: str) -> None:
    save_pretrained(random_model(PICO), None, tmp_path)
    for value in WRONG:
        (tmp_path / "config.json").write_text(json.dumps(config_to_hf(PICO) | {name: value}), encoding="utf-8")
        start = time.monotonic()
        try:
            load_pretrained(tmp_path)
        except (PretrainedError, ConfigError) as error:
            assert str(tmp_path) in str(error) and len(str(error)) < 2000
        assert time.monotonic() - start < 1


@pytest.mark.parametrize("value", WRONG)
@pytest.mark.parametrize("name", ["rope_theta", "factor", "original_max_position_embeddings", "beta_fast", "rope_type"])
def test_any_rope_is_read_or_refused(name: str, value: object) -> None:
    rope = {"rope_type": "yarn", "factor": 4.0, "rope_theta": 1e4, name: value}
    try:
        config = config_from_hf(config_to_hf(PICO) | {"rope_parameters": rope})
    except ConfigError:
        return
    assert inverse_frequencies(config).isfinite().all()


@pytest.mark.parametrize("family", ["llama", "qwen3", "qwen3_moe"])
def test_every_default_is_that_of_transformers(family: str) -> None:
    from transformers import AutoConfig

    given: dict[str, Any] = {"vocab_size": 999, "hidden_size": 4096, "num_hidden_layers": 1,
                             "num_attention_heads": 32, "intermediate_size": 96}  # fmt: skip
    theirs, ours = AutoConfig.for_model(family, **given), config_from_hf(given | {"model_type": family})
    other_names = {
        "num_experts": "num_local_experts",
        "intermediate_size": "moe_intermediate_size" if family == "qwen3_moe" else "intermediate_size",
    }
    for field in dataclasses.fields(ours):
        wanted = getattr(theirs, other_names.get(field.name, field.name), None)
        if wanted is not None and field.name != "rope_scaling":
            assert getattr(ours, field.name) == wanted, field.name
    assert ours.rope_theta == theirs.rope_parameters["rope_theta"]
    assert ours.head_dim == (getattr(theirs, "head_dim", None) or 128)


def adapter(folder: Path, **changes: object) -> None:
    model = random_model(PICO)
    add_adapter(model, LoRAConfig(rank=2))
    save_adapter(model, folder)
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    (folder / CONFIG).write_text(json.dumps(config | changes), encoding="utf-8")


@pytest.mark.parametrize(
    "changes",
    [
        *({"init_lora_weights": start} for start in ("pissa", "pissa_niter_4", "olora", "corda", "eva", "loftq", 7)),
        {"use_rslora": True}, {"use_qalora": True}, {"target_parameters": ["a"]}, {"layer_replication": [[0, 2]]},
        {"alora_invocation_tokens": [1]}, {"some_later_feature": True}, {"r": 10**9}, {"r": True}, {"r": "2"},
        {"lora_alpha": "x"}, {"lora_alpha": float("nan")}, {"lora_alpha": 10**400}, {"lora_dropout": float("inf")},
        {"lora_alpha": 3.0}, {"peft_type": []},
    ],
)  # fmt: skip
def test_an_adapter_of_another_kind_is_refused(tmp_path: Path, changes: dict[str, object]) -> None:
    adapter(tmp_path, **changes)
    with pytest.raises(LoRAError, match=str(tmp_path)):
        load_adapter(random_model(PICO), tmp_path)


def test_every_key_of_pefts_config_is_known_plain_or_refused() -> None:
    """A field that a later PEFT adds fails here: decide what it changes. Until then a value in it is refused."""
    peft = pytest.importorskip("peft")
    refused = {
        "eva_config", "corda_config", "lora_ga_config", "velora_config", "alora_invocation_tokens", "use_qalora",
        "monteclora_config", "layer_replication", "target_parameters", "use_bdlora", "arrow_config", "kasa_config",
        "ensure_weight_tying",
    }  # fmt: skip
    fields = {field.name for field in dataclasses.fields(peft.LoraConfig)}
    assert fields - _ANYTHING - _PLAIN.keys() == refused


def test_a_changed_adapter_is_refused(tmp_path: Path) -> None:
    adapter(tmp_path)
    data = bytearray((tmp_path / WEIGHTS).read_bytes())
    data[-1] ^= 1
    (tmp_path / WEIGHTS).write_bytes(data)
    with pytest.raises(LoRAError, match="is not what was saved"):
        load_adapter(random_model(PICO), tmp_path)
    load_adapter(random_model(PICO), tmp_path, check_values=False)


def test_a_cache_keeps_the_rows_asked_for_and_forgets_the_others() -> None:
    cache = KVCache(PICO, batch_size=4, max_length=3)
    rows = torch.arange(4.0)[:, None, None, None].expand(4, PICO.num_key_value_heads, 2, PICO.head_dim)
    for layer in range(PICO.num_hidden_layers):
        cache.update(layer, rows, -rows)
    cache.keep([1, 3])
    assert cache.keys.shape[1] == cache.values.shape[1] == 2
    assert cache.keys[0, :, 0, :2, 0].tolist() == [[1, 1], [3, 3]] == (-cache.values[1, :, 0, :2, 0]).tolist()


@pytest.mark.parametrize("theta", [50.0, 1e4])
def test_yarns_bounds_equal_transformers(theta: float) -> None:
    from transformers import LlamaConfig
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    rope = {"rope_type": "yarn", "rope_theta": theta, "factor": 16.0, "original_max_position_embeddings": 32768}
    values = config_to_hf(preset("pico", head_dim=8)) | {"rope_parameters": rope}
    theirs, _ = ROPE_INIT_FUNCTIONS["yarn"](LlamaConfig(**values), "cpu")
    torch.testing.assert_close(inverse_frequencies(config_from_hf(values)), theirs)


def test_a_conversation_given_to_chat_is_continued() -> None:
    said = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]
    chat = Chat(random_model(PICO), None, None, messages=list(said))  # type: ignore[arg-type]
    assert chat.messages == said
    with_system = Chat(random_model(PICO), None, None, "Be brief.", messages=list(said))  # type: ignore[arg-type]
    assert with_system.messages == [{"role": "system", "content": "Be brief."}, *said]
