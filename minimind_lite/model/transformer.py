"""The decoder: token ids in, logits out.

Design: pre-norm blocks, RMSNorm, RoPE, grouped-query attention, SwiGLU; no biases, no dropout; tied embeddings unless
the config says otherwise.
Parameter names are Hugging Face Llama's (Qwen3's with QK-norm, Qwen3-MoE's with experts), so ``state_dict()`` is the
file format.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from minimind_lite.config import ModelConfig
from minimind_lite.model.attention import Attention, KVCache, open_empty_rows
from minimind_lite.model.layers import RMSNorm, RopeTable, SwiGLU
from minimind_lite.model.moe import MixtureOfExperts

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
        attention_mask: Tensor | None = None,
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
    (batch, 1, q_len, k_len), True = may look, and it must be complete, causality included; None = causal.
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
        attention_mask: Tensor | None = None,
        cache: KVCache | None = None,
    ) -> Tensor:
        """The stream after the last norm: (batch, seq, hidden_size)."""
        if attention_mask is not None:
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
        attention_mask: Tensor | None = None,
        cache: KVCache | None = None,
    ) -> Tensor:
        """Scores of every vocabulary entry for the token after each position: logits (batch, seq, vocab_size)."""
        hidden = self.hidden_states(input_ids, position_ids=position_ids, attention_mask=attention_mask, cache=cache)
        return self.logits(hidden)

    def logits(self, hidden: Tensor) -> Tensor:
        """(..., hidden_size) → (..., vocab_size), by the head, or by the embedding matrix if they are tied."""
        weight = self.model.embed_tokens.weight if self.lm_head is None else self.lm_head.weight
        return F.linear(hidden, weight)

    def loss(
        self,
        input_ids: Tensor,
        targets: Tensor,
        *,
        position_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_weights: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Sum of cross-entropy in nats over the trained positions, and how many there are.

        targets: (batch, seq), already shifted by the data: targets[:, t] is the token after input_ids[:, t]; -100 = not
        trained. A sum and a count rather than a mean, so that accumulated micro-batches are weighted by tokens. The
        head runs on trained positions only: in SFT that is a third of them, and the head is the model's largest matrix.
        The experts' balance loss is not included: ``model.losses.next_token_loss`` adds it.
        token_weights: (vocab_size,), how much each target counts, in the sum and in the count; None = equally.
        """
        hidden = self.hidden_states(input_ids, position_ids=position_ids, attention_mask=attention_mask)
        trained = targets != IGNORED_TARGET
        logits = self.logits(hidden[trained]).float()  # (trained positions, vocab_size)
        weights = None if token_weights is None else token_weights.to(logits)
        items = trained.sum() if weights is None else weights[targets[trained]].sum()
        return F.cross_entropy(logits, targets[trained], weight=weights, reduction="sum"), items

    def _embed(self, input_ids: Tensor) -> Tensor:
        try:
            embedded: Tensor = self.model.embed_tokens(input_ids)
            return embedded
        except IndexError as error:
            raise ValueError(
                f"token ids run from {int(input_ids.min())} to {int(input_ids.max())}, but this model's vocabulary is "
                f"0..{self.config.vocab_size - 1}: was the text encoded with another tokenizer?"
            ) from error


def _checked_mask(attention_mask: Tensor) -> Tensor:
    if attention_mask.dtype != torch.bool or attention_mask.dim() != 4:
        raise ValueError(
            f"attention_mask must be bool, (batch, 1, q_len, k_len), True = may look; this one is "
            f"{str(attention_mask.dtype).removeprefix('torch.')} {tuple(attention_mask.shape)}. "
            "For a (batch, seq) padding mask write: mask[:, None, None, :] & causal_mask(seq, seq)"
        )
    return attention_mask
