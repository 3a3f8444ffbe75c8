"""Grouped-query attention: every token asks (query), every earlier token offers (key) and gives (value).

Several query heads share one key/value head, which shrinks the cache that generation carries along.
Query head j reads key/value head j // group, so repeated heads stand next to each other (k0 k0 k1 k1, not k0 k1 k0 k1).
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor, nn

from minimind_lite.config import ModelConfig
from minimind_lite.model.layers import RMSNorm, rotate

LONG_ROW = 512  # positions of a packed row from which on documents attend one by one


class KVCache:
    """Keys and values of every layer, kept so that each new token costs one step and no more.

    The key and value of a token never change once computed: causal attention lets no later token reach back.
    One block of memory for all layers is reserved up front for the longest possible text and filled from the left.
    The usual ``torch.cat`` copies the whole cache for every token and layer; here a step writes one column.

    keys, values: (layers, batch, kv_heads, max_length, head_dim); the first ``length`` columns are filled.
    Grouped-query attention pays off here: only the key/value heads are kept, each of them once.
    """

    def __init__(
        self,
        config: ModelConfig,
        batch_size: int,
        max_length: int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        if batch_size < 1 or max_length < 1:
            raise ValueError(f"a cache needs at least one row and one column, not {batch_size} × {max_length}")
        self.max_length = max_length
        self.length = 0
        shape = (config.num_hidden_layers, batch_size, config.num_key_value_heads, max_length, config.head_dim)
        self.keys = torch.empty(shape, device=device, dtype=dtype)
        self.values = torch.empty(shape, device=device, dtype=dtype)

    def update(self, layer_index: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Store the keys and values of the newest tokens; return all of this layer's so far.

        k, v: (batch, kv_heads, new, head_dim). Returns two views (batch, kv_heads, length + new, head_dim), no copies.
        ``length`` grows when the last layer has stored its part, so every layer of a step writes the same columns.
        Raises ValueError when the reserved length is used up.
        """
        end = self.length + k.shape[2]
        if end > self.max_length:
            raise ValueError(f"the cache has room for {self.max_length} tokens, not {end}; make it longer")
        self.keys[layer_index, :, :, self.length : end] = k
        self.values[layer_index, :, :, self.length : end] = v
        if layer_index == len(self.keys) - 1:
            self.length = end
        return self.keys[layer_index, :, :, :end], self.values[layer_index, :, :, :end]

    def keep(self, rows: list[int]) -> None:
        """Drop every row of the batch but ``rows`` (ascending), in place: finished rows stop costing time."""
        for name in ("keys", "values"):
            memory = getattr(self, name)
            memory[:, : len(rows), :, : self.length] = memory[:, rows, :, : self.length]
            setattr(self, name, memory[:, : len(rows)])


def cache_bytes(config: ModelConfig, batch_size: int, length: int, bytes_per_value: int = 4) -> int:
    """Bytes of a cache: keys and values × layers × kv heads × head width × length × batch × bytes per value.

    >>> cache_bytes(ModelConfig(), batch_size=1, length=2048, bytes_per_value=2)  # MiniMind2-Small in bf16: 8 MiB
    8388608
    """
    values = 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim * length * batch_size
    return values * bytes_per_value


def causal_mask(query_length: int, key_length: int, device: torch.device | str | None = None) -> Tensor:
    """(query_length, key_length) bool, True = may look. The last query is aligned with the last key.

    SDPA's own ``is_causal`` aligns the first ones instead, which is wrong as soon as a cache holds earlier keys.
    """
    ones = torch.ones(query_length, key_length, dtype=torch.bool, device=device)
    return ones.tril(diagonal=key_length - query_length)


def document_mask(document_ids: Tensor) -> Tensor:
    """(batch, seq) document numbers → (batch, 1, seq, seq) bool: causal, and within one document.

    Padding has a number of its own (-1) and looks only at padding, so no row is empty.
    """
    same = document_ids[:, None, :, None] == document_ids[:, None, None, :]
    length = document_ids.shape[1]
    return same & causal_mask(length, length, document_ids.device)


@dataclass(frozen=True)
class Documents:
    """The documents of a packed batch, as an attention mask that is never written out: (start, stop) row by row.

    ``document_mask`` costs seq × seq for every row, however short its documents are. Here each document attends alone:
    the squares of their lengths, and causal in itself. Positions between documents (padding) get zeros.
    """

    spans: tuple[tuple[tuple[int, int], ...], ...]

    @classmethod
    def of(cls, document_ids: Tensor) -> "Documents":
        """document_ids: (batch, seq), each document in one piece; padding is negative."""
        rows = []
        for row in document_ids.tolist():
            borders = [0, *(i for i in range(1, len(row)) if row[i] != row[i - 1]), len(row)]
            rows.append(tuple((start, stop) for start, stop in pairwise(borders) if row[start] >= 0))
        return cls(tuple(rows))

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """As ``attend`` with the mask of these documents. Raises ValueError if the keys are not the queries' own."""
        if queries.shape[2] != keys.shape[2] or len(queries) != len(self.spans):
            raise ValueError("documents describe a whole packed batch; with a cache, use a mask")
        rows = []
        for row, spans in enumerate(self.spans):
            parts, end = [], 0
            for start, stop in spans:
                parts.append(queries.new_zeros(queries.shape[1], start - end, queries.shape[3]))
                q, k, v = (one[row : row + 1, :, start:stop] for one in (queries, keys, values))
                parts.append(attend(q, k, v)[0])
                end = stop
            parts.append(queries.new_zeros(queries.shape[1], queries.shape[2] - end, queries.shape[3]))
            rows.append(torch.cat(parts, dim=1))
        return torch.stack(rows)


def packed_mask(document_ids: Tensor) -> "Tensor | Documents":
    """What keeps the documents of a packed batch apart at the least cost: a mask, or the documents one by one.

    document_ids: (batch, seq). One by one where it was measured to pay: in rows of LONG_ROW positions or more, on the
    CPU. On a GPU many small calls cost more than they save, and looking at the ids would wait for the device.
    """
    if document_ids.device.type == "cpu" and document_ids.shape[1] >= LONG_ROW:
        return Documents.of(document_ids)
    return document_mask(document_ids)


def open_empty_rows(attention_mask: Tensor) -> Tensor:
    """Let queries that may look nowhere (left padding) look everywhere: softmax over nothing is 0/0, and NaN spreads.

    Nobody reads those positions, so what they hold only has to be finite.
    """
    return attention_mask | ~attention_mask.any(dim=-1, keepdim=True)


def repeat_heads(x: Tensor, times: int) -> Tensor:
    """(batch, kv_heads, seq, head_dim) → (batch, kv_heads · times, seq, head_dim), copies side by side."""
    return repeat(x, "batch heads seq dim -> batch (heads times) seq dim", times=times)


def _kernel_shares_heads(queries: Tensor, attention_mask: Tensor | None) -> bool:
    """Whether a fused kernel handles grouped heads: the CPU's does, and so does FlashAttention, which takes no mask.

    Elsewhere ``enable_gqa`` works but falls back to writing out every score; repeating the keys is then faster.
    """
    if queries.device.type != "cuda":
        return queries.device.type == "cpu"
    half = queries.dtype in (torch.float16, torch.bfloat16)
    return half and attention_mask is None and torch.cuda.get_device_capability(queries.device) >= (8, 0)


def attend(queries: Tensor, keys: Tensor, values: Tensor, attention_mask: Tensor | Documents | None = None) -> Tensor:
    """softmax(q·kᵀ / sqrt(head_dim)) · v, causal unless a mask says otherwise.

    queries: (batch, heads, q_len, head_dim). keys, values: (batch, kv_heads, k_len, head_dim). attention_mask: bool,
    broadcastable to (batch, heads, q_len, k_len), True = may look; it must be complete, causality included. Or the
    documents that are to attend to themselves alone.
    Returns (batch, heads, q_len, head_dim). Source: Vaswani et al. 2017 (arXiv 1706.03762), eq. 1; Ainslie et al. 2023
    (arXiv 2305.13245) for the groups.
    """
    if isinstance(attention_mask, Documents):
        return attention_mask.attend(queries, keys, values)
    query_length, key_length = queries.shape[2], keys.shape[2]
    if attention_mask is None and 1 < query_length < key_length:
        attention_mask = causal_mask(query_length, key_length, queries.device)
    causal = attention_mask is None and query_length > 1  # a mask and is_causal together is an error
    group = queries.shape[1] // keys.shape[1]
    if group > 1 and not _kernel_shares_heads(queries, attention_mask):
        keys, values, group = repeat_heads(keys, group), repeat_heads(values, group), 1
    return F.scaled_dot_product_attention(
        queries, keys, values, attn_mask=attention_mask, is_causal=causal, enable_gqa=group > 1
    )


class Attention(nn.Module):
    """Project to queries, keys and values, turn the first two by position, attend, project back.

    x: (batch, seq, hidden_size); cos, sin: broadcastable to (batch, heads, seq, head_dim // 2); attention_mask as in
    ``attend``. Returns (batch, seq, hidden_size). With ``qk_norm`` each query and key head passes an RMSNorm before it
    is turned, as in Qwen3 (arXiv 2505.09388, section 2).
    """

    def __init__(self, config: ModelConfig, layer_index: int = 0) -> None:
        super().__init__()
        self.layer_index = layer_index
        self.head_dim = config.head_dim
        width, kv_width = config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim
        self.q_proj = nn.Linear(config.hidden_size, width, bias=False)
        self.k_proj = nn.Linear(config.hidden_size, kv_width, bias=False)
        self.v_proj = nn.Linear(config.hidden_size, kv_width, bias=False)
        self.o_proj = nn.Linear(width, config.hidden_size, bias=False)
        self.q_norm = RMSNorm(config.head_dim, config.rms_norm_eps) if config.qk_norm else nn.Identity()
        self.k_norm = RMSNorm(config.head_dim, config.rms_norm_eps) if config.qk_norm else nn.Identity()

    def forward(
        self,
        x: Tensor,
        cos: Tensor,
        sin: Tensor,
        attention_mask: Tensor | Documents | None = None,
        cache: KVCache | None = None,
    ) -> Tensor:
        split_heads = "batch seq (heads dim) -> batch heads seq dim"
        queries = rearrange(self.q_proj(x), split_heads, dim=self.head_dim)
        keys = rearrange(self.k_proj(x), split_heads, dim=self.head_dim)
        values = rearrange(self.v_proj(x), split_heads, dim=self.head_dim)
        queries = rotate(self.q_norm(queries), cos, sin)
        keys = rotate(self.k_norm(keys), cos, sin)
        if cache is not None:  # keys are stored already turned: their position never changes
            keys, values = cache.update(self.layer_index, keys, values)
        mixed = attend(queries, keys, values, attention_mask)
        y: Tensor = self.o_proj(rearrange(mixed, "batch heads seq dim -> batch seq (heads dim)"))
        return y
