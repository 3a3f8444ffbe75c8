"""The parts of a block that look at one token at a time: RMSNorm, RoPE and SwiGLU. Only attention mixes tokens.

RMSNorm (chapter 02) gives every token's vector the same length before a layer reads it. LayerNorm also subtracts the
mean and adds a bias; RMSNorm leaves both out and loses nothing (Zhang & Sennrich 2019).

RoPE (chapter 03) turns each query and key by an angle that grows with its position. Dimension i is paired with
i + head_dim/2, as Llama's weights expect; the paper pairs neighbours (2i, 2i+1). The two are the same up to a
permutation of the weights; mixing them up trains fine and breaks every import.

SwiGLU (chapter 05) is the feed-forward half of a block: one half of its width decides how much of the other passes.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minimind_lite.config import ModelConfig, YarnScaling

FIRST_TABLE_LENGTH = 2048  # positions a table starts with; it doubles when more are needed


class RMSNorm(nn.Module):
    """Divide a vector by its root mean square, then scale each dimension by a learned weight.

    x: (..., dim), any dtype; returns x's shape and dtype. ``y = x / sqrt(mean(x²) + eps) · weight``.

    The mean of squares is taken in float32 for any input type: in float16 a single activation of 256 already squares
    to infinity, and bfloat16 keeps only two or three digits of the sum.
    Source: Zhang & Sennrich 2019 (arXiv 1910.07467), eq. 4.

    >>> RMSNorm(2, eps=0.0)(torch.tensor([3.0, 4.0]) * 7)  # the scale is gone, the direction stays
    tensor([0.8485, 1.1314], grad_fn=<MulBackward0>)
    """

    def __init__(self, dim: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps  # inside the root: v3 and Qwen3 use 1e-6, MiniMind2 1e-5; a wrong one shifts every logit
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        normed = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)
        return (normed * self.weight).type_as(x)

    def extra_repr(self) -> str:
        return f"{self.weight.numel()}, eps={self.eps}"


def inverse_frequencies(config: ModelConfig, device: torch.device | str | None = None) -> Tensor:
    """Radians each pair of dimensions turns per position: ``theta^(-2i / head_dim)``, slowed by YaRN if configured.

    Returns (head_dim // 2,) float32. Source: Su et al. 2021 (arXiv 2104.09864), section 3.2.2.
    """
    pairs = torch.arange(0, config.head_dim, 2, device=device, dtype=torch.float32)
    periods = config.rope_theta ** (pairs / config.head_dim)  # positions per radian
    as_trained = 1.0 / periods
    if config.rope_scaling is None:
        return as_trained
    kept = 1 - yarn_ramp(config.rope_scaling, config.head_dim, config.rope_theta).to(periods.device)
    return kept * as_trained + (1 - kept) * (1.0 / (config.rope_scaling.factor * periods))


def yarn_ramp(scaling: YarnScaling, head_dim: int, rope_theta: float) -> Tensor:
    """How much of YaRN's slowing each pair gets: 0 = turns as trained, 1 = slowed by the whole factor.

    Pairs that turn more than ``beta_fast`` times over the original length tell neighbours apart and stay; pairs that
    turn less than ``beta_slow`` times have never been seen past part of a turn and are slowed; in between, the ramp
    is linear in the pair's index. Returns (head_dim // 2,) float32. For inference: weights are trained without it.
    Source: Peng et al. 2023 (arXiv 2309.00071), section 3.2; the bounds are rounded outwards as the authors' code does.
    """

    def pair_that_turns(times: float) -> float:
        wavelengths = scaling.original_max_position_embeddings / (times * 2 * math.pi)
        return head_dim * math.log(wavelengths) / (2 * math.log(rope_theta))

    first = max(math.floor(pair_that_turns(scaling.beta_fast)), 0)
    last = min(math.ceil(pair_that_turns(scaling.beta_slow)), head_dim - 1)
    index = torch.arange(head_dim // 2, dtype=torch.float32)
    return ((index - first) / max(last - first, 0.001)).clamp(0, 1)


def rope_angles(config: ModelConfig, positions: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines for any positions, in float32: bfloat16 could not tell position 257 from 256.

    positions: (...,) integers. Returns cos, sin: (..., head_dim // 2).
    """
    angles = positions[..., None].float() * inverse_frequencies(config, positions.device)
    scale = config.rope_scaling.attention_factor if config.rope_scaling else 1.0
    return angles.cos() * scale, angles.sin() * scale


def rope_table(config: ModelConfig, length: int, device: torch.device | str | None = None) -> tuple[Tensor, Tensor]:
    """Cosines and sines for positions 0 .. length - 1, each (length, head_dim // 2) float32."""
    return rope_angles(config, torch.arange(length, device=device))


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn ``x`` by the angles behind ``cos`` and ``sin``.

    x: (batch, heads, seq, head_dim). cos, sin: broadcastable to (batch, heads, seq, head_dim // 2).
    Returns x's shape and dtype. Source: Su et al. 2021 (RoFormer, arXiv 2104.09864), eq. 34.
    """
    first, second = x.chunk(2, dim=-1)  # each (batch, heads, seq, head_dim // 2)
    turned = torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
    return turned.type_as(x)


class RopeTable:
    """A table of angles that starts small and doubles whenever a position lies beyond it.

    Deliberately neither a module nor a buffer: it is not part of the weights, ``model.to(torch.bfloat16)`` must not
    round it, and a model built on the meta device has no values to fill it with.
    """

    def __init__(self, config: ModelConfig) -> None:
        self.config = config
        self._tables: dict[torch.device, tuple[Tensor, Tensor]] = {}

    def slice(self, start: int, length: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """cos, sin of positions start .. start + length - 1, each (length, head_dim // 2)."""
        table = self._tables.get(device)
        if table is None or len(table[0]) < start + length:
            size = FIRST_TABLE_LENGTH
            while size < start + length:
                size *= 2
            with torch.inference_mode(False):  # a table first built while generating must still serve training later
                table = rope_table(self.config, size, device)
            self._tables[device] = table
        return table[0][start : start + length], table[1][start : start + length]

    def at(self, position_ids: Tensor) -> tuple[Tensor, Tensor]:
        """cos, sin of a batch's own positions (packed documents, left padding), each (batch, 1, seq, head_dim // 2).

        Computed afresh, once per forward pass: no lookup that could run off the table's end, no wait for the device.
        """
        cos, sin = rope_angles(self.config, position_ids)
        return cos[:, None], sin[:, None]


class SwiGLU(nn.Module):
    """``down(silu(gate(x)) · up(x))``: three matrices where the classic MLP has two.

    x: (batch, seq, hidden_size); returns the same shape. Because there are three, the inner width is chosen as 8/3 of
    hidden_size instead of 4 times it, for the same number of parameters. ``silu`` goes on the gate: with it on ``up``
    instead, a model trains just as well, but imported weights give nonsense.
    Source: Shazeer 2020 (arXiv 2002.05202), eq. 6, without biases.
    """

    def __init__(self, hidden_size: int, intermediate_size: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(hidden_size, intermediate_size, bias=False)
        self.up_proj = nn.Linear(hidden_size, intermediate_size, bias=False)
        self.down_proj = nn.Linear(intermediate_size, hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))
        return y
