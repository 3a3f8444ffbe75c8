"""The key/value cache: keep what attention has already computed, so that each new token costs one step and no more.

A key or value of an old token never changes once it is made: causal attention lets no later token reach back.
Layout: one block of memory for all layers, reserved once for the longest text that may come, filled from the left.
The usual ``torch.cat`` copies the whole cache for every token and layer; here a step writes one column.
"""

import torch
from torch import Tensor

from minimind_lite.config import ModelConfig


class KVCache:
    """Preallocated keys and values of every layer (the protocol ``KeyValueCache`` of model/attention.py).

    keys, values: (layers, batch, kv_heads, max_length, head_dim); the first ``length`` columns are filled.
    Grouped-query attention shows here: only the key/value heads are kept, each of them once.
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
            raise ValueError(f"the cache holds {self.max_length} tokens and {end} are asked for; make it longer")
        self.keys[layer_index, :, :, self.length : end] = k
        self.values[layer_index, :, :, self.length : end] = v
        if layer_index == len(self.keys) - 1:
            self.length = end
        return self.keys[layer_index, :, :, :end], self.values[layer_index, :, :, :end]

    def keep(self, rows: list[int]) -> None:
        """Drop every row of the batch but ``rows`` (ascending), in place: what has finished stops costing."""
        for name in ("keys", "values"):
            memory = getattr(self, name)
            memory[:, : len(rows), :, : self.length] = memory[:, rows, :, : self.length]
            setattr(self, name, memory[:, : len(rows)])


def cache_bytes(config: ModelConfig, batch_size: int, length: int, bytes_per_value: int = 4) -> int:
    """Bytes of a cache: keys and values × layers × kv heads × head width × length × batch × bytes a value.

    >>> cache_bytes(ModelConfig(), batch_size=1, length=2048, bytes_per_value=2)  # MiniMind2-Small in bf16: 8 MiB
    8388608
    """
    values = 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim * length * batch_size
    return values * bytes_per_value
