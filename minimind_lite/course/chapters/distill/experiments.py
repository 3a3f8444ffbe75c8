"""Chapter 13's experiment: black-box distillation, in which a student reads only what its teacher wrote.

Sequence-level knowledge distillation: Kim & Rush 2016, arXiv 1606.07947. To compare it with labels and with the
teacher's distribution, the questions are those that the other students read, and only the answers differ.
"""

from collections.abc import Sequence

import numpy as np

from minimind_lite.data.documents import Document
from minimind_lite.data.packing import PackedDataset
from minimind_lite.generation.engine import generate
from minimind_lite.model.transformer import Transformer
from minimind_lite.tokenizer import Tokenizer
from minimind_lite.training.loop import DataOrder
from minimind_lite.training.options import TrainConfig


def documents_read(blocks: PackedDataset, config: TrainConfig) -> list[int]:
    """The documents in the blocks that a run with ``config`` trains on, each once, in the order it meets them."""
    order = DataOrder(len(blocks), config.micro_batch_size, config.gradient_accumulation_steps, config.seed)
    steps = range(min(config.steps(order.steps_per_epoch), order.steps_per_epoch))  # later epochs bring nothing new
    rows = [row for step in steps for rows in order.micro_batches(step) for row in rows]
    return list(dict.fromkeys(piece.document for row in rows for piece in blocks.blocks[row]))


def answers_in(document: Document) -> list[tuple[int, int]]:
    """Where the document's answers stand: (start, stop) of every run of tokens that are trained."""
    trained = np.zeros(len(document), np.int8) if document.loss_mask is None else document.loss_mask.astype(np.int8)
    edges = np.flatnonzero(np.diff(trained, prepend=0, append=0)).tolist()
    return list(zip(edges[::2], edges[1::2], strict=True))


def answered_by(
    teacher: Transformer,
    tokenizer: Tokenizer,
    documents: Sequence[Document],
    *,
    max_new_tokens: int,
    max_length: int,
    batch_size: int = 128,
) -> list[Document]:
    """The documents with each answer replaced by what ``teacher`` writes in its place, greedily, and cut to max_length.

    What stands before an answer is the document's own. An answer that is longer than ``max_new_tokens`` has no end.
    """
    places = [(number, *span) for number, document in enumerate(documents) for span in answers_in(document)]
    places.sort(key=lambda place: place[2] - place[1])  # answers of like length end together, and no row waits
    prompts = [documents[number].ids[:start].tolist() for number, start, _ in places]
    said = generate(teacher, tokenizer, prompts, max_new_tokens=max_new_tokens, batch_size=batch_size)
    written = {(number, start): one.ids for (number, start, _), one in zip(places, said, strict=True)}
    return [_rewritten(document, number, written, max_length) for number, document in enumerate(documents)]


def _rewritten(document: Document, number: int, written: dict[tuple[int, int], list[int]], max_length: int) -> Document:
    """One document with the answers that ``written`` has for its places."""
    ids: list[int] = []
    mask: list[int] = []
    at = 0
    for start, stop in answers_in(document):
        answer = written[number, start]
        ids += [*document.ids[at:start].tolist(), *answer]
        mask += [0] * (start - at) + [1] * len(answer)
        at = stop
    ids += document.ids[at:].tolist()
    mask += [0] * (len(document) - at)
    return Document(np.asarray(ids[:max_length]), np.asarray(mask[:max_length], dtype=np.uint8))
