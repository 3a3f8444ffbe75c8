"""The model's side of generation: a batch of prompts of unequal length, padded on the left, and its cache.

Two prompts, three columns of room for new tokens::

    row 0   p  p  a  b | c  d  e      positions  -  -  0  1 | 2  3  4
    row 1   a  b  c  d | e  f  g                 0  1  2  3 | 4  5  6

Padding stands on the left so that all rows append at the same column. Two things make it invisible: positions count
from a row's first real token, and no token looks at padding (padding itself is left with nothing to look at, which
the model turns into finite values that nobody reads).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from minimind_lite.generation.kv_cache import KVCache
from minimind_lite.model.transformer import Transformer

PREFILL_CHUNK = 512  # columns read at once: bounds the memory of scores and masks for long prompts


class BatchDecoder:
    """Reads the prompts once (``prefill``), then one token a row and step (``step``); both return the next logits."""

    def __init__(self, model: Transformer, prompts: Sequence[Sequence[int]], max_new_tokens: int) -> None:
        weight = next(model.parameters())
        self.model = model
        self.width = max(len(prompt) for prompt in prompts)
        room = self.width + max_new_tokens
        self.cache = KVCache(model.config, len(prompts), room, weight.device, weight.dtype)
        self.tokens = torch.full((len(prompts), room), -1, device=weight.device)  # -1 is padding
        for row, prompt in zip(self.tokens, prompts, strict=True):
            row[self.width - len(prompt) : self.width] = torch.tensor(prompt)
        self.padding = torch.tensor([[self.width - len(prompt)] for prompt in prompts], device=weight.device)
        self.equal_lengths = len({len(prompt) for prompt in prompts}) == 1

    @property
    def previous_ids(self) -> Tensor:
        """Prompt and answer so far, (batch, length), -1 where there is padding."""
        return self.tokens[:, : self.cache.length]

    def prefill(self, chunk: int = PREFILL_CHUNK) -> Tensor:
        """Read the prompts; returns the logits of the first new token, (batch, vocab)."""
        for start in range(0, self.width, chunk):
            logits = self._forward(start, min(start + chunk, self.width))
        return logits

    def step(self, ids: Tensor) -> Tensor:
        """Append one token a row, ids (batch,); returns the logits of the one after, (batch, vocab)."""
        column = self.cache.length
        self.tokens[:, column] = ids
        return self._forward(column, column + 1)

    def keep(self, rows: list[int]) -> None:
        """Go on with these rows only (ascending)."""
        self.cache.keep(rows)
        self.tokens, self.padding = self.tokens[rows], self.padding[rows]

    def _forward(self, start: int, end: int) -> Tensor:
        ids = self.tokens[:, start:end].clamp(min=0)  # (batch, new)
        if self.equal_lengths:  # plain causal attention, no mask to build
            hidden = self.model.hidden_states(ids, cache=self.cache)
        else:
            columns = torch.arange(end, device=ids.device)
            positions = (columns[start:] - self.padding).clamp(min=0)  # (batch, new)
            mask = self._mask(columns, start)
            hidden = self.model.hidden_states(ids, position_ids=positions, attention_mask=mask, cache=self.cache)
        return self.model.logits(hidden[:, -1])  # the head runs on one column, not on the whole prompt

    def _mask(self, columns: Tensor, start: int) -> Tensor:
        """Who may look at whom: (batch, 1, new, start + new), True = may look."""
        query, key = columns[start:, None], columns[None, :]
        real = columns >= self.padding  # (batch, length)
        return ((key <= query) & real[:, None, :])[:, None]
