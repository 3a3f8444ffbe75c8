"""The decoder against transformers' Llama and Qwen3; initialisation, loss, checkpointing and long positions."""

import math
from typing import Any

import pytest
import torch
from model_kit import YARN, GrowingCache, random_model, twin

from minimind_lite.config import PRESETS, ModelConfig, preset
from minimind_lite.model.layers import FIRST_TABLE_LENGTH
from minimind_lite.model.transformer import Transformer

VARIANTS: dict[str, dict[str, Any]] = {
    "llama, grouped heads, tied": {},
    "llama, untied": {"tie_word_embeddings": False},
    "llama, every head its own keys": {"num_key_value_heads": 4},
    "llama, one key head": {"num_key_value_heads": 1, "rms_norm_eps": 1e-6},
    "llama with YaRN": {"rope_scaling": YARN},
    "qwen3": {"qk_norm": True, "rms_norm_eps": 1e-6},
    "qwen3, wide heads, untied": {"qk_norm": True, "head_dim": 48, "tie_word_embeddings": False},
    "qwen3 with YaRN": {"qk_norm": True, "rope_scaling": YARN},
}


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
def test_logits_loss_and_gradients_equal_transformers(changes: dict[str, Any]) -> None:
    ours = random_model(preset("pico", vocab_size=300, **changes))
    theirs = twin(ours)
    ids = torch.randint(1, 300, (3, 90))  # not 0: transformers gives the padding token's embedding no gradient
    labels = ids.clone()
    labels[:, :40] = -100  # a prompt that is not trained
    targets = torch.cat((labels[:, 1:], torch.full((3, 1), -100)), dim=1)

    reference = theirs(ids, labels=labels)
    torch.testing.assert_close(ours(ids), reference.logits, rtol=1e-5, atol=1e-5)
    total, count = ours.loss(ids, targets)
    assert count == 3 * 50
    torch.testing.assert_close(total / count, reference.loss, rtol=1e-5, atol=1e-5)
    (total / count).backward()
    reference.loss.backward()
    others = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, others[name].grad, rtol=1e-5, atol=1e-5, msg=lambda m, n=name: n + m)


def test_left_padded_batch_equals_transformers() -> None:
    ours = random_model(preset("pico", vocab_size=300))
    ids = torch.randint(0, 300, (2, 8))
    real = torch.tensor([[1] * 8, [0] * 5 + [1] * 3])
    position_ids = (real.cumsum(1) - 1).clamp(min=0)
    mask = real.bool()[:, None, None, :] & torch.ones(8, 8, dtype=torch.bool).tril()
    theirs = twin(ours)(ids, attention_mask=real, position_ids=position_ids).logits
    logits = ours(ids, position_ids=position_ids, attention_mask=mask)
    torch.testing.assert_close(logits[real.bool()], theirs[real.bool()], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["pico", "nano", "minimind2-small", "minimind3"])
def test_loss_at_the_start_is_that_of_knowing_nothing(name: str) -> None:
    """logsumexp − mean is the cross-entropy averaged over every possible target, so chance plays no part."""
    torch.manual_seed(0)
    model = Transformer(preset(name))
    ids = torch.randint(0, 6400, (1, 128))
    with torch.no_grad():
        logits = model(ids)
    assert float((logits.logsumexp(-1) - logits.mean(-1)).mean()) == pytest.approx(math.log(6400), rel=0.02)


def test_the_first_loss_of_a_batch_is_near_it_too() -> None:
    torch.manual_seed(0)
    ids = torch.randint(0, 6400, (8, 129))
    with torch.no_grad():
        total, count = Transformer(preset("nano")).loss(ids[:, :-1], ids[:, 1:])
    assert float(total / count) == pytest.approx(math.log(6400), rel=0.02)


def test_matrices_that_write_to_the_stream_start_smaller_with_depth() -> None:
    for layers in (2, 18):
        torch.manual_seed(0)
        model = Transformer(preset("nano", num_hidden_layers=layers))
        block = model.model.layers[0]
        for matrix in (block.self_attn.o_proj, block.mlp.down_proj):
            assert matrix.weight.std().item() == pytest.approx(0.02 / math.sqrt(2 * layers), rel=0.03)
        for matrix in (block.self_attn.q_proj, block.mlp.up_proj, model.model.embed_tokens):
            assert matrix.weight.std().item() == pytest.approx(0.02, rel=0.03)
        assert (block.input_layernorm.weight == 1).all()


@pytest.mark.parametrize("tied", [True, False])
def test_gradient_checkpointing_changes_no_gradient(tied: bool) -> None:
    model = random_model(preset("pico", tie_word_embeddings=tied))
    ids = torch.randint(0, 6400, (2, 17))
    gradients = []
    for model.gradient_checkpointing in (False, True):
        model.zero_grad()
        total, _ = model.loss(ids[:, :-1], ids[:, 1:])
        total.backward()
        gradients.append([parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None])
    assert len(gradients[0]) == len(list(model.parameters()))
    assert all(torch.equal(plain, recomputed) for plain, recomputed in zip(*gradients, strict=True))


def test_gradient_checkpointing_really_recomputes() -> None:
    model = random_model(preset("pico"))
    calls = []
    model.model.layers[0].mlp.register_forward_pre_hook(lambda *_: calls.append(1))
    model.gradient_checkpointing = True
    model.loss(torch.zeros(1, 3, dtype=torch.int64), torch.ones(1, 3, dtype=torch.int64))[0].backward()
    assert len(calls) == 2


def test_positions_beyond_the_table_work_and_equal_transformers() -> None:
    config = preset("pico", vocab_size=300, max_position_embeddings=64)
    model = random_model(config)
    ids = torch.randint(0, 300, (1, 4))
    far = torch.arange(4)[None] + 5 * FIRST_TABLE_LENGTH
    with torch.no_grad():
        expected = twin(model)(ids, position_ids=far).logits
        torch.testing.assert_close(model(ids, position_ids=far), expected, rtol=1e-5, atol=1e-5)
        cache = GrowingCache()
        cache.length = 5 * FIRST_TABLE_LENGTH  # as after a long chat: positions continue from here
        torch.testing.assert_close(model(ids, cache=cache), expected, rtol=1e-5, atol=1e-5)


def test_shifting_all_positions_changes_nothing() -> None:
    """Only distances matter: the whole decoder inherits that from RoPE."""
    model = random_model(preset("pico"))
    ids = torch.randint(0, 6400, (1, 12))
    shifted = model(ids, position_ids=torch.arange(12)[None] + 100)
    torch.testing.assert_close(shifted, model(ids), rtol=0, atol=1e-4)


def test_loss_counts_only_trained_positions_and_sums() -> None:
    model = random_model(preset("pico"))
    ids, targets = torch.randint(0, 6400, (2, 2, 9))
    targets[0, 3:] = -100
    total, count = model.loss(ids, targets)
    each = torch.nn.functional.cross_entropy(model(ids).flatten(0, 1), targets.flatten(), reduction="none")
    assert int(count) == 12
    torch.testing.assert_close(total, each.sum(), rtol=1e-5, atol=1e-4)


def test_loss_without_any_target_is_zero_with_zero_gradients() -> None:
    model = random_model(preset("pico"))
    ids = torch.zeros(1, 5, dtype=torch.int64)
    total, count = model.loss(ids, torch.full((1, 5), -100))
    total.backward()
    assert total.item() == 0 and int(count) == 0
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters() if parameter.grad is not None)


def test_a_later_token_changes_no_earlier_logit() -> None:
    model = random_model(preset("pico"))
    ids = torch.randint(0, 6400, (1, 10))
    changed = ids.clone()
    changed[0, 7] = (changed[0, 7] + 1) % 6400
    before, after = model(ids), model(changed)
    assert torch.equal(before[:, :7], after[:, :7]) and not torch.equal(before[:, 7:], after[:, 7:])


def test_foreign_token_ids_are_explained() -> None:
    with pytest.raises(ValueError, match=r"from 3 to 6400.*0\.\.6399.*another tokenizer"):
        Transformer(preset("pico"))(torch.tensor([[3, 6400]]))


def test_the_state_dict_is_the_file_format() -> None:
    config = preset("pico", num_hidden_layers=1)
    names = set(Transformer(config).state_dict())
    layer = "model.layers.0."
    projections = {f"{layer}self_attn.{one}_proj.weight" for one in "qkvo"}
    assert names == projections | {
        "model.embed_tokens.weight",
        f"{layer}input_layernorm.weight",
        f"{layer}post_attention_layernorm.weight",
        f"{layer}mlp.gate_proj.weight",
        f"{layer}mlp.up_proj.weight",
        f"{layer}mlp.down_proj.weight",
        "model.norm.weight",
    }
    qwen = ModelConfig(**(vars(config) | {"qk_norm": True, "tie_word_embeddings": False}))
    extra = {"lm_head.weight", f"{layer}self_attn.q_norm.weight", f"{layer}self_attn.k_norm.weight"}
    assert set(Transformer(qwen).state_dict()) == names | extra


@pytest.mark.parametrize("name", [name for name, config in PRESETS.items() if not config.num_experts])
def test_names_and_shapes_equal_transformers(name: str) -> None:
    from transformers import AutoModelForCausalLM, LlamaConfig, Qwen3Config

    from minimind_lite.model.pretrained import config_to_hf

    config = preset(name)
    kind = Qwen3Config if config.qk_norm else LlamaConfig
    with torch.device("meta"):
        ours, theirs = Transformer(config), AutoModelForCausalLM.from_config(kind(**config_to_hf(config)))
    shapes = {key: value.shape for key, value in theirs.state_dict().items() if key != "lm_head.weight"}
    assert {key: value.shape for key, value in ours.state_dict().items()} == shapes
