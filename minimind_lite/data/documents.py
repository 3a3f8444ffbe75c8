"""From records to documents: token ids, and which of them are targets.

A pretraining document is ``<|endoftext|> text <|endoftext|>``: the first one lets the model learn how texts begin
(and lets it start one from nothing), the last one how they end. A conversation is what the chat template renders.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minimind_lite.tokenizer import Tokenizer


@dataclass(frozen=True)
class Document:
    """Token ids, and for every one whether the model is trained to predict it.

    ids: (length,) uint16 or wider. loss_mask: (length,) uint8, or None when every token is a target.
    """

    ids: NDArray[Any]
    loss_mask: NDArray[np.uint8] | None = None

    def __len__(self) -> int:
        return len(self.ids)


def text_documents(texts: Iterable[str], tokenizer: Tokenizer, batch_size: int = 1000) -> Iterator[Document]:
    """Tokenize texts in batches (the tokenizer uses every core for a batch), one Document each."""
    remaining, end = iter(texts), tokenizer.end_of_text_id
    while batch := list(islice(remaining, batch_size)):
        for ids in tokenizer.encode_batch(batch):
            yield Document(np.asarray([end, *ids, end]))


@dataclass
class ConversationCounts:
    """What happened to the conversations on the way: shown to the learner, never silent."""

    kept: int = 0
    truncated: int = 0  # cut to max_length
    dropped: int = 0  # the cut took every target away


def conversation_documents(
    conversations: Iterable[list[dict[str, Any]]],
    tokenizer: Tokenizer,
    max_length: int,
    counts: ConversationCounts | None = None,
) -> Iterator[Document]:
    """Render conversations by the chat template, cut to ``max_length`` tokens.

    A conversation whose targets were all cut away is dropped and counted: a batch with no target has a mean loss of
    0/0, and one NaN ends a run. Pass ``counts`` to see what happened.
    """
    counts = counts if counts is not None else ConversationCounts()
    for messages in conversations:
        rendered = tokenizer.render(messages)
        ids, mask = np.asarray(rendered.ids), np.asarray(rendered.loss_mask, dtype=np.uint8)
        if len(ids) > max_length:
            counts.truncated += 1
            ids, mask = ids[:max_length], mask[:max_length]
        if not mask.any():
            counts.dropped += 1
            continue
        counts.kept += 1
        yield Document(ids, mask)
