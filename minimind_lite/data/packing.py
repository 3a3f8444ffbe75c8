"""Packing: fill every block with documents, so that almost no position is padding.

Padding each document to the block's length wastes 60-70 % of the positions on short texts. Packing lays documents
side by side instead. Two things keep documents isolated: positions restart at 0 in each, and `document_ids` lets
attention mask out other documents (`model.attention.document_mask`).

Targets are shifted here, once: ``targets[t]`` is the token that follows ``input_ids[t]`` in the same document, and
IGNORED_TARGET where there is nothing to learn. No later code shifts again; shifting twice trains a model that skips a
token.
"""

import logging
import math
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Protocol, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from minimind_lite.data.assembled import AssembledBlocks
from minimind_lite.data.documents import Document, TokenStore, marks
from minimind_lite.data.records import DataError
from minimind_lite.model.transformer import IGNORED_TARGET

logger = logging.getLogger(__name__)

MOST_ASSEMBLED = 1 << 28  # positions in a file of assembled blocks: 2.7 GB


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


@dataclass(frozen=True, eq=False)
class Plan(Sequence[list[Piece]]):
    """Which pieces each block holds, in arrays: about 7 bytes a piece and 4 a block. A sequence of lists of pieces.

    documents, parts, lengths: (pieces,), block after block: the document, which of its parts (0 unless it is longer
    than a block), and the positions. bounds: (blocks + 1,): block b holds pieces bounds[b]:bounds[b + 1].
    """

    documents: NDArray[Any]
    parts: NDArray[Any]
    lengths: NDArray[Any]
    bounds: NDArray[Any]
    block_size: int

    def __len__(self) -> int:
        return len(self.bounds) - 1

    @overload
    def __getitem__(self, index: int) -> list[Piece]: ...
    @overload
    def __getitem__(self, index: slice) -> list[list[Piece]]: ...
    def __getitem__(self, index: int | slice) -> list[Piece] | list[list[Piece]]:
        if isinstance(index, slice):
            return [self[block] for block in range(len(self))[index]]
        block = range(len(self))[index]
        here = slice(self.bounds[block], self.bounds[block + 1])
        starts = self.parts[here].astype(np.int64) * self.block_size
        stops = starts + self.lengths[here]
        return list(map(Piece, self.documents[here].tolist(), starts.tolist(), stops.tolist()))

    @property
    def positions(self) -> int:
        """Positions that hold a token, over all blocks."""
        return int(self.lengths.sum(dtype=np.int64))

    def unpacked(self) -> "Plan":
        """The same pieces in the same order, each in a block of its own."""
        return replace(self, bounds=np.arange(len(self.documents) + 1, dtype=self.documents.dtype))


def pack(lengths: Sequence[int] | NDArray[Any], block_size: int) -> Plan:
    """Plan which pieces go into which block: best-fit decreasing.

    lengths: input positions of each document. A document longer than a block is cut into pieces; every piece goes,
    longest first, into the fullest block that still has room. Memory: some 20 bytes a document at the peak, and
    nothing as large as all documents is a Python list, so a file of millions of lines can be packed.

    >>> [[len(piece) for piece in block] for block in pack([3, 5, 2, 6], block_size=8)]
    [[6, 2], [5, 3]]
    """
    if block_size < 1:
        raise DataError(f"block_size must be at least 1, not {block_size}")
    documents, parts, counts = _longest_first(np.asarray(lengths), block_size)
    places, blocks = _best_fit(counts, block_size, documents.dtype)
    bounds = np.zeros(blocks + 1, dtype=documents.dtype)
    for here in _chunks(len(places)):
        np.add.at(bounds, places[here] + 1, 1)
    np.cumsum(bounds, out=bounds, dtype=bounds.dtype)
    free = bounds[:-1].copy()
    for here in _chunks(len(places)):  # from the number of the block to the place among all pieces
        places[here] = _places(places[here], free)
    documents, parts = _moved(documents, places), _moved(parts, places)
    sizes = np.arange(block_size + 1, dtype=np.min_scalar_type(block_size))
    return Plan(documents, parts, _moved(np.repeat(sizes[::-1], counts[::-1]), places), bounds, block_size)


def _longest_first(lengths: NDArray[Any], block_size: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.int64]]:
    """Document and part of every piece, longest first and otherwise in order; and how many there are of each length."""
    counts, most = np.zeros(block_size + 1, dtype=np.int64), 0
    for _, part, length in _pieces(lengths, block_size):
        counts += np.bincount(length, minlength=block_size + 1)
        most = max(most, int(part.max(initial=0)))
    total = int(counts.sum())
    documents = np.empty(total, dtype=np.int32 if max(total, len(lengths)) < 2**31 else np.int64)
    parts = np.empty(total, dtype=np.min_scalar_type(most))
    free = total - np.cumsum(counts)  # where the pieces of each length begin
    for document, part, length in _pieces(lengths, block_size):
        places = _places(length, free)
        documents[places], parts[places] = document, part
    return documents, parts, counts


def _pieces(lengths: NDArray[Any], block_size: int) -> Iterator[tuple[NDArray[np.int64], ...]]:
    """(document, part, length) of the pieces of all documents, in order, in chunks."""
    for here in _chunks(len(lengths)):
        positions = np.maximum(lengths[here].astype(np.int64), 0)
        parts = -(-positions // block_size)
        document = np.repeat(np.arange(len(positions)), parts)
        part = np.arange(len(document)) - np.repeat(np.cumsum(parts) - parts, parts)
        yield document + here.start, part, np.minimum(positions[document] - part * block_size, block_size)


def _best_fit(counts: NDArray[np.int64], block_size: int, dtype: Any) -> tuple[NDArray[Any], int]:
    """The block of every piece, longest first, and how many blocks there are. counts: pieces of each length.

    Pieces of one length are placed many at a time: whatever goes into the tightest room stays there until less than
    that length is free, so all blocks with this room take ``each`` pieces, the last of them perhaps fewer.
    """
    block_of = np.empty(int(counts.sum()), dtype=dtype)
    code = block_of.dtype.char
    by_room = [array(code) for _ in range(block_size + 1)]  # free positions -> blocks with that many
    some = 0  # bit r is set while by_room[r] holds a block: finds the tightest fit without a search
    at = blocks = 0
    for length in np.flatnonzero(counts)[::-1].tolist():
        left = int(counts[length])
        while left:
            fitting = some >> length
            room = length + (fitting & -fitting).bit_length() - 1 if fitting else block_size
            each = room // length
            wanted = -(-left // each)
            if fitting:
                taken = by_room[room][: -wanted - 1 : -1]  # the newest first
                del by_room[room][-wanted:]
                some ^= (not by_room[room]) << room
            else:
                taken = array(code, range(blocks, blocks + wanted))
                blocks += wanted
            placed = min(left, each * len(taken))
            block_of[at : at + placed] = taken if each == 1 else np.repeat(taken, each)[:placed]
            last = placed - each * (len(taken) - 1)  # pieces in the last block
            for free, some_taken in ((room - each * length, taken[:-1]), (room - last * length, taken[-1:])):
                by_room[free].extend(some_taken)
                some |= bool(some_taken) << free
            at, left = at + placed, left - placed
    return block_of, blocks


def _chunks(length: int, size: int = 1 << 16) -> Iterator[slice]:
    """Slices that cover ``length`` entries, so that what is computed from an array is never as large as the array."""
    return (slice(start, min(start + size, length)) for start in range(0, length, size))


def _places(keys: NDArray[Any], free: NDArray[Any]) -> NDArray[Any]:
    """Where a stable counting sort puts each of ``keys``. free: the next place of each key, moved on here."""
    order = np.argsort(keys, kind="stable")
    grouped = keys[order]
    places = np.empty_like(free, shape=len(keys))
    places[order] = free[grouped] + np.arange(len(keys)) - np.searchsorted(grouped, grouped)
    np.add.at(free, keys, 1)
    return places


def _moved(values: NDArray[Any], places: NDArray[Any]) -> NDArray[Any]:
    """A copy in which ``values[i]`` stands at ``places[i]``."""
    moved = np.empty_like(values)
    for here in _chunks(len(values)):
        moved[places[here]] = values[here]
    return moved


class PackedDataset(Dataset[dict[str, Tensor]]):
    """Blocks of packed documents, ready for the model.

    Each item holds int64 tensors of shape (block_size,): ``input_ids`` (padding 0), ``targets`` (shifted;
    IGNORED_TARGET where not trained), ``position_ids`` (restart in each document) and ``document_ids`` (0, 1, … in each
    block; padding -1).
    Raises DataError when there is nothing to train on.
    """

    def __init__(self, documents: Documents, block_size: int):
        self.documents, self.block_size = documents, block_size
        self._assembled: AssembledBlocks | None = None
        self.blocks = pack(_lengths(documents) - 1, block_size)
        if not self.blocks:
            raise DataError("no document has two tokens or more, so there is nothing to predict")

    def __len__(self) -> int:
        return len(self.blocks)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return self.__getitems__([range(len(self))[index]])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Tensor]]:
        """Several blocks, one by one, as torch's DataLoader asks for them."""
        batch = self.batch_of(indices)
        return [{name: tensor[row] for name, tensor in batch.items()} for row in range(len(indices))]

    def batch_of(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """Several blocks as one batch: each of an item's tensors, (blocks, block_size)."""
        return self._lay_out(indices) if self._assembled is None else self._assembled.batch_of(indices)

    def assemble(self) -> None:
        """Lay out all blocks once, in a file beside the store's: worth it for data that is read more than once.

        Nothing happens if the file would hold more than MOST_ASSEMBLED positions, or there is no room for it.
        """
        if self._assembled is not None or not isinstance(self.documents, TokenStore):
            return
        if self.block_size >= 1 << 15 or len(self) * self.block_size > MOST_ASSEMBLED:  # two bytes for each number
            return
        try:
            self._assembled = AssembledBlocks(self._lay_out, len(self), self.block_size, self.documents.path.parent)
        except OSError as error:
            logger.info("the blocks are laid out anew in every epoch: %s", error)

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_assembled": None}  # a process that does not share our memory lays out by itself

    def _lay_out(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """``batch_of``, from the plan. Padding is a piece of its own, perhaps of none, at the end of its block."""
        plan, rows = self.blocks, np.asarray(indices)
        counts = plan.bounds[rows + 1] - plan.bounds[rows]  # pieces of each block
        ends = np.cumsum(counts)
        within = np.arange(ends[-1]) - np.repeat(ends - counts, counts)  # of each piece in its block
        here = np.repeat(plan.bounds[rows].astype(np.int64), counts) + within
        places = np.arange(ends[-1]) + np.repeat(np.arange(len(rows)), counts)  # of each piece among pieces and padding
        numbers = np.full(len(here) + len(rows), -1)
        documents, starts, lengths = np.full_like(numbers, -1), np.zeros_like(numbers), np.zeros_like(numbers)
        numbers[places], documents[places], lengths[places] = within, plan.documents[here], plan.lengths[here]
        starts[places] = plan.parts[here].astype(np.int64) * self.block_size
        lengths[ends + np.arange(len(rows))] = self.block_size - np.add.reduceat(lengths[places], ends - counts)
        document_ids = np.repeat(numbers, lengths)
        position_ids = np.arange(len(document_ids)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        input_ids, targets = self._tokens(documents, starts, lengths)
        padding = document_ids < 0
        if padding.any():
            position_ids[padding], targets[padding] = 0, IGNORED_TARGET
        values = {
            "input_ids": input_ids,
            "targets": targets,
            "position_ids": position_ids,
            "document_ids": document_ids,
        }
        return {name: torch.from_numpy(value).view(len(rows), -1) for name, value in values.items()}

    def _tokens(
        self, documents: NDArray[np.int64], starts: NDArray[np.int64], lengths: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The inputs and targets of some pieces, one after the other. A piece of document -1 holds zeros."""
        if isinstance(self.documents, TokenStore):
            firsts = np.where(documents < 0, -self.block_size - 1, self.documents.bounds[documents] + starts)
            inputs, _ = self.documents.stretches(firsts, lengths)
            following, masks = self.documents.stretches(firsts + 1, lengths)
        else:
            padding = Document(np.zeros(self.block_size + 1, dtype=np.uint16))
            some = [self.documents[one] if one >= 0 else padding for one in documents.tolist()]
            spans = list(zip(some, starts.tolist(), (starts + lengths).tolist(), strict=True))
            inputs = [one.ids[a:b] for one, a, b in spans]
            following = [one.ids[a + 1 : b + 1] for one, a, b in spans]
            masks = [marks(one)[a + 1 : b + 1] for one, a, b in spans]
        input_ids, targets = (np.empty(int(lengths.sum()), dtype=np.int64) for _ in range(2))
        np.concatenate(inputs, out=input_ids)
        np.concatenate(following, out=targets)
        if masks is not None:
            targets[np.concatenate(masks) == 0] = IGNORED_TARGET
        return input_ids, targets

    @property
    def fill_share(self) -> float:
        """Share of positions that hold a real token, 0..1."""
        return self.blocks.positions / (len(self.blocks) * self.block_size)


class PaddedDataset(PackedDataset):
    """One piece per block, the rest padding: the baseline that packing is compared with."""

    def __init__(self, documents: Documents, block_size: int):
        super().__init__(documents, block_size)
        self.blocks = self.blocks.unpacked()


class MixedBlocks(Dataset[dict[str, Tensor]]):
    """All blocks of the first dataset in every epoch, and beside them enough of each other one to fill its share.

    Of the others every epoch takes the next blocks, from all over the dataset, and begins again when all were seen: a
    share of plain text in fine-tuning must not be the same few texts each time, or it learns them by heart. So the
    index goes on over the epochs: ``self[epoch * len(self) + place]`` (see ``training.loop.DataOrder``).
    """

    index_goes_on = True

    def __init__(self, data: Sequence[PackedDataset], shares: Sequence[float]) -> None:
        """``shares``: of all blocks of an epoch, in the order of ``data``."""
        self.data = list(data)
        self.counts = [len(data[0])]
        self.counts += [round(len(data[0]) * share / shares[0]) for share in shares[1:]]

    def __len__(self) -> int:
        """Blocks in an epoch."""
        return sum(self.counts)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """One block; see ``PackedDataset``."""
        number, block = self._place(index)
        return self.data[number][block]

    def batch_of(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """Several blocks as one batch, in their order."""
        places = [self._place(index) for index in indices]
        rows = {}
        for number in {number for number, _ in places}:
            here = [row for row, (one, _) in enumerate(places) if one == number]
            rows[tuple(here)] = self.data[number].batch_of([places[row][1] for row in here])
        order = torch.tensor([row for here in rows for row in here]).argsort()
        return {name: torch.cat([part[name] for part in rows.values()])[order] for name in next(iter(rows.values()))}

    def assemble(self) -> None:
        """Lay out the first dataset once: of the others, an epoch may read few blocks."""
        self.data[0].assemble()

    def _place(self, index: int) -> tuple[int, int]:
        """The dataset, and its block, that ``index`` means."""
        epoch, place = divmod(index, len(self))
        for number, (data, count) in enumerate(zip(self.data, self.counts, strict=True)):
            if place < count:
                return number, (epoch * count + place) * _stride(len(data)) % len(data) if number else place
            place -= count
        raise AssertionError("a place in an epoch lies in one of the parts")


@lru_cache
def _stride(length: int) -> int:
    """A step that visits all of ``length`` places once and lies far from the last few at every point."""
    step = max(1, round(length * (5**0.5 - 1) / 2))
    return next(one for one in range(step, step + length) if math.gcd(one, length) == 1)


def _lengths(documents: Documents) -> NDArray[np.int64]:
    """Tokens of each document."""
    if isinstance(documents, TokenStore):
        return documents.lengths()
    return np.fromiter((len(documents[i]) for i in range(len(documents))), dtype=np.int64, count=len(documents))


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
