"""The configuration: published sizes, counts of real models, and impossible settings refused with the reason."""

import pytest
import torch

from minimind_lite.config import (
    PRESETS,
    ConfigError,
    count_active_parameters,
    count_parameters,
    default_intermediate_size,
    dense_twin,
    preset,
)
from minimind_lite.model.transformer import Transformer

PUBLISHED = {
    "minimind2-small": 25_829_888,
    "minimind2": 104_030_976,
    "minimind2-moe": 145_029_760,
    "minimind3": 63_912_192,
    "minimind3-moe": 198_416_640,
    "minimind-v1-small": 26_878_464,
    "minimind-v1": 108_749_568,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_count_equals_the_published_number(name: str) -> None:
    assert count_parameters(preset(name)) == PUBLISHED[name]


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("name", PRESETS)
def test_count_equals_the_model_that_is_built(name: str, tied: bool) -> None:
    config = preset(name, tie_word_embeddings=tied)
    with torch.device("meta"):
        model = Transformer(config)
    built = sum(parameter.numel() for parameter in model.parameters())
    assert built == count_parameters(config)
    if tied and name in PUBLISHED:
        assert built == PUBLISHED[name]


@pytest.mark.parametrize("name", PRESETS)
def test_the_active_parameters_are_those_of_a_model_with_the_visited_experts_only(name: str) -> None:
    config = preset(name)
    twin = dense_twin(config)
    routers = config.num_hidden_layers * config.num_experts * config.hidden_size
    assert twin.num_experts == 0 and count_active_parameters(config) == count_parameters(twin) + routers
    assert dense_twin(twin) == twin


def test_the_published_active_count_of_minimind3_moe() -> None:
    assert round(count_active_parameters(preset("minimind3-moe")) / 1e6) == 64


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"num_attention_heads": 6, "num_key_value_heads": 2}, "hidden_size 512 is not divisible"),
        ({"num_key_value_heads": 3}, "num_attention_heads 8 is not divisible by num_key_value_heads 3"),
        ({"num_key_value_heads": 16}, "not divisible by num_key_value_heads 16"),
        ({"head_dim": 63}, "head_dim 63 is odd"),
        ({"hidden_size": 8, "num_attention_heads": 8}, "head_dim 1 is odd"),
        ({"eos_token_id": 6400}, "eos_token_id 6400 is outside the vocabulary"),
        ({"pad_token_id": -1}, "pad_token_id must be a whole number, 0 or more"),
        ({"num_hidden_layers": 0}, "num_hidden_layers must be a whole number, 1 or more, not 0"),
        ({"num_attention_heads": 0}, "num_attention_heads must be a whole number, 1 or more"),
        ({"rms_norm_eps": 0.0}, "rms_norm_eps must be a number, above 0"),
        ({"rope_theta": float("nan")}, "rope_theta must be a number, above 0, not nan"),
        ({"num_experts_per_tok": 2}, "num_experts is 0"),
        ({"num_experts": 4}, "num_experts_per_tok 0 must lie between 1 and num_experts 4"),
        ({"num_experts": 4, "num_experts_per_tok": 5}, "num_experts_per_tok 5"),
        ({"router_aux_loss_coef": -0.1}, "router_aux_loss_coef must be a number, 0 or more"),
        ({"router_balance_per": "token"}, "router_balance_per must be one of sequence, batch, not 'token'"),
        ({"hiden_size": 64}, "no field hiden_size.*it has: vocab_size, hidden_size"),
    ],
)
def test_impossible_settings_are_refused_with_the_reason(changes: dict[str, float], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        preset("minimind2-small", **changes)


def test_an_unknown_preset_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="minimind2-small, minimind2, "):
        preset("minimind9")


def test_the_head_size_follows_a_changed_width() -> None:
    assert preset("nano").head_dim == 32
    assert preset("nano", hidden_size=256).head_dim == 64
    assert preset("nano", num_attention_heads=8).head_dim == 16
    assert preset("nano", hidden_size=256, head_dim=32).head_dim == 32


def test_default_widths_are_the_published_ones() -> None:
    for name in ("minimind2-small", "minimind2", "minimind2-moe"):
        assert default_intermediate_size(PRESETS[name].hidden_size) == PRESETS[name].intermediate_size
    assert default_intermediate_size(768, 3.14159265) == PRESETS["minimind3"].intermediate_size
