"""Chapter 08's drawing: a packed row from inside, its positions, and what the document mask leaves open."""

from collections.abc import Sequence
from typing import Any

import torch

from minimind_lite.model.attention import causal_mask, document_mask

from ...kit.drawings import PALE_BLUE, PALE_GREEN, PALE_ORANGE, PALE_PURPLE, PAPER, sheet, squares, words
from ...kit.labels import label
from ...kit.language import say
from ...kit.sentences import listed
from ...kit.style import described, style

DOCUMENTS = (PALE_BLUE, PALE_ORANGE, PALE_GREEN, PALE_PURPLE)
CLOSED, AHEAD = "#f2a98c", "#f7f7f7"  # what the document mask closes; what the causal mask closes already


@style()
def packed_row(lengths: Sequence[int], block_size: int) -> Any:
    """One row of documents of these ``lengths`` and padding: positions, and who may read whom."""
    parts = [*lengths, block_size - sum(lengths)]
    numbers = [*range(len(lengths)), -1]
    ids = [number for number, length in zip(numbers, parts, strict=True) for _ in range(length)]
    places = [place for length in parts for place in range(length)]
    colours = [PAPER if number < 0 else DOCUMENTS[number % len(DOCUMENTS)] for number in ids]
    causal = causal_mask(block_size, block_size)
    open_to = document_mask(torch.tensor([ids]))[0, 0]  # (seq, seq)
    closed = causal & ~open_to

    side, left = 0.23, 1.75
    height = max(side * block_size + 0.6, 0.34 * len(parts) + 1.7)
    figure, axis = sheet(8.8, height)
    top = height - 0.1
    words(axis, left - 0.45, top - side / 2, label("row_positions"), align="right", size=8.5)
    squares(axis, left, top, [colours], side, [places])
    words(axis, left - 0.45, top - 0.6, label("row_reads"), align="right", size=8.5)
    for row in range(block_size):
        line = [colours[row] if open_to[row, column] else CLOSED if closed[row, column] else AHEAD
                for column in range(block_size)]  # fmt: skip
        squares(axis, left, top - 0.4 - row * side, [line], side)
        squares(axis, left - 0.35, top - 0.4 - row * side, [[colours[row]]], side, [[places[row]]])
    right = left + side * block_size + 0.45
    middle = top - 0.55
    for number, length in enumerate(lengths):
        text = label("document_of").format(number=number + 1, length=length)
        middle = _legend(axis, right, middle, DOCUMENTS[number % len(DOCUMENTS)], text)
    if parts[-1]:
        middle = _legend(axis, right, middle, PAPER, label("padding_of").format(length=parts[-1]))
    middle = _legend(axis, right, middle - 0.12, CLOSED, label("closed_by_documents"))
    _legend(axis, right, middle - 0.12, AHEAD, label("closed_by_causal"))
    return described(figure, say(
        "A row of {size} positions holds documents of {lengths} tokens and {padding} of padding; positions start at "
        "0 in each. Of the {causal} squares that a causal mask leaves open, the document mask closes {closed}: those "
        "where a token would read another document, or padding a document.",
        size=block_size, lengths=listed(lengths), padding=parts[-1], causal=int(causal.sum()), closed=int(closed.sum()),
    ))  # fmt: skip


def _legend(axis: Any, left: float, middle: float, colour: str, text: str) -> float:
    """One line of the legend; returns the height of the next."""
    squares(axis, left, middle + 0.1, [[colour]], 0.2)
    words(axis, left + 0.32, middle, text, align="left", size=8.5)
    return middle - 0.34
