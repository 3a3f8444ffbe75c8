"""An interpolated trigram model over the same tokens: what counting alone can do, the bar for a neural model.

p(w | u v) = λ₃ f(w | u v) + λ₂ f(w | v) + λ₁ f(w) + λ₀ / vocabulary. The weights λ depend on how often the context
u v was seen, and are fitted by expectation-maximisation on a tenth of the training documents, which is left out of the
counts; then all documents are counted. Source: Jelinek & Mercer 1980; Jurafsky & Martin, Speech and Language
Processing, 3rd ed., section 3.6.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from minimind_lite.data.documents import Document
from minimind_lite.data.packing import Documents

Ints = NDArray[np.int64]
_BUCKETS = 8  # contexts seen 0, 1, 2-3, 4-7, … 64 or more times


class TrigramModel:
    """Fitted on creation: ``TrigramModel(documents, vocab_size).nats(held_out)``."""

    def __init__(self, documents: Documents, vocab_size: int, iterations: int = 30):
        self.vocab_size = vocab_size
        everything = [documents[index] for index in range(len(documents))]
        held_out = everything[9::10] or everything
        self._count([one for index, one in enumerate(everything) if index % 10 != 9])
        parts, buckets = self._components(held_out)
        self.weights = np.full((_BUCKETS, 4), 0.25)
        for _ in range(iterations):
            shares = self.weights[buckets] * parts  # (tokens, 4)
            shares /= shares.sum(axis=1, keepdims=True)
            for bucket in np.unique(buckets):
                self.weights[bucket] = shares[buckets == bucket].mean(axis=0)
        self._count(everything)

    def nats(self, documents: Sequence[Document]) -> float:
        """−ln p summed over every token after a document's first, as ``bits_per_byte`` does for a neural model."""
        parts, buckets = self._components(documents)
        return float(-np.log((self.weights[buckets] * parts).sum(axis=1)).sum())

    def bits_per_byte(self, documents: Sequence[Document], size: int) -> float:
        """nats / ln 2 / bytes; documents and size from ``perplexity.documents_of``."""
        return self.nats(documents) / math.log(2) / size

    def _grams(self, documents: Sequence[Document]) -> tuple[Ints, Ints, Ints]:
        """(u, v, w) of every scored token; a document's first token is repeated before it."""
        ids = [document.ids.astype(np.int64) for document in documents]
        u = np.concatenate([np.concatenate((one[:1], one[:-2])) for one in ids])
        return u, np.concatenate([one[:-1] for one in ids]), np.concatenate([one[1:] for one in ids])

    def _count(self, documents: Sequence[Document]) -> None:
        u, v, w = self._grams(documents)
        n = self.vocab_size
        self.ones, self.contexts = np.bincount(w, minlength=n), np.bincount(v, minlength=n)
        self.pairs, self.pair_contexts = _Counts(v * n + w), _Counts(u * n + v)
        self.triples = _Counts((u * n + v) * n + w)

    def _components(self, documents: Sequence[Document]) -> tuple[NDArray[np.float64], Ints]:
        """The four estimates for every scored token, (tokens, 4), and the bucket of its context, (tokens,)."""
        u, v, w = self._grams(documents)
        n, seen = self.vocab_size, self.pair_contexts[u * self.vocab_size + v]
        tri = self.triples[(u * n + v) * n + w] / np.maximum(seen, 1)
        bi = self.pairs[v * n + w] / np.maximum(self.contexts[v], 1)
        uniform = np.full(len(w), 1 / n)
        buckets = np.minimum(np.ceil(np.log2(seen + 1)).astype(np.int64), _BUCKETS - 1)
        return np.stack((tri, bi, self.ones[w] / self.ones.sum(), uniform), axis=1), buckets


class _Counts:
    """How often each key occurred: ``counts[keys]``, 0 for keys never seen."""

    def __init__(self, keys: Ints):
        self.keys, self.counts = np.unique(keys, return_counts=True)

    def __getitem__(self, keys: Ints) -> Ints:
        at = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where(self.keys[at] == keys, self.counts[at], 0)
