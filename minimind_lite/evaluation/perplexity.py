"""Bits per byte: how many bits a model needs to encode held-out text.

Loss per token cannot be compared between tokenizers: longer tokens are fewer and harder to guess. Bits per byte can.
"""

import math
from collections.abc import Sequence
from itertools import islice

import torch

from minimind_lite.data.documents import Document, text_documents
from minimind_lite.data.packing import PackedDataset
from minimind_lite.model.losses import next_token_loss
from minimind_lite.model.transformer import Transformer
from minimind_lite.tokenizer import Tokenizer


def documents_of(texts: Sequence[str], tokenizer: Tokenizer) -> tuple[list[Document], int]:
    """The documents that are scored, and the UTF-8 bytes they stand for.

    A document is ``<|endoftext|> text <|endoftext|>``. Every token after the first is scored, the end included (a model
    that does not know when to stop pays for it); the bytes are those of the text alone. The n-gram baseline gets the
    same documents.
    """
    return list(text_documents(texts, tokenizer)), sum(len(text.encode("utf-8")) for text in texts)


@torch.inference_mode()
def bits_per_byte(
    model: Transformer, tokenizer: Tokenizer, texts: Sequence[str], *, block_size: int = 512, batch_size: int = 8
) -> float:
    """Nats summed over all scored tokens / ln 2 / UTF-8 bytes.

    Documents are packed as in training and isolated from each other. One longer than ``block_size`` is cut into blocks
    without overlap; the first tokens of each later block are predicted with little context, so for such a document the
    figure is an upper bound. Raises DataError when there is no text.
    """
    documents, size = documents_of(texts, tokenizer)
    data, device = PackedDataset(documents, block_size), next(model.parameters()).device
    nats, was_training = 0.0, model.training
    model.eval()
    rows = (data[index] for index in range(len(data)))
    while batch := list(islice(rows, batch_size)):
        stacked = {name: torch.stack([row[name] for row in batch]).to(device) for name in batch[0]}
        nats += float(next_token_loss(model, stacked)[0])
    model.train(was_training)
    return nats / math.log(2) / size


def document_nats(model: Transformer, tokenizer: Tokenizer, texts: Sequence[str], block_size: int = 512) -> list[float]:
    """The nats of each text, in order; their sum is what ``bits_per_byte`` divides by ln 2 and all bytes.

    One text after the other: slower than ``bits_per_byte``, and what an interval needs
    (``statistics.bootstrap_interval`` of these over the texts' bytes, or over their scored tokens).
    """
    return [
        bits_per_byte(model, tokenizer, [text], block_size=block_size) * math.log(2) * len(text.encode("utf-8"))
        for text in texts
    ]
