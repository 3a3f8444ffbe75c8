"""Mixture of experts against a naive per-token reference and transformers' Qwen3-MoE; balance, gradients, folders."""

import json
import logging
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from model_kit import GrowingCache, random_model
from torch import Tensor
from training_kit import tiny_data

from minimind_lite.config import ConfigError, ModelConfig, preset
from minimind_lite.model.attention import document_mask
from minimind_lite.model.losses import Loss, next_token_loss
from minimind_lite.model.moe import (
    MixtureOfExperts,
    Routing,
    balance_loss,
    expert_loads,
    load_entropy,
    recorded_routing,
)
from minimind_lite.model.pretrained import config_from_hf, config_to_hf, load_pretrained, save_pretrained
from minimind_lite.model.transformer import Transformer
from minimind_lite.training.dpo import DPOOptions, dpo_loss
from minimind_lite.training.loop import train
from minimind_lite.training.options import TrainConfig

IDS = torch.arange(3, 43).view(2, 20)
TINY = preset("pico", hidden_size=16, intermediate_size=12, num_experts=4, num_experts_per_tok=2)


def layer_of(config: ModelConfig, seed: int = 0, spread: float = 0.5) -> MixtureOfExperts:
    torch.manual_seed(seed)
    layer = MixtureOfExperts(config)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=spread)
    return layer


def naive(layer: MixtureOfExperts, x: Tensor) -> Tensor:
    """Token by token and expert by expert, straight from the formula."""
    rows = []
    for token in x.flatten(0, 1):
        scores = [token @ row for row in layer.gate.weight]
        total = sum(score.exp() for score in scores)
        probabilities = [score.exp() / total for score in scores]
        ranked = sorted(range(len(scores)), key=lambda e: -float(probabilities[e].detach()))[: layer.experts_per_token]
        share = sum(probabilities[e] for e in ranked) if layer.normalise else torch.tensor(1.0)
        if len(ranked) == 1:
            share = share.detach()
        mixed = torch.zeros_like(token)
        for e in ranked:
            one: Any = layer.experts[e]
            inner = F.silu(one.gate_proj.weight @ token) * (one.up_proj.weight @ token)
            mixed = mixed + probabilities[e] / share * (one.down_proj.weight @ inner)
        for shared in layer.shared_experts:
            mixed = mixed + shared(token)
        rows.append(mixed)
    return torch.stack(rows).view(x.shape)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_equals_the_naive_reference_in_output_and_gradients(data: st.DataObject) -> None:
    experts = data.draw(st.integers(1, 6), label="experts")
    config = replace(
        TINY, num_experts=experts,
        num_experts_per_tok=data.draw(st.integers(1, experts), label="k"),
        num_shared_experts=data.draw(st.integers(0, 2), label="shared"),
        norm_topk_prob=data.draw(st.booleans(), label="normalise"),
    )  # fmt: skip
    layer = layer_of(config, seed=data.draw(st.integers(0, 99), label="seed"), spread=0.3)
    x = torch.randn(data.draw(st.integers(1, 3)), data.draw(st.integers(1, 7)), 16, requires_grad=True)
    upstream = torch.randn_like(x)
    inputs = (x, *layer.parameters())
    ours, theirs = layer(x), naive(layer, x)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    grads = torch.autograd.grad(ours, inputs, upstream)
    wanted = torch.autograd.grad(theirs, inputs, upstream, allow_unused=True)
    for mine, other, of in zip(grads, wanted, inputs, strict=True):
        # A lone expert's router has a gradient of zero, computed as a difference of sums of some tens.
        torch.testing.assert_close(mine, torch.zeros_like(of) if other is None else other, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("normalise", [True, False])
def test_top_1_keeps_a_router_gradient(normalise: bool) -> None:
    layer = layer_of(replace(TINY, num_experts_per_tok=1, norm_topk_prob=normalise))
    x = torch.randn(2, 5, 16)
    layer(x).square().sum().backward()
    assert layer.gate.weight.grad is not None and layer.gate.weight.grad.abs().max() > 1e-3
    with torch.no_grad(), recorded_routing(layer) as routings:
        y = layer(x)
        (routing,) = routings
        best = routing.probabilities.max(dim=-1, keepdim=True).values
        layer.normalise = not normalise
        other = layer(x)
    torch.testing.assert_close(y, other / best if normalise else other * best)


def test_an_expert_without_visits_gets_a_gradient_of_zero() -> None:
    layer = layer_of(replace(TINY, num_experts_per_tok=1, norm_topk_prob=False))
    x = torch.rand(1, 6, 16)
    with torch.no_grad():
        layer.gate.weight.copy_(torch.tensor([0.0, 1.0, 0.0, 0.0])[:, None].expand(4, 16))
    layer(x).sum().backward()
    for number, expert in enumerate(layer.experts):
        for parameter in expert.parameters():
            assert parameter.grad is not None and parameter.grad.isfinite().all()
            assert bool(parameter.grad.any()) == (number == 1)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_keeps_its_dtype_and_does_not_overflow(dtype: torch.dtype) -> None:
    layer = layer_of(replace(TINY, num_experts_per_tok=4), spread=0.1)
    exact = layer_of(replace(TINY, num_experts_per_tok=4), spread=0.1)
    layer.to(dtype)
    x = torch.randn(2, 9, 16)
    torch.testing.assert_close(layer(x.to(dtype)).float(), exact(x), rtol=0.05, atol=0.02)
    assert layer(x.to(dtype)).dtype == dtype
    with torch.no_grad():  # each expert outputs 60000, which fits in float16; twice that does not
        for expert in layer.experts:
            for projection in (expert.gate_proj, expert.up_proj):  # type: ignore[union-attr]
                projection.weight.fill_(0.5)  # type: ignore[union-attr]
            expert.down_proj.weight.fill_(60000 / (12 * 64))  # type: ignore[union-attr]
    said = layer(torch.ones(1, 1, 16, dtype=dtype)).detach()
    assert said.isfinite().all() and 55000 < float(said.max()) < 65000


def test_the_router_is_in_fp32_under_autocast() -> None:
    layer = layer_of(TINY)
    with torch.autocast("cpu", dtype=torch.bfloat16), recorded_routing(layer) as routings:
        y = layer(torch.randn(1, 4, 16))
    assert y.dtype == torch.float32 and routings[0].probabilities.dtype == torch.float32
    torch.testing.assert_close(routings[0].probabilities.sum(dim=-1), torch.ones(1, 4))


def test_balance_per_sequence_and_per_batch_by_hand() -> None:
    probabilities = torch.tensor([[[0.75, 0.25], [0.5, 0.5]], [[0.25, 0.75], [0.0, 1.0]]])
    routing = Routing(probabilities, torch.tensor([[[0], [0]], [[1], [1]]]))
    # sequence: loads (1, 0) and (0, 1), means (.625, .375) and (.125, .875) → 2·.625 and 2·.875
    assert float(balance_loss([routing], "sequence")) == pytest.approx(1.5)
    # batch: loads (.5, .5), means (.375, .625) → 2 · .5
    assert float(balance_loss([routing], "batch")) == pytest.approx(1.0)
    assert float(balance_loss([routing, routing], "batch")) == pytest.approx(2.0)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_balance_per_batch_is_transformers_loss_over_k(k: int) -> None:
    from transformers.models.qwen3_moe.modeling_qwen3_moe import load_balancing_loss_func

    logits = torch.randn(3 * 7, 5)
    probabilities = logits.softmax(dim=-1).view(3, 7, 5)
    ours = balance_loss([Routing(probabilities, probabilities.topk(k).indices)], "batch")
    theirs = load_balancing_loss_func((logits,), 5, k)
    torch.testing.assert_close(ours, theirs / k, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("per", ["sequence", "batch"])
def test_balance_is_1_in_balance_and_the_number_of_experts_in_collapse(per: Any) -> None:
    uniform = torch.full((2, 8, 4), 0.25)
    chosen = torch.arange(8).remainder(4).expand(2, 8)[..., None]
    assert float(balance_loss([Routing(uniform, chosen)], per)) == pytest.approx(1.0)
    one = F.one_hot(torch.zeros(2, 8, dtype=torch.long), 4).float()
    assert float(balance_loss([Routing(one, torch.zeros(2, 8, 1, dtype=torch.long))], per)) == pytest.approx(4.0)


def test_loads_and_their_entropy() -> None:
    loads = expert_loads(torch.tensor([[[0, 1], [0, 2]], [[3, 3], [3, 3]]]), 4)
    assert loads.tolist() == [[0.5, 0.25, 0.25, 0.0], [0.0, 0.0, 0.0, 1.0]]
    assert load_entropy(loads).tolist() == pytest.approx([1.5 * math.log(2) / math.log(4), 0.0], abs=1e-6)
    assert float(load_entropy(torch.full((8,), 1 / 8))) == pytest.approx(1.0)


def _batch(ids: Tensor = IDS) -> dict[str, Tensor]:
    inputs, targets = ids[:, :-1], ids[:, 1:].clone()
    targets[:, :5] = -100
    return {
        "input_ids": inputs,
        "targets": targets,
        "document_ids": torch.zeros_like(inputs),
        "position_ids": torch.arange(inputs.shape[1]).expand_as(inputs),
    }


@pytest.mark.parametrize("per", ["sequence", "batch"])
def test_balance_is_added_to_the_training_loss_only(per: Any) -> None:
    model = random_model(preset("pico-moe", router_aux_loss_coef=0.25, router_balance_per=per))
    with recorded_routing(model) as routings:
        total, items = model.loss(_batch()["input_ids"], _batch()["targets"])
    assert len(routings) == model.config.num_hidden_layers
    trained = Loss(*next_token_loss(model.train(), _batch()))
    wanted = total / items + 0.25 * balance_loss(routings, per)
    torch.testing.assert_close(trained.total / trained.items, wanted)
    torch.testing.assert_close(trained.extras["balance_loss"] / items, balance_loss(routings, per))
    held_out = Loss(*next_token_loss(model.eval(), _batch()))
    torch.testing.assert_close(held_out.total, total)
    assert not held_out.extras
    assert len(next_token_loss(random_model(preset("pico")).train(), _batch())) == 2


def test_preference_training_keeps_the_experts_in_balance_too() -> None:
    model = random_model(preset("pico-moe", router_aux_loss_coef=0.25)).train()
    batch = {name: _batch()[name] for name in ("input_ids", "targets")} | {"reference": torch.zeros(len(IDS) // 2, 2)}
    with recorded_routing(model) as routings:
        model(batch["input_ids"])
    balance = balance_loss(routings, model.config.router_balance_per)
    trained = dpo_loss(model, batch, DPOOptions())
    held_out = dpo_loss(model.eval(), batch, DPOOptions())
    torch.testing.assert_close(trained.extras["balance_loss"] / trained.items, balance)
    torch.testing.assert_close((trained.total - held_out.total) / trained.items, 0.25 * balance)
    assert "balance_loss" not in held_out.extras


def test_the_balance_loss_alone_evens_the_loads_out() -> None:
    layer = layer_of(replace(TINY, num_experts_per_tok=1), seed=1)
    with torch.no_grad():
        layer.gate.weight[0] += 0.4
    x = torch.rand(4, 64, 16)
    optimizer = torch.optim.SGD([layer.gate.weight], lr=0.5)
    shares = []
    for _ in range(150):
        with recorded_routing(layer) as routings:
            layer(x)
        shares.append(float(load_entropy(expert_loads(routings[0].chosen, 4).mean(dim=0))))
        optimizer.zero_grad()
        balance_loss(routings, "batch").backward()
        optimizer.step()
    assert shares[0] < 0.3 and sum(shares[-30:]) / 30 > shares[0] + 0.3


def test_gradient_checkpointing_changes_nothing_and_records_once() -> None:
    gradients = []
    for recompute in (False, True):
        model = random_model(preset("pico-moe", router_aux_loss_coef=0.5)).train()
        model.gradient_checkpointing = recompute
        Loss(*next_token_loss(model, _batch())).total.backward()
        assert all(layer.mlp.observed is None for layer in model.model.layers)  # type: ignore[union-attr]
        gradients.append([parameter.grad for parameter in model.parameters()])
    for plain, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, recomputed)


def test_a_cache_gives_the_same_logits() -> None:
    model, cache = random_model(preset("pico-moe")), GrowingCache()
    with torch.no_grad():
        whole = model(IDS)
        steps = [cache.step(model, part) for part in IDS.split([7, 1, 1, 11], dim=1)]
    torch.testing.assert_close(torch.cat(steps, dim=1), whole, rtol=1e-5, atol=1e-4)


def test_the_output_of_a_token_does_not_depend_on_its_batch() -> None:
    model = random_model(preset("pico-moe"))
    with torch.no_grad():
        torch.testing.assert_close(model(IDS)[1:], model(IDS[1:]), rtol=1e-5, atol=1e-4)


ROUTED = preset("pico-moe", vocab_size=300, num_shared_experts=0)
QWEN = {
    "nano-moe": preset("nano-moe", vocab_size=300),
    "top-1 as it is": replace(ROUTED, num_experts_per_tok=1, norm_topk_prob=False),
    "top-1 rescaled to 1": replace(ROUTED, num_experts_per_tok=1, norm_topk_prob=True),
    "top-3 as it is": replace(ROUTED, num_experts_per_tok=3, norm_topk_prob=False),
}


@pytest.mark.parametrize("config", QWEN.values(), ids=QWEN.keys())
def test_qwen3_moe_opens_ours_and_we_open_theirs(config: ModelConfig, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = random_model(config)
    save_pretrained(model, None, tmp_path / "ours")
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "ours")
    assert type(theirs).__name__ == "Qwen3MoeForCausalLM"
    with torch.no_grad():
        torch.testing.assert_close(model(IDS), theirs(IDS).logits, rtol=1e-5, atol=1e-5)
        theirs.save_pretrained(tmp_path / "theirs")
        back = load_pretrained(tmp_path / "theirs")
        assert back.config == config and torch.equal(back(IDS), model(IDS))


def test_gradients_equal_qwen3_moe(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = random_model(QWEN["top-1 as it is"])
    save_pretrained(model, None, tmp_path)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path)
    F.cross_entropy(model(IDS)[:, :-1].flatten(0, 1), IDS[:, 1:].flatten()).backward()
    theirs(IDS, labels=IDS).loss.backward()
    block, other = model.model.layers[0].mlp, theirs.model.layers[0].mlp
    torch.testing.assert_close(block.gate.weight.grad, other.gate.weight.grad, rtol=1e-4, atol=1e-5)
    down = torch.stack([expert.down_proj.weight.grad for expert in block.experts])
    torch.testing.assert_close(down, other.experts.down_proj.grad, rtol=1e-4, atol=1e-5)


OWN = {
    "shared": preset("pico-moe", vocab_size=300, num_shared_experts=1, router_balance_per="sequence"),
    "no QK-norm": replace(ROUTED, qk_norm=False),
}


@pytest.mark.parametrize("config", OWN.values(), ids=OWN.keys())
def test_experts_without_a_class_in_transformers_are_saved_with_a_warning(
    config: ModelConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = random_model(config)
    save_pretrained(model, None, tmp_path)
    assert "no class in transformers" in json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))["note"]
    with caplog.at_level(logging.WARNING):
        again = load_pretrained(tmp_path)
    assert "no class in transformers" in caplog.text and str(tmp_path) in caplog.text
    assert again.config == config and torch.equal(again(IDS), model(IDS))


REMOTE = {
    **OWN,
    "a single expert, rescaled": replace(ROUTED, num_shared_experts=2, num_experts_per_tok=1, norm_topk_prob=True),
    "not rescaled, untied": replace(ROUTED, qk_norm=False, norm_topk_prob=False, tie_word_embeddings=False),
}


@pytest.mark.parametrize("config", REMOTE.values(), ids=REMOTE.keys())
def test_transformers_opens_them_with_the_code_beside_them(
    config: ModelConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoModelForCausalLM, dynamic_module_utils

    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    model = random_model(config).eval()
    save_pretrained(model, None, tmp_path / "model")
    theirs: Any = AutoModelForCausalLM.from_pretrained(tmp_path / "model", trust_remote_code=True).eval()
    with torch.no_grad():
        torch.testing.assert_close(theirs(IDS).logits, model(IDS), rtol=1e-4, atol=1e-5)
        one, two = (theirs.generate(IDS[:, :5], max_new_tokens=6, do_sample=False, use_cache=cache)
                    for cache in (True, False))  # fmt: skip
    assert torch.equal(one, two)
    loss = theirs(IDS, labels=IDS).loss
    loss.backward()
    assert all(layer.mlp.gate.weight.grad.abs().max() > 0 for layer in theirs.model.layers)
    theirs.save_pretrained(tmp_path / "again")  # and what it writes, we read
    with torch.no_grad():
        torch.testing.assert_close(load_pretrained(tmp_path / "again")(IDS), model(IDS), rtol=1e-4, atol=1e-5)


def test_folders_that_transformers_knows_get_no_code(tmp_path: Path) -> None:
    for number, config in enumerate((preset("pico"), replace(preset("pico"), qk_norm=True), ROUTED)):
        save_pretrained(Transformer(config), None, tmp_path / str(number))
        assert not list((tmp_path / str(number)).glob("*.py"))
        assert "auto_map" not in json.loads((tmp_path / str(number) / "config.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("change", [{"decoder_sparse_step": 2}, {"mlp_only_layers": [0]}])
def test_dense_layers_among_experts_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(change))):
        config_from_hf(config_to_hf(preset("pico-moe")) | change)


@pytest.mark.parametrize("name", ["num_experts", "norm_topk_prob", "qk_norm", "moe_intermediate_size"])
def test_experts_of_our_own_kind_must_be_described_in_full(name: str) -> None:
    described = config_to_hf(preset("pico-moe"))
    del described[name]
    with pytest.raises(ConfigError, match=f"^{name} missing: a config.json of minimind_moe must state them"):
        config_from_hf(described)


def test_a_qwen3_moe_file_has_no_say_in_what_that_class_fixes() -> None:
    described = config_to_hf(ROUTED) | {"qk_norm": False, "num_shared_experts": 2}
    assert config_from_hf(described) == ROUTED


def test_absent_fields_take_the_defaults_of_qwen3_moe() -> None:
    from transformers import Qwen3MoeConfig

    sizes = {"vocab_size": 99, "hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2,
             "intermediate_size": 96, "num_key_value_heads": 1}  # fmt: skip
    theirs = Qwen3MoeConfig(**sizes)
    ours = config_from_hf(sizes | {"model_type": "qwen3_moe", "pad_token_id": 0, "eos_token_id": 2, "head_dim": 32})
    for name in ("num_experts", "num_experts_per_tok", "norm_topk_prob", "router_aux_loss_coef"):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert ours.intermediate_size == theirs.moe_intermediate_size


def test_a_run_logs_the_balance_and_holds_out_without_it(tmp_path: Path) -> None:
    data, model = tiny_data(), Transformer(preset("pico-moe", vocab_size=40))
    config = TrainConfig(total_steps=3, log_every=1, micro_batch_size=2, progress=False)
    result = train(model, data, config, tmp_path, eval_data=data)
    for row in result.history:
        assert 0.9 * 2 < row["balance_loss"] < 8 * 2
    rows = {name: torch.stack([data[i][name] for i in range(len(data))]) for name in data[0]}
    with torch.no_grad():
        total, items = model.loss(
            rows["input_ids"], rows["targets"],
            position_ids=rows["position_ids"], attention_mask=document_mask(rows["document_ids"]),
        )  # fmt: skip
    assert result.history[-1]["eval_loss"] == pytest.approx(float(total / items), rel=1e-5)
