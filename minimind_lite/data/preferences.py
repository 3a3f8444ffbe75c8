"""Preference pairs as tokens: two endings of one conversation, one of which people preferred."""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np

from minimind_lite.data.documents import Document, marks
from minimind_lite.data.records import MAX_BAD_SHARE, DataError, as_dicts, read_records
from minimind_lite.tokenizer import Message, Tokenizer

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pair:
    """Two documents with the same beginning; only the last answer (its end token included) is marked as a target."""

    chosen: Document
    rejected: Document


@dataclass(frozen=True)
class Pairs:
    """The pairs of a file, and what a length limit did to them."""

    pairs: list[Pair]
    truncated: int = 0  # pairs in which one or both endings were cut
    dropped: int = 0  # pairs with nothing left to compare

    @property
    def digest(self) -> str:
        """Hex SHA-256 of every token and mark: changes with the file, the tokenizer, the template and the limit."""
        digest = hashlib.sha256()
        for pair in self.pairs:
            for document in (pair.chosen, pair.rejected):
                digest.update(b"%d " % len(document) + document.ids.tobytes() + marks(document).tobytes())
        return digest.hexdigest()


def answer_document(messages: Sequence[Message], tokenizer: Tokenizer) -> Document:
    """A conversation in which only the last turn, the assistant's, is a target: earlier answers are context."""
    rendered = tokenizer.render(messages)
    mask = np.asarray(rendered.loss_mask, dtype=np.uint8)
    mask[: len(tokenizer.render(messages[:-1], add_generation_prompt=True).ids)] = 0
    return Document(np.asarray(rendered.ids, dtype=np.int32), mask)


def read_pairs(
    path: str | Path, tokenizer: Tokenizer, max_length: int, *, strict: bool = False,
    max_bad_share: float = MAX_BAD_SHARE,
) -> Pairs:  # fmt: skip
    """The preference records of ``path`` as pairs, cut on the right to ``max_length`` tokens.

    A pair in which an ending lost every target, or whose endings are identical after the cut, has nothing to compare:
    it is dropped, counted and logged. Raises DataError for a file without records, or when no pair is left.
    """
    pairs, truncated, dropped = [], 0, 0
    reader = read_records(path, "preference", strict=strict, max_bad_share=max_bad_share)
    for record in reader:
        endings = [as_dicts(turns) for turns in (record.chosen, record.rejected)]
        whole = [answer_document(turns, tokenizer) for turns in endings]
        kept = [Document(one.ids[:max_length], marks(one)[:max_length]) for one in whole]
        truncated += any(len(one) > max_length for one in whole)
        empty = any(not marks(one).any() for one in kept)
        if empty or np.array_equal(kept[0].ids, kept[1].ids):
            dropped += 1
        else:
            pairs.append(Pair(*kept))
    if not pairs:
        _refuse(path, dropped, max_length, reader.skipped)
    if truncated:
        logger.warning("%s: %d pairs were cut to %d tokens; %d of them had nothing left to compare and were dropped",
                       path, truncated, max_length, dropped)  # fmt: skip
    return Pairs(pairs, truncated, dropped)


def _refuse(path: str | Path, dropped: int, max_length: int, skipped: list[DataError]) -> NoReturn:
    if dropped:
        raise DataError(
            f"{path}: all {dropped} pairs were cut to nothing at {max_length} tokens: raise block_size, or shorten the "
            "prompts"
        )
    reason = f"none of its lines is valid; the first error: {skipped[0]}" if skipped else "the file is empty"
    raise DataError(
        f'{path}: no preference pair found: {reason}. A line is {{"chosen": [turns], "rejected": [turns]}}; compare '
        "yours with data_samples/dpo.jsonl"
    )
