"""The decoder: token ids in, logits out.

Design: pre-norm blocks, RMSNorm, RoPE, grouped-query attention, SwiGLU; no biases, no dropout; tied embeddings unless
the config says otherwise.
Parameter names are Hugging Face Llama's (Qwen3's with QK-norm, Qwen3-MoE's with experts), so ``state_dict()`` is the
file format.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

from minimind_lite.config import ModelConfig
from minimind_lite.model.attention import Attention, Documents, KVCache, open_empty_rows
from minimind_lite.model.layers import RMSNorm, RopeTable, SwiGLU
from minimind_lite.model.moe import MixtureOfExperts

# Logits of one chunk of the loss: what stays in a core's cache, or what keeps a GPU busy.
CHUNK_BYTES = {"cpu": 16 << 20, "cuda": 256 << 20}
IGNORED_TARGET = -100  # a position with this target is not trained (the value torch and Hugging Face use)


def make_mlp(config: ModelConfig) -> nn.Module:
    """The feed-forward half of a block: the one place that chooses between dense and experts."""
    return MixtureOfExperts(config) if config.num_experts else SwiGLU(config.hidden_size, config.intermediate_size)


class Block(nn.Module):
    """One layer: attention mixes tokens, the MLP works on each alone; both add to the residual stream.

    x: (batch, seq, hidden_size); returns the same shape. The norms are inside the branches (pre-norm): the stream
    itself is never rescaled, so gradients reach the embeddings untouched (Xiong et al. 2020, arXiv 2002.04745).
    """

    def __init__(self, config: ModelConfig, layer_index: int) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = Attention(config, layer_index)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = make_mlp(config)

    def forward(
        self,
        x: Tensor,
        cos: Tensor,
        sin: Tensor,
        attention_mask: Tensor | Documents | None = None,
        cache: KVCache | None = None,
    ) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), cos, sin, attention_mask, cache)
        y: Tensor = x + self.mlp(self.post_attention_layernorm(x))
        return y


class Decoder(nn.Module):
    """Everything but the head; a module of its own because the file format prefixes these names with ``model.``"""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Block(config, index) for index in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)


class Transformer(nn.Module):
    """A decoder-only language model.

    Common arguments of ``hidden_states`` and ``forward``: input_ids (batch, seq) int64; position_ids (batch, seq)
    int64, or None for 0, 1, 2 … (continuing after a cache's content); attention_mask bool, broadcastable to
    (batch, 1, q_len, k_len), True = may look, and it must be complete, causality included; or the ``Documents`` of a
    packed batch; None = causal.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.gradient_checkpointing = False  # recompute blocks in the backward pass: less memory, a third slower
        self.model = Decoder(config)
        self.lm_head = (
            None if config.tie_word_embeddings else nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        )
        self.rope = RopeTable(config)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Redraw all weights: N(0, initializer_range), smaller for matrices that write into the residual stream.

        Each block adds twice to the stream, so o_proj and down_proj are scaled by 1/sqrt(2 · layers): the stream's size
        at the end does not depend on the depth (Radford et al. 2019, GPT-2, section 2.3).
        """
        for name, parameter in self.named_parameters():
            if parameter.dim() < 2:
                nn.init.ones_(parameter)  # the norms' weights
                continue
            std = self.config.initializer_range
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                std /= math.sqrt(2 * self.config.num_hidden_layers)
            nn.init.normal_(parameter, mean=0.0, std=std)

    def hidden_states(
        self,
        input_ids: Tensor,
        *,
        position_ids: Tensor | None = None,
        attention_mask: Tensor | Documents | None = None,
        cache: KVCache | None = None,
    ) -> Tensor:
        """The stream after the last norm: (batch, seq, hidden_size)."""
        if isinstance(attention_mask, Tensor):
            attention_mask = open_empty_rows(_checked_mask(attention_mask))
        x = self._embed(input_ids)
        if position_ids is None:
            start = 0 if cache is None else cache.length
            cos, sin = self.rope.slice(start, input_ids.shape[1], x.device)
        else:
            cos, sin = self.rope.at(position_ids)
        for block in self.model.layers:
            if self.gradient_checkpointing and torch.is_grad_enabled() and cache is None:
                x = checkpoint(block, x, cos, sin, attention_mask, use_reentrant=False)
            else:
                x = block(x, cos, sin, attention_mask, cache)
        y: Tensor = self.model.norm(x)
        return y

    def forward(
        self,
        input_ids: Tensor,
        *,
        position_ids: Tensor | None = None,
        attention_mask: Tensor | Documents | None = None,
        cache: KVCache | None = None,
    ) -> Tensor:
        """Scores of every vocabulary entry for the token after each position: logits (batch, seq, vocab_size)."""
        hidden = self.hidden_states(input_ids, position_ids=position_ids, attention_mask=attention_mask, cache=cache)
        return self.logits(hidden)

    @property
    def head_weight(self) -> Tensor:
        """(vocab_size, hidden_size): the head's matrix, or the embeddings' if they are tied."""
        return self.model.embed_tokens.weight if self.lm_head is None else self.lm_head.weight

    def logits(self, hidden: Tensor) -> Tensor:
        """(..., hidden_size) → (..., vocab_size), by the head, or by the embedding matrix if they are tied."""
        return F.linear(hidden, self.head_weight)

    def loss(
        self,
        input_ids: Tensor,
        targets: Tensor,
        *,
        position_ids: Tensor | None = None,
        attention_mask: Tensor | Documents | None = None,
        token_weights: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Sum of cross-entropy in nats over the trained positions, and how many there are.

        targets: (batch, seq), already shifted by the data: targets[:, t] is the token after input_ids[:, t]; -100 = not
        trained. A sum and a count rather than a mean, so that accumulated micro-batches are weighted by tokens. The
        head runs on trained positions only: in SFT that is a third of them, and the head is the model's largest matrix.
        The experts' balance loss is not included: ``model.losses.next_token_loss`` adds it.
        token_weights: how much each target counts, in the sum and in the count: (vocab_size,), by its token, or
        (batch, seq), by its position; None = equally.
        """
        hidden = self.hidden_states(input_ids, position_ids=position_ids, attention_mask=attention_mask)
        trained, counts = targets != IGNORED_TARGET, None
        if token_weights is not None:
            counts = token_weights.to(hidden.device).float()
            counts = (counts[targets.clamp(min=0)] if counts.dim() == 1 else counts)[trained]
        if hidden.device.type == "cpu" and trained.all():  # elsewhere, asking would mean waiting for the device
            hidden, targets = hidden.flatten(0, 1), targets.flatten()
        else:
            hidden, targets = hidden[trained], targets[trained]
        items = trained.sum() if counts is None else counts.sum()
        return linear_cross_entropy(hidden, self.head_weight, targets, counts), items

    def _embed(self, input_ids: Tensor) -> Tensor:
        try:
            embedded: Tensor = self.model.embed_tokens(input_ids)
            return embedded
        except IndexError as error:
            raise ValueError(
                f"token ids run from {int(input_ids.min())} to {int(input_ids.max())}, but this model's vocabulary is "
                f"0..{self.config.vocab_size - 1}: was the text encoded with another tokenizer?"
            ) from error


class _LinearCrossEntropy(torch.autograd.Function):
    """``linear_cross_entropy`` with its gradients made in the forward pass, while a chunk's logits are at hand."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, counts: Tensor | None, dtype: torch.dtype, rows: int
    ) -> Tensor:
        wants_hidden, wants_weight = ctx.needs_input_grad[:2]
        wide = torch.promote_types(dtype, torch.float32)  # sums are never made in half precision
        total = hidden.new_zeros((), dtype=wide)
        to_hidden = torch.empty_like(hidden, dtype=wide) if wants_hidden else None
        to_weight = torch.zeros_like(weight, dtype=wide) if wants_weight else None
        matrix, columns = weight.to(dtype), targets[:, None]
        for start in range(0, len(hidden), rows):
            here = slice(start, start + rows)
            states = hidden[here].to(dtype)
            logits = (states @ matrix.T).to(wide)  # (rows, vocab_size): the only logits there are
            shares = logits.softmax(dim=-1)
            # log Σ exp from the largest logit and its share: no second pass of exponentials, and no logarithm of 0
            normaliser = logits.amax(dim=-1, keepdim=True) - shares.amax(dim=-1, keepdim=True).log()
            surprise = normaliser - logits.gather(1, columns[here])  # (rows, 1), nats
            total += surprise.sum() if counts is None else (surprise[:, 0] * counts[here]).sum()
            if not (wants_hidden or wants_weight):
                continue
            slope = shares.scatter_add_(1, columns[here], shares.new_full((len(shares), 1), -1.0))  # for the logits
            if counts is not None:
                slope *= counts[here, None]
            slope = slope.to(dtype)
            if to_hidden is not None:
                to_hidden[here] = slope @ matrix
            if to_weight is not None:
                if dtype == wide:  # in place: no copy as large as the head
                    to_weight.addmm_(slope.T, states)
                else:
                    to_weight += slope.T @ states
        ctx.save_for_backward(to_hidden, to_weight)
        ctx.dtypes = hidden.dtype, weight.dtype
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        pairs = zip(ctx.saved_tensors, ctx.dtypes, strict=True)
        made = (None if one is None else (one * slope).to(dtype) for one, dtype in pairs)
        return (*made, None, None, None, None)


def linear_cross_entropy(
    hidden: Tensor, weight: Tensor, targets: Tensor, counts: Tensor | None = None, chunk_bytes: int | None = None
) -> Tensor:
    """Σ counts · cross-entropy(hidden · weightᵀ, targets) in nats, a () float32 tensor; the logits never stand whole.

    hidden: (positions, hidden_size); weight: (vocab_size, hidden_size); targets: (positions,), none of them ignored;
    counts: (positions,) float32, how much each position counts, or None for 1. A few positions at a time make logits of
    ``chunk_bytes`` in all, their share of the loss, and at once the gradients for hidden and weight, since a sum needs
    nothing that comes later; backward only multiplies these. The plain form,
    ``F.cross_entropy(hidden @ weight.T, targets, reduction="sum")``, keeps the logits and their softmax for all
    positions, the largest tensors of a small model's step. Cannot be differentiated twice.
    Source: the idea is Cut Cross-Entropy's (Wijmans et al. 2024, arXiv 2411.09009) and Liger Kernel's.
    """
    kind = hidden.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden.dtype
    chunk_bytes = chunk_bytes or CHUNK_BYTES.get(kind, CHUNK_BYTES["cuda"])
    chunks = max(1, -(-4 * len(hidden) * len(weight) // chunk_bytes))
    rows = max(1, -(-len(hidden) // chunks))  # chunks of one size
    if not torch.is_grad_enabled():
        hidden, weight = hidden.detach(), weight.detach()
    with torch.autocast(kind, enabled=False):
        # torch does not annotate it
        total: Tensor = _LinearCrossEntropy.apply(hidden, weight, targets, counts, dtype, rows)  # type: ignore[no-untyped-call]
    return total


def _checked_mask(attention_mask: Tensor) -> Tensor:
    if attention_mask.dtype != torch.bool or attention_mask.dim() != 4:
        raise ValueError(
            f"attention_mask must be bool, (batch, 1, q_len, k_len), True = may look; this one is "
            f"{str(attention_mask.dtype).removeprefix('torch.')} {tuple(attention_mask.shape)}. "
            "For a (batch, seq) padding mask write: mask[:, None, None, :] & causal_mask(seq, seq)"
        )
    return attention_mask
