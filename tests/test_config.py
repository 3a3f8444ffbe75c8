"""The configuration: sizes as published, counts as built, and impossible settings refused with the reason."""

import pytest
import torch

from minimind_lite.config import PRESETS, ConfigError, count_parameters, default_intermediate_size, preset
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
@pytest.mark.parametrize("name", [name for name, config in PRESETS.items() if not config.num_experts])
def test_count_equals_the_model_that_is_built(name: str, tied: bool) -> None:
    config = preset(name, tie_word_embeddings=tied)
    with torch.device("meta"):
        model = Transformer(config)
    built = sum(parameter.numel() for parameter in model.parameters())
    assert built == count_parameters(config)
    if tied and name in PUBLISHED:
        assert built == PUBLISHED[name]


@pytest.mark.parametrize("name", [name for name, config in PRESETS.items() if config.num_experts])
def test_experts_are_refused_until_their_chapter(name: str) -> None:
    with pytest.raises(ConfigError, match="chapter 06"):
        Transformer(preset(name))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"num_attention_heads": 6, "num_key_value_heads": 2}, "hidden_size 512 is not divisible"),
        ({"num_key_value_heads": 3}, "num_attention_heads 8 is not divisible by num_key_value_heads 3"),
        ({"num_key_value_heads": 16}, "not divisible by num_key_value_heads 16"),
        ({"head_dim": 63}, "head_dim 63 is odd"),
        ({"hidden_size": 8, "num_attention_heads": 8}, "head_dim 1 is odd"),
        ({"eos_token_id": 6400}, "eos_token_id 6400 is outside the vocabulary"),
        ({"pad_token_id": -1}, "pad_token_id -1 is outside"),
        ({"num_hidden_layers": 0}, "num_hidden_layers must be above 0"),
        ({"num_attention_heads": 0}, "num_attention_heads must be above 0"),
        ({"rms_norm_eps": 0.0}, "rms_norm_eps must be above 0"),
        ({"rope_theta": float("nan")}, "rope_theta must be above 0"),
        ({"num_experts_per_tok": 2}, "num_experts is 0"),
        ({"num_experts": 4}, "num_experts_per_tok 0 must lie between 1 and num_experts 4"),
        ({"num_experts": 4, "num_experts_per_tok": 5}, "num_experts_per_tok 5"),
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
