"""The original MiniMind2's method, written from its description: a baseline that changes of the library do not move.

Plain layers under Llama's parameter names (so that weights can be copied), key/value heads repeated in memory, a cache
that grows by ``torch.cat``, experts in a loop over masks; training pads every sample to the maximum, computes
cross-entropy at all positions and updates with foreach AdamW. The experts' buffer is fp32 here: the original's fp16
rounds their gradients.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minimind_lite.config import ModelConfig

Past = tuple[Tensor, Tensor]  # keys and values so far, (batch, length, kv_heads, head_dim)


class Norm(nn.Module):
    """RMSNorm."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.eps, self.weight = eps, nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        normed = x.float() * torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + self.eps)
        return self.weight * normed.type_as(x)


def rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """RoPE. x: (batch, seq, heads, head_dim); cos, sin: (seq, head_dim)."""
    half = x.shape[-1] // 2
    turned = torch.cat((-x[..., half:], x[..., :half]), dim=-1)
    return x * cos[:, None] + turned * sin[:, None]


def repeated(x: Tensor, times: int) -> Tensor:
    """(batch, seq, kv_heads, head_dim) → (batch, seq, kv_heads · times, head_dim)."""
    batch, length, heads, dim = x.shape
    return x[:, :, :, None].expand(batch, length, heads, times, dim).reshape(batch, length, heads * times, dim)


class Attention(nn.Module):
    """Causal attention; a single query multiplies out its scores, more go to torch's kernel."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.dim = config.num_attention_heads, config.num_key_value_heads, config.head_dim
        self.q_proj = nn.Linear(config.hidden_size, self.heads * self.dim, bias=False)
        self.k_proj = nn.Linear(config.hidden_size, self.kv_heads * self.dim, bias=False)
        self.v_proj = nn.Linear(config.hidden_size, self.kv_heads * self.dim, bias=False)
        self.o_proj = nn.Linear(self.heads * self.dim, config.hidden_size, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, past: Past | None) -> tuple[Tensor, Past]:
        batch, length, _ = x.shape
        q = rotated(self.q_proj(x).view(batch, length, self.heads, self.dim), cos, sin)
        k = rotated(self.k_proj(x).view(batch, length, self.kv_heads, self.dim), cos, sin)
        v = self.v_proj(x).view(batch, length, self.kv_heads, self.dim)
        if past is not None:
            k, v = torch.cat((past[0], k), dim=1), torch.cat((past[1], v), dim=1)
        group = self.heads // self.kv_heads
        queries, keys, values = (one.transpose(1, 2) for one in (q, repeated(k, group), repeated(v, group)))
        if length > 1:
            mixed = F.scaled_dot_product_attention(queries, keys, values, is_causal=True)
        else:
            mixed = F.softmax(queries @ keys.transpose(-2, -1) / math.sqrt(self.dim), dim=-1) @ values
        return self.o_proj(mixed.transpose(1, 2).reshape(batch, length, -1)), (k, v)


class FeedForward(nn.Module):
    """SwiGLU."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Experts(nn.Module):
    """Every token is copied once per choice; a loop over the experts picks each one's copies with a mask."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.k, self.normalise = config.num_experts_per_tok, config.norm_topk_prob
        self.coefficient = config.router_aux_loss_coef
        self.gate = nn.Linear(config.hidden_size, config.num_experts, bias=False)
        self.experts = nn.ModuleList(FeedForward(config) for _ in range(config.num_experts))
        self.shared_experts = nn.ModuleList(FeedForward(config) for _ in range(config.num_shared_experts))
        self.balance = torch.zeros(())  # of the last pass, times the coefficient

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        flat = x.view(-1, width)
        scores = self.gate(flat).softmax(dim=-1)
        weights, chosen = scores.topk(self.k, dim=-1, sorted=False)
        if self.normalise and self.k > 1:
            weights = weights / (weights.sum(dim=-1, keepdim=True) + 1e-20)
        copies, visits = flat.repeat_interleave(self.k, dim=0), chosen.view(-1)
        outputs = torch.empty_like(copies)
        for number, expert in enumerate(self.experts):
            outputs[visits == number] = expert(copies[visits == number])
        y = (outputs.view(*weights.shape, -1) * weights.unsqueeze(-1)).sum(dim=1).view(x.shape)
        for expert in self.shared_experts:
            y = y + expert(x)
        self.balance = self._balance(scores.view(batch, length, -1), chosen.view(batch, -1))
        return y

    def _balance(self, scores: Tensor, chosen: Tensor) -> Tensor:
        """Load times mean probability of each expert, in each sequence."""
        experts = scores.shape[-1]
        load = torch.zeros(len(scores), experts).scatter_add_(1, chosen, torch.ones(chosen.shape))
        return (load * experts / chosen.shape[1] * scores.mean(dim=1)).sum(dim=1).mean() * self.coefficient


class Layer(nn.Module):
    """One block."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.input_layernorm = Norm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = Norm(config.hidden_size, config.rms_norm_eps)
        self.mlp = Experts(config) if config.num_experts else FeedForward(config)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, past: Past | None) -> tuple[Tensor, Past]:
        mixed, present = self.self_attn(self.input_layernorm(x), cos, sin, past)
        x = x + mixed
        return x + self.mlp(self.post_attention_layernorm(x)), present


class Original(nn.Module):
    """The decoder with tied embeddings. A Transformer's ``state_dict`` fits."""

    def __init__(self, config: ModelConfig, length: int) -> None:
        super().__init__()
        self.model = nn.Module()
        self.model.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.model.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
        self.model.norm = Norm(config.hidden_size, config.rms_norm_eps)
        powers = torch.arange(0, config.head_dim, 2).float() / config.head_dim
        angles = torch.outer(torch.arange(length).float(), config.rope_theta**-powers).repeat(1, 2)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def forward(self, ids: Tensor, past: Sequence[Past | None] | None = None) -> tuple[Tensor, list[Past]]:
        """ids (batch, seq) → logits (batch, seq, vocab_size), and the cache."""
        past = past or [None] * len(self.model.layers)
        start = 0 if past[0] is None else past[0][0].shape[1]
        cos, sin = (table[start : start + ids.shape[1]] for table in (self.cos, self.sin))
        x, presents = self.model.embed_tokens(ids), []
        for layer, before in zip(self.model.layers, past, strict=True):
            x, present = layer(x, cos, sin, before)
            presents.append(present)
        return F.linear(self.model.norm(x), self.model.embed_tokens.weight), presents

    def balance(self) -> Tensor:
        """The experts' balance losses of the last pass, summed over layers."""
        return torch.stack([layer.mlp.balance for layer in self.model.layers if isinstance(layer.mlp, Experts)]).sum()


def padded(documents: Sequence[Sequence[int]], length: int) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs, targets and loss mask, (documents, length) each: every sample is padded to the maximum."""
    rows = torch.zeros(len(documents), length + 1, dtype=torch.int64)
    mask = torch.zeros(len(documents), length)
    for row, document in enumerate(documents):
        rows[row, : len(document)] = torch.tensor(document)
        mask[row, : len(document) - 1] = 1
    return rows[:, :-1], rows[:, 1:], mask


def masked_loss(logits: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
    """Cross-entropy at all positions, then the mean over those that count."""
    losses = F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.reshape(-1), reduction="none")
    return (losses.view(targets.shape) * mask).sum() / mask.sum()


def train_step(
    model: Original, batches: Sequence[tuple[Tensor, Tensor, Tensor]], learning_rate: float, max_norm: float
) -> float:
    """One update; returns the mean of the micro-batches' losses."""
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, foreach=True)
    total = 0.0
    for inputs, targets, mask in batches:
        loss = masked_loss(model(inputs)[0], targets, mask) / len(batches)
        loss.backward()
        total += loss.item()
    torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return total


@torch.inference_mode()
def generate(model: Original, prompts: list[list[int]], new: int) -> list[list[int]]:
    """Greedy decoding with the growing cache."""
    ids, past, fresh = torch.tensor(prompts), None, torch.tensor(prompts)
    for _ in range(new):
        logits, past = model(fresh, past)
        fresh = logits[:, -1].argmax(dim=-1, keepdim=True)
        ids = torch.cat((ids, fresh), dim=1)
    return ids[:, len(prompts[0]) :].tolist()
