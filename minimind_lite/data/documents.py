"""Documents: token ids, and which of them are targets; made from records, kept in memory or on disk.

A pretraining document is ``<|endoftext|> text <|endoftext|>``: the first one lets the model learn how texts begin
(and start one from scratch), the last one how they end. A conversation is what the chat template renders.

On disk documents are a ``TokenStore``: tokenize once, then read them as if they were in memory. Layout of the file: a
header of 1024 bytes (magic, then JSON), the tokens as uint16, the document boundaries as int64, and, for conversations,
one mask byte per token. The header names the tokenizer's fingerprint, so a file made with another tokenizer is rejected
rather than trained on, and the size and the SHA-256 of what follows, so a file that was cut short or changed is noticed
when it is opened (two seconds per gigabyte; an hour of training on other tokens costs more).

Memory does not grow with the file: boundaries and masks are written through temporary files beside it, and pages that
were read are let go of again, because the system counts them as the process's own until it needs their memory.
"""

import hashlib
import json
import logging
import mmap
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from minimind_lite.data.records import MAX_BAD_SHARE, DataError, Kind, data_files, read_records
from minimind_lite.files import parse_json, sha256_of, written_whole
from minimind_lite.tokenizer import Tokenizer

logger = logging.getLogger(__name__)

_MAGIC = b"MMLTOK02"
_HEADER_BYTES = 1024
_READS = 256  # documents read until their pages are let go of; a read brings in some 64 KB of each array
_CHUNK = 1 << 20  # boundaries read at a time


@dataclass(frozen=True)
class Document:
    """Token ids, and for each whether the model is trained to predict it.

    ids: (length,) uint16 or wider. loss_mask: (length,) uint8, or None when every token is a target.
    """

    ids: NDArray[Any]
    loss_mask: NDArray[np.uint8] | None = None

    def __len__(self) -> int:
        return len(self.ids)


def marks(document: Document) -> NDArray[np.uint8]:
    """Which tokens of a document are targets, (length,) uint8; all of them if it has no mask."""
    return np.ones(len(document), np.uint8) if document.loss_mask is None else document.loss_mask


def text_documents(texts: Iterable[str], tokenizer: Tokenizer, batch_size: int = 1000) -> Iterator[Document]:
    """Tokenize texts in batches, one Document each.

    The tokenizer uses every core for a batch, in a thread of its own: the texts of the next batch are read, and the
    documents of the last one are used, while it works.
    """
    with ThreadPoolExecutor(1, "tokenizer") as thread:
        encoding: Future[list[list[int]]] | None = None
        for batch in _batches(texts, batch_size):
            following = thread.submit(tokenizer.encode_batch, batch)
            if encoding is not None:
                yield from _between_ends(encoding.result(), tokenizer.end_of_text_id)
            encoding = following
        if encoding is not None:
            yield from _between_ends(encoding.result(), tokenizer.end_of_text_id)


def _between_ends(batch: Iterable[list[int]], end: int) -> Iterator[Document]:
    for ids in batch:
        yield Document(np.array([end, *ids, end], dtype=np.int64))


def _batches(texts: Iterable[str], batch_size: int, characters: int = 1_000_000) -> Iterator[list[str]]:
    """Lists of ``batch_size`` texts, or of fewer once they hold ``characters``: a thousand books are no batch."""
    batch, size = [], 0
    for text in texts:
        batch.append(text)
        size += len(text)
        if len(batch) == batch_size or size >= characters:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


@dataclass
class ConversationCounts:
    """How many conversations were kept, cut or dropped: reported to the learner, never hidden."""

    kept: int = 0
    truncated: int = 0  # cut to max_length
    dropped: int = 0  # lost every target to the cut


def conversation_documents(
    conversations: Iterable[list[dict[str, Any]]],
    tokenizer: Tokenizer,
    max_length: int,
    counts: ConversationCounts | None = None,
) -> Iterator[Document]:
    """Render conversations with the chat template, cut to ``max_length`` tokens.

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


class StoreError(DataError):
    """A token file that is missing, cut short, or made for something else."""


class TokenStore:
    """A memory-mapped list of documents: ``len(store)``, ``store[i]`` -> Document."""

    def __init__(self, path: Path, header: dict[str, Any]):
        self.path, self.header = path, header
        tokens, documents = header["tokens"], header["documents"]
        with path.open("rb") as file:
            self._file = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._reads = 0
        bounds_at = _HEADER_BYTES + tokens * 2
        bounds_at += -bounds_at % 8
        mask_at = bounds_at + (documents + 1) * 8
        self.tokens: NDArray[np.uint16] = np.frombuffer(self._file, np.uint16, tokens, _HEADER_BYTES)
        self.bounds: NDArray[np.int64] = np.frombuffer(self._file, np.int64, documents + 1, bounds_at)
        self.mask: NDArray[np.uint8] | None = None
        if header["masked"]:
            self.mask = np.frombuffer(self._file, np.uint8, tokens, mask_at)

    def __reduce__(self) -> tuple[Any, ...]:
        return TokenStore, (self.path, self.header)  # a process that reads ahead maps the file itself

    @classmethod
    def write(cls, path: str | Path, documents: Iterable[Document], tokenizer_fingerprint: str) -> "TokenStore":
        """Write ``documents`` to ``path``, whole or not at all, and open the result.

        Raises StoreError for ids above 65,535 (uint16), a mix of masked and unmasked documents, or no documents.
        """
        path = Path(path)
        with written_whole(path) as part, part.open("wb") as file:
            header = _write_body(file, documents, path.parent) | {"tokenizer": tokenizer_fingerprint}
            file.flush()
            header["sha256"] = _body_digest(part)
            file.seek(0)
            file.write(_MAGIC + json.dumps(header).encode().ljust(_HEADER_BYTES - len(_MAGIC)))
        return cls.open(path, tokenizer_fingerprint)

    @classmethod
    def open(cls, path: str | Path, tokenizer_fingerprint: str) -> "TokenStore":
        """Open a file made with this tokenizer.

        Raises StoreError if it is missing, foreign, cut short or changed; OSError if it cannot be read.
        """
        path = Path(path)
        if not path.is_file():
            raise StoreError(f"{path}: there is no such token file; tokenize the data first")
        with path.open("rb") as file:
            head = file.read(_HEADER_BYTES)
        if len(head) < _HEADER_BYTES or not head.startswith(_MAGIC):
            raise StoreError(f"{path}: not a token file of this library; delete it and tokenize again")
        header = _checked_header(path, head[len(_MAGIC) :])
        if header["tokenizer"] != tokenizer_fingerprint:
            raise StoreError(
                f"{path}: made with another tokenizer ({header['tokenizer'][:12]}, not {tokenizer_fingerprint[:12]}), "
                "so its ids mean other tokens; delete it and tokenize again"
            )
        if path.stat().st_size != header["bytes"]:
            raise StoreError(
                f"{path}: {path.stat().st_size:,} bytes instead of {header['bytes']:,}: it was cut short or changed; "
                "delete it and tokenize again"
            )
        if _body_digest(path) != header["sha256"]:
            raise StoreError(f"{path}: its content was changed (its SHA-256 differs); delete it and tokenize again")
        return cls(path, header)

    def __len__(self) -> int:
        return int(self.header["documents"])

    def __getitem__(self, index: int) -> Document:
        if not 0 <= index < len(self):
            raise IndexError(f"document {index} of {len(self)}")
        self._count(1)
        here = slice(int(self.bounds[index]), int(self.bounds[index + 1]))
        return Document(self.tokens[here], None if self.mask is None else self.mask[here])

    def stretches(
        self, firsts: NDArray[np.int64], counts: NDArray[np.int64]
    ) -> tuple[list[NDArray[np.uint16]], list[NDArray[np.uint8]] | None]:
        """``counts[i]`` tokens from place ``firsts[i]`` of the file on, for each i, and their masks if there are any.

        Nothing is copied. A first below 0 gives zeros.
        """
        self._count(len(firsts))
        spans = list(zip(firsts.tolist(), (firsts + counts).tolist(), strict=True))
        return _cut(self.tokens, spans), None if self.mask is None else _cut(self.mask, spans)

    def lengths(self) -> NDArray[Any]:
        """Tokens of each document: (documents,) int32, or int64 where that is too narrow."""
        lengths = np.empty(len(self), dtype=np.int32 if len(self.tokens) < 2**31 else np.int64)
        for start in range(0, len(self), _CHUNK):
            stop = min(start + _CHUNK, len(self))
            lengths[start:stop] = np.diff(self.bounds[start : stop + 1])
            self._let_go()
        return lengths

    def _count(self, reads: int) -> None:
        self._reads += reads
        if self._reads >= _READS:
            self._reads = 0
            self._let_go()

    def _let_go(self) -> None:
        """Unmap the pages read so far; whoever still reads them finds them again in the system's cache."""
        if sys.platform == "linux":  # elsewhere, too, the system takes them when it needs memory
            self._file.madvise(mmap.MADV_DONTNEED)


def _cut(values: NDArray[Any], spans: Iterable[tuple[int, int]]) -> list[NDArray[Any]]:
    """``values`` from each start to its stop, as views; zeros for a start below 0."""
    return [values[a:b] if a >= 0 else np.zeros(b - a, values.dtype) for a, b in spans]


def _body_digest(path: Path) -> str:
    """Hex SHA-256 of everything after the header."""
    with path.open("rb") as file:
        file.seek(_HEADER_BYTES)
        return hashlib.file_digest(file, "sha256").hexdigest()


def _checked_header(path: Path, text: bytes) -> dict[str, Any]:
    """The header, if its fields have the right types and its sizes add up. Raises StoreError."""
    try:
        header: dict[str, Any] = parse_json(text, str(path))
        tokens, documents, size = (header[name] for name in ("tokens", "documents", "bytes"))
        texts = header["tokenizer"], header["sha256"]
        right = all(type(one) is int and one >= 0 for one in (tokens, documents, size))
        right = right and type(header["masked"]) is bool
        offset = _HEADER_BYTES + 2 * tokens
        whole = offset + (-offset) % 8 + 8 * (documents + 1) + tokens * header["masked"]
        if not right or size != whole or not all(isinstance(one, str) for one in texts):
            raise ValueError("its sizes do not add up")
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path}: its header is damaged ({error}); delete it and tokenize again") from None
    return header


def _write_body(file: IO[bytes], documents: Iterable[Document], folder: Path) -> dict[str, Any]:
    """Tokens, padding to 8 bytes, boundaries, masks; returns the header without tokenizer and digest.

    folder: where the boundaries and masks wait, in files without a name, until all tokens are written.
    """
    with tempfile.TemporaryFile(dir=folder) as bounds, tempfile.TemporaryFile(dir=folder) as masks:
        file.seek(_HEADER_BYTES)
        bounds.write(bytes(8))
        tokens = stored = masked = 0
        for document in documents:
            if len(document) and int(document.ids.max()) > np.iinfo(np.uint16).max:
                raise StoreError(f"document {stored}: id {int(document.ids.max())} does not fit in uint16 (0..65535)")
            file.write(document.ids.astype("<u2").tobytes())
            tokens, stored = tokens + len(document), stored + 1
            bounds.write(tokens.to_bytes(8, "little"))
            if document.loss_mask is not None:
                masks.write(document.loss_mask.astype(np.uint8).tobytes())
                masked += 1
        if not stored:
            raise StoreError("there is no document to store")
        if masked not in (0, stored):
            raise StoreError("some documents have a loss mask and others do not; a store holds one kind")
        file.write(bytes(-file.tell() % 8))
        for waiting in (bounds, masks):
            waiting.seek(0)
            shutil.copyfileobj(waiting, file)
        return {"tokens": tokens, "documents": stored, "masked": bool(masked), "bytes": file.tell()}


def token_store(
    path: str | Path,
    kind: Kind,
    tokenizer: Tokenizer,
    cache: Path,
    *,
    max_length: int = 0,
    strict: bool = False,
    max_bad_share: float = MAX_BAD_SHARE,
) -> TokenStore:
    """The records of ``path`` as tokens on disk, stored in ``cache`` under a name derived from all they depend on.

    max_length: conversations are cut to this many tokens; cuts are logged. strict, max_bad_share: see RecordReader.
    Raises DataError.
    """
    digest = hashlib.sha256(f"{tokenizer.fingerprint} {tokenizer.default_system} {kind} {max_length}".encode())
    if max_bad_share != MAX_BAD_SHARE:  # what a looser limit let through, the usual one may refuse
        digest.update(f" {max_bad_share}".encode())
    for file in data_files(path):
        digest.update(bytes.fromhex(sha256_of(file)))
    store = cache / f"{kind}-{digest.hexdigest()[:16]}.tokens"
    if strict:  # also when the tokens are there: an earlier run may have skipped bad lines
        for _ in read_records(path, kind, strict=True):
            pass
    try:
        return TokenStore.open(store, tokenizer.fingerprint)
    except StoreError as error:
        if store.is_file():
            logger.warning("%s. It is made anew", error)
    documents = _documents(path, kind, tokenizer, max_length, strict, max_bad_share)
    return TokenStore.write(store, documents, tokenizer.fingerprint)


def _documents(
    path: str | Path, kind: Kind, tokenizer: Tokenizer, max_length: int, strict: bool, max_bad_share: float
) -> Iterator[Document]:
    records = read_records(path, kind, strict=strict, max_bad_share=max_bad_share)
    counts, documents = ConversationCounts(), 0
    if kind == "text":
        made = text_documents((record.text for record in records), tokenizer)
    else:
        made = conversation_documents((record.messages for record in records), tokenizer, max_length, counts)
    for document in made:
        documents += 1
        yield document
    if not documents:
        first = f"; the first error: {records.skipped[0]}" if records.skipped else ""
        raise DataError(f"{path}: no usable {kind} record{first}. Is it the right file, and block_size large enough?")
    if counts.truncated:
        logger.warning("%s: %d conversations were cut to %d tokens, and %d of them lost every target and were dropped",
                       path, counts.truncated, max_length, counts.dropped)  # fmt: skip
