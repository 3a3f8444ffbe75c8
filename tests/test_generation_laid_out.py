"""Weights laid out for decoding: the same logits and tokens as the plain modules, made anew when the weights change."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from generation_kit import TOKENIZER, small_model
from torch import Tensor

from minimind_lite.config import YarnScaling
from minimind_lite.generation import laid_out
from minimind_lite.generation.engine import generate
from minimind_lite.generation.laid_out import Int8Matrix, LaidOut, Matrix, fastest_form, stepper
from minimind_lite.generation.sampling import GenerationError
from minimind_lite.model.attention import KVCache
from minimind_lite.model.lora import LoRAConfig, add_adapter
from minimind_lite.model.transformer import Transformer

KINDS: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen3": {"qk_norm": True, "rms_norm_eps": 1e-6},
    "untied": {"tie_word_embeddings": False},
    "yarn": {"rope_scaling": YarnScaling(factor=4.0, original_max_position_embeddings=64, attention_factor=1.1)},
    "moe": {"num_experts": 4, "num_experts_per_tok": 2, "num_shared_experts": 1},
}
FORMS = ("plain", "transposed", "packed")
PROMPTS = [[5, 6, 7], [8] * 11, [9], [10, 11, 12, 13]]


def logits(model: Transformer | LaidOut, config: Any, ids: Tensor, sizes: list[int]) -> Tensor:
    cache = KVCache(config, len(ids), ids.shape[1])
    with torch.inference_mode():
        return torch.cat([model.logits(model.hidden_states(one, cache=cache)) for one in ids.split(sizes, 1)], dim=1)


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies pay for the tests' small models too."""
    monkeypatch.setattr(laid_out, "PAYS_FROM", 0)
    monkeypatch.setattr(laid_out, "LARGE", 0)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("always")
def test_logits_equal_the_plain_models(kind: str, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(laid_out, "fastest_form", lambda *_: form)
    model = small_model(**KINDS[kind])
    for batch in (1, 3):
        ids = torch.randint(0, 256, (batch, 12))
        plain = logits(model, model.config, ids, [7, 1, 4])
        torch.testing.assert_close(logits(LaidOut(model), model.config, ids, [7, 1, 4]), plain, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_greedy_tokens_are_the_same(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_model(**KINDS[kind])
    plain = generate(model, TOKENIZER, PROMPTS, max_new_tokens=24)
    monkeypatch.setattr(laid_out, "PAYS_FROM", 0)
    assert isinstance(stepper(model), LaidOut)
    assert [one.ids for one in generate(model, TOKENIZER, PROMPTS, max_new_tokens=24)] == [one.ids for one in plain]


@pytest.mark.usefixtures("always")
def test_an_adapters_layers_are_called_as_they_are() -> None:
    model = small_model()
    add_adapter(model, LoRAConfig(rank=2), "one")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_()
    ids = torch.randint(0, 256, (2, 6))
    plain = logits(model, model.config, ids, [5, 1])
    torch.testing.assert_close(logits(LaidOut(model), model.config, ids, [5, 1]), plain, atol=1e-5, rtol=1e-5)


def by_hand(model: Transformer) -> None:
    model.model.norm.weight.data.mul_(2)


def by_optimizer(model: Transformer) -> None:
    model.model.norm.weight.grad = torch.ones_like(model.model.norm.weight)
    torch.optim.AdamW([model.model.norm.weight], lr=0.1, fused=True).step()  # leaves the version counter as it is


def by_replacement(model: Transformer) -> None:
    model.model.embed_tokens.weight.data = model.model.embed_tokens.weight.data.clone()


@pytest.mark.parametrize("change", [by_hand, by_optimizer, by_replacement])
@pytest.mark.usefixtures("always")
def test_changed_weights_make_a_new_copy(change: Callable[[Transformer], None]) -> None:
    model = small_model()
    first = stepper(model)
    assert stepper(model) is first
    change(model)
    assert stepper(model) is not first


def test_the_model_itself_decodes_where_a_copy_does_not_pay(monkeypatch: pytest.MonkeyPatch) -> None:
    small = small_model()
    assert stepper(small) is small
    monkeypatch.setattr(laid_out, "PAYS_FROM", 0)
    assert isinstance(stepper(small), LaidOut)
    assert stepper(small.train()) is small  # its weights are about to change
    half = small_model().to(torch.bfloat16)
    assert stepper(half) is half

    class Own(Transformer):
        pass

    own = Own(small.config).eval()
    assert stepper(own) is own


def test_int8_is_close_and_each_row_is_alone() -> None:
    weight, other, x = torch.randn(96, 64), torch.randn(32, 64), torch.randn(16, 64)
    x[3] = 0  # nothing to scale by
    multiply, exact = Int8Matrix(weight, other), x @ torch.cat((weight, other)).t()
    assert (multiply(x) - exact).norm() < 0.03 * exact.norm()
    for row in range(16):
        assert torch.equal(multiply(x[row : row + 1]), multiply(x)[row : row + 1])


def test_int8_saturates_nowhere() -> None:
    weight, x = torch.ones(16, 64), torch.ones(1, 64)  # the largest sums there can be
    torch.testing.assert_close(Int8Matrix(weight)(x), torch.full((1, 16), 64.0), atol=0.01, rtol=0)


def test_int8_generates() -> None:
    model = small_model()
    answers = generate(model, TOKENIZER, PROMPTS, max_new_tokens=8, quantize="int8")
    alone = [generate(model, TOKENIZER, [one], max_new_tokens=8, quantize="int8")[0].ids for one in PROMPTS]
    assert [one.ids for one in answers] == alone
    assert model.model.embed_tokens.weight.dtype == torch.float32


def test_what_cannot_be_quantized_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong: Any = "int3"
    with pytest.raises(GenerationError, match="quantize must be None or one of int8, not 'int3'"):
        generate(small_model(), TOKENIZER, PROMPTS, quantize=wrong)
    with pytest.raises(GenerationError, match="starts from float32 weights on the CPU"):
        generate(small_model().to(torch.bfloat16), TOKENIZER, PROMPTS, quantize="int8")
    monkeypatch.setattr(laid_out, "has_int8", lambda: False)
    with pytest.raises(GenerationError, match="no 8-bit kernel"):
        generate(small_model(), TOKENIZER, PROMPTS, quantize="int8")


def test_the_measurement_is_made_once_and_small_models_need_none() -> None:
    fastest_form.cache_clear()
    assert fastest_form(32, 16, 1, 1) in FORMS and fastest_form(32, 16, 1, 1) == fastest_form(32, 16, 1, 1)
    assert fastest_form.cache_info().misses == 1
    Matrix(torch.randn(8, 4), measured=False)(torch.randn(2, 4))
    assert fastest_form.cache_info().misses == 1
