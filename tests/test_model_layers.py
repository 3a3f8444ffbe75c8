"""RMSNorm, RoPE, YaRN and SwiGLU against torch and transformers, and the properties that they exist for."""

import math

import pytest
import torch
import torch.nn.functional as F
from model_kit import YARN
from torch import Tensor, nn

from minimind_lite.config import ModelConfig, YarnScaling, preset
from minimind_lite.model.layers import (
    FIRST_TABLE_LENGTH,
    RMSNorm,
    RopeTable,
    SwiGLU,
    inverse_frequencies,
    rope_angles,
    rope_table,
    rotate,
    yarn_ramp,
)


@pytest.mark.parametrize("eps", [1e-5, 1e-6])
def test_rmsnorm_equals_torch_values_and_gradients(eps: float) -> None:
    torch.manual_seed(0)
    norm = RMSNorm(96, eps)
    norm.weight.data.normal_()
    x = (torch.randn(3, 5, 96) * torch.logspace(-4, 4, 5)[:, None]).requires_grad_()
    upstream = torch.randn(3, 5, 96)
    ours = torch.autograd.grad(norm(x), (x, norm.weight), upstream)
    theirs = torch.autograd.grad(F.rms_norm(x, (96,), norm.weight, eps), (x, norm.weight), upstream)
    torch.testing.assert_close(norm(x), F.rms_norm(x, (96,), norm.weight, eps), rtol=1e-5, atol=1e-5)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_rmsnorm_does_not_overflow_and_keeps_the_dtype(dtype: torch.dtype) -> None:
    x = torch.full((2, 64), 1000.0, dtype=dtype)  # 1000² exceeds float16's largest number, 65504
    for norm in (RMSNorm(64), RMSNorm(64).to(dtype)):
        assert norm(x).dtype == dtype
        torch.testing.assert_close(norm(x).float(), torch.ones(2, 64))


def test_rmsnorm_of_zeros_is_zero_and_has_finite_gradients() -> None:
    x = torch.zeros(2, 8, requires_grad=True)
    RMSNorm(8)(x).sum().backward()
    assert x.grad is not None and x.grad.isfinite().all()


def test_swiglu_equals_transformers() -> None:
    from transformers import LlamaConfig
    from transformers.models.llama.modeling_llama import LlamaMLP

    ours, theirs = SwiGLU(24, 40), LlamaMLP(LlamaConfig(hidden_size=24, intermediate_size=40, num_attention_heads=2))
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 7, 24)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-6)
    ours(x).square().sum().backward()
    theirs(x).square().sum().backward()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-5, atol=1e-5)


def _turned(x: Tensor, config: ModelConfig, positions: Tensor) -> Tensor:
    return rotate(x, *rope_angles(config, positions))


def test_rotation_equals_multiplication_by_complex_numbers() -> None:
    torch.manual_seed(0)
    config = preset("nano")
    x = torch.randn(2, 3, 10, config.head_dim)
    first, second = x.chunk(2, dim=-1)
    angles = torch.arange(10)[:, None] * inverse_frequencies(config)
    turned = torch.complex(first, second) * torch.polar(torch.ones_like(angles), angles)
    expected = torch.cat((turned.real, turned.imag), dim=-1)
    torch.testing.assert_close(_turned(x, config, torch.arange(10)), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("theta", [14.0, 100.0, 1e6])  # at 14 and 100 YaRN's ramp ends behind the last pair
@pytest.mark.parametrize("scaling", [None, YARN, YarnScaling(), YarnScaling(factor=4.0, attention_factor=1.2)])
def test_angles_equal_transformers(scaling: YarnScaling | None, theta: float) -> None:
    from transformers import LlamaConfig
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    from minimind_lite.model.pretrained import config_to_hf

    for name in ("nano", "minimind2-small", "minimind3"):
        config = preset(name, rope_scaling=scaling, rope_theta=theta)
        positions = torch.tensor([[0, 1, 17, 2047, 2048, 31000]])
        theirs = LlamaRotaryEmbedding(LlamaConfig(**config_to_hf(config)))(torch.zeros(1), positions)
        for mine, other in zip(rope_angles(config, positions), theirs, strict=True):
            torch.testing.assert_close(torch.cat((mine, mine), dim=-1), other, rtol=1e-5, atol=1e-5)


def test_scores_depend_on_the_distance_alone() -> None:
    torch.manual_seed(0)
    config = preset("minimind2-small")
    query, key = torch.randn(2, 1, 1, 1, config.head_dim)
    scores = [
        (_turned(query, config, torch.tensor([m])) * _turned(key, config, torch.tensor([m - 5]))).sum()
        for m in (5, 6, 50, 500, 2000)
    ]
    torch.testing.assert_close(torch.stack(scores), scores[0].expand(5), rtol=0, atol=2e-3)  # float32 angles at 2000
    other = (_turned(query, config, torch.tensor([7])) * _turned(key, config, torch.tensor([1]))).sum()
    assert (other - scores[0]).abs() > 0.01


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_rotation_keeps_length_and_dtype(dtype: torch.dtype) -> None:
    x = torch.randn(1, 2, 6, 32).to(dtype)
    turned = _turned(x, preset("nano"), torch.arange(6))
    assert turned.dtype == dtype
    tolerance = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 2e-2}[dtype]
    torch.testing.assert_close(turned.float().norm(dim=-1), x.float().norm(dim=-1), rtol=tolerance, atol=0)


def test_the_interleaved_layout_is_the_same_up_to_a_permutation_and_not_without_it() -> None:
    torch.manual_seed(0)
    config = preset("nano")
    x = torch.randn(1, 1, 9, config.head_dim)
    cos, sin = rope_table(config, 9)
    even, odd = x[..., 0::2], x[..., 1::2]
    paper = torch.stack((even * cos - odd * sin, odd * cos + even * sin), dim=-1).flatten(-2)
    order = torch.cat((torch.arange(0, config.head_dim, 2), torch.arange(1, config.head_dim, 2)))
    torch.testing.assert_close(rotate(x[..., order], cos, sin), paper[..., order], rtol=1e-5, atol=1e-6)
    assert (rotate(x, cos, sin) - paper).abs().max() > 0.1


def test_yarn_leaves_fast_pairs_and_slows_slow_ones() -> None:
    config = preset("minimind3", rope_scaling=YarnScaling())
    plain = inverse_frequencies(preset("minimind3"))
    ratio = inverse_frequencies(config) / plain
    turns = plain * 2048 / (2 * math.pi)
    assert (ratio[turns > 32] == 1).all()
    torch.testing.assert_close(ratio[turns < 0.5], torch.full_like(ratio[turns < 0.5], 1 / 16))
    assert (ratio.diff() <= 1e-6).all() and 0 < (ratio < 1).sum() < len(ratio)
    assert yarn_ramp(YarnScaling(), 96, 1e6).shape == (48,)


def test_the_table_grows_by_doubling_and_changes_nothing_it_held() -> None:
    config = preset("nano")
    table = RopeTable(config)
    cpu = torch.device("cpu")
    before = [part.clone() for part in table.slice(0, FIRST_TABLE_LENGTH, cpu)]
    cos, sin = table.slice(3 * FIRST_TABLE_LENGTH - 1, 5, cpu)
    expected = rope_angles(config, torch.arange(3 * FIRST_TABLE_LENGTH - 1, 3 * FIRST_TABLE_LENGTH + 4))
    torch.testing.assert_close((cos, sin), expected, rtol=0, atol=1e-6)
    assert len(table._tables[cpu][0]) == 4 * FIRST_TABLE_LENGTH
    # Not bit for bit: a kernel may treat an entry in the middle of a table and one at its end differently.
    torch.testing.assert_close(table.slice(0, FIRST_TABLE_LENGTH, cpu), tuple(before), rtol=0, atol=1e-6)


def test_a_table_made_while_generating_serves_training() -> None:
    table = RopeTable(preset("nano"))
    with torch.inference_mode():
        table.slice(0, 4, torch.device("cpu"))
    x = torch.randn(1, 1, 4, 32, requires_grad=True)
    rotate(x, *table.slice(0, 4, torch.device("cpu"))).sum().backward()
    assert x.grad is not None


def test_modules_hold_no_buffers() -> None:
    for module in (RMSNorm(8), SwiGLU(8, 16)):
        assert isinstance(module, nn.Module) and not list(module.buffers())
