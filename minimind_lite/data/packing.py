"""Packing: fill every block with documents, so that almost no position is padding.

Padding each document to the block's length wastes 60-70 % of the positions on short texts. Packing lays documents
side by side instead. Two things keep documents isolated: positions restart at 0 in each, and `document_ids` lets
attention mask out other documents (`model.attention.document_mask`).

Targets are shifted here, once: ``targets[t]`` is the token that follows ``input_ids[t]`` in the same document, and
IGNORED_TARGET where there is nothing to learn. No later code shifts again; shifting twice trains a model that skips a
token.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from minimind_lite.data.documents import Document
from minimind_lite.data.records import DataError
from minimind_lite.model.transformer import IGNORED_TARGET


class Documents(Protocol):
    """What packing reads from: a list of documents, or a `TokenStore`."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> Document: ...


@dataclass(frozen=True)
class Piece:
    """Inputs ``start:stop`` of one document; their targets are ``start+1 : stop+1``."""

    document: int
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


def pack(lengths: Sequence[int], block_size: int) -> list[list[Piece]]:
    """Plan which pieces go into which block: best-fit decreasing.

    lengths: input positions of each document. A document longer than a block is cut into pieces; every piece goes,
    longest first, into the fullest block that still has room. Returns a list of pieces for each block.

    >>> [[len(piece) for piece in block] for block in pack([3, 5, 2, 6], block_size=8)]
    [[6, 2], [5, 3]]
    """
    if block_size < 1:
        raise DataError(f"block_size must be at least 1, not {block_size}")
    pieces = [
        Piece(document, start, min(start + block_size, length))
        for document, length in enumerate(lengths)
        for start in range(0, length, block_size)
    ]
    pieces.sort(key=len, reverse=True)  # stable: the plan is the same every time
    blocks: list[list[Piece]] = []
    by_room: list[list[int]] = [[] for _ in range(block_size + 1)]  # free positions -> blocks with that many
    some = 0  # bit r is set while by_room[r] holds a block: finds the tightest fit without a search
    for piece in pieces:
        fitting = some >> len(piece)
        if fitting:
            room = len(piece) + (fitting & -fitting).bit_length() - 1
            block = by_room[room].pop()
            if not by_room[room]:
                some ^= 1 << room
        else:
            room, block = block_size, len(blocks)
            blocks.append([])
        blocks[block].append(piece)
        by_room[room - len(piece)].append(block)
        some |= 1 << (room - len(piece))
    return blocks


class PackedDataset(Dataset[dict[str, Tensor]]):
    """Blocks of packed documents, ready for the model.

    Each item holds int64 tensors of shape (block_size,): ``input_ids`` (padding 0), ``targets`` (shifted;
    IGNORED_TARGET where not trained), ``position_ids`` (restart in each document) and ``document_ids`` (0, 1, … in each
    block; padding -1).
    Raises DataError when there is nothing to train on.
    """

    def __init__(self, documents: Documents, block_size: int):
        self.documents, self.block_size = documents, block_size
        self.blocks = pack([len(documents[i]) - 1 for i in range(len(documents))], block_size)
        if not self.blocks:
            raise DataError("no document has two tokens or more, so there is nothing to predict")

    def __len__(self) -> int:
        return len(self.blocks)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        fills = {"input_ids": 0, "targets": IGNORED_TARGET, "position_ids": 0, "document_ids": -1}
        item = {name: np.full(self.block_size, fill, dtype=np.int64) for name, fill in fills.items()}
        at = 0
        for number, piece in enumerate(self.blocks[index]):
            document, here = self.documents[piece.document], slice(at, at + len(piece))
            targets = document.ids[piece.start + 1 : piece.stop + 1].astype(np.int64)
            if document.loss_mask is not None:
                targets[document.loss_mask[piece.start + 1 : piece.stop + 1] == 0] = IGNORED_TARGET
            item["input_ids"][here] = document.ids[piece.start : piece.stop]
            item["targets"][here] = targets
            item["position_ids"][here] = np.arange(len(piece))
            item["document_ids"][here] = number
            at += len(piece)
        return {name: torch.from_numpy(array) for name, array in item.items()}

    @property
    def fill_share(self) -> float:
        """Share of positions that hold a real token, 0..1."""
        return sum(len(piece) for block in self.blocks for piece in block) / (len(self.blocks) * self.block_size)


class PaddedDataset(PackedDataset):
    """One piece per block, the rest padding: the baseline that packing is compared with."""

    def __init__(self, documents: Documents, block_size: int):
        super().__init__(documents, block_size)
        self.blocks = [[piece] for block in self.blocks for piece in block]


def pad_documents(documents: Sequence[Document]) -> dict[str, Tensor]:
    """One document per row, padding on the right, targets shifted by one: for pairs and rollouts, which are not packed.

    Returns int64 ``input_ids`` (padding 0) and ``targets`` (IGNORED_TARGET where not trained), each
    (documents, longest - 1).
    With causal attention no real token can see padding to its right, so no mask is needed.
    """
    width = max(len(document) for document in documents) - 1
    input_ids = torch.zeros(len(documents), width, dtype=torch.int64)
    targets = torch.full((len(documents), width), IGNORED_TARGET)
    for row, document in enumerate(documents):
        ids = torch.from_numpy(document.ids.astype("int64"))
        input_ids[row, : len(ids) - 1] = ids[:-1]
        learned = ids[1:]
        if document.loss_mask is not None:
            learned = learned.masked_fill(torch.from_numpy(document.loss_mask[1:]) == 0, IGNORED_TARGET)
        targets[row, : len(ids) - 1] = learned
    return {"input_ids": input_ids, "targets": targets}
