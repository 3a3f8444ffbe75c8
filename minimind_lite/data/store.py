"""Tokens on disk: tokenize once, then read them as if they were in memory.

Layout of the file: a header of 1024 bytes (magic, then JSON), the tokens as uint16, the document boundaries as int64,
and, for conversations, one mask byte a token. The header names the tokenizer's fingerprint, so a file made with another
tokenizer is refused rather than trained on, and the sizes, so a file that was cut short is noticed when it is opened.
"""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minimind_lite.data.documents import Document
from minimind_lite.data.records import DataError

_MAGIC = b"MMLTOK01"
_HEADER_BYTES = 1024


class StoreError(DataError):
    """A token file that is missing, cut short, or made for something else."""


class TokenStore:
    """A memory-mapped list of documents: ``len(store)``, ``store[i]`` -> Document. Opening reads only the header."""

    def __init__(self, path: Path, header: dict[str, Any]):
        self.path, self.header = path, header
        tokens, documents = header["tokens"], header["documents"]
        offset = _HEADER_BYTES + tokens * 2
        self.tokens: NDArray[np.uint16] = _mapped(path, np.uint16, _HEADER_BYTES, tokens)
        self.bounds: NDArray[np.int64] = _mapped(path, np.int64, offset + (-offset) % 8, documents + 1)
        mask_at = offset + (-offset) % 8 + (documents + 1) * 8
        self.mask: NDArray[np.uint8] | None = _mapped(path, np.uint8, mask_at, tokens) if header["masked"] else None

    @classmethod
    def write(cls, path: str | Path, documents: Iterable[Document], tokenizer_fingerprint: str) -> "TokenStore":
        """Write ``documents`` to ``path``, whole or not at all, and open the result.

        Raises StoreError for ids over 65,535 (uint16), for a mixture of masked and unmasked documents, for none at all.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + ".partial")
        try:
            with partial.open("wb") as file:
                header = _write_body(file, documents) | {"tokenizer": tokenizer_fingerprint}
                file.seek(0)
                file.write(_MAGIC + json.dumps(header).encode().ljust(_HEADER_BYTES - len(_MAGIC)))
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        return cls.open(path, tokenizer_fingerprint)

    @classmethod
    def open(cls, path: str | Path, tokenizer_fingerprint: str) -> "TokenStore":
        """Open a file made with this tokenizer. Raises StoreError if it is missing, foreign, stale or cut short."""
        path = Path(path)
        if not path.is_file():
            raise StoreError(f"{path}: there is no such token file; tokenize the data first")
        with path.open("rb") as file:
            head = file.read(_HEADER_BYTES)
        if len(head) < _HEADER_BYTES or not head.startswith(_MAGIC):
            raise StoreError(f"{path}: not a token file of this library; delete it and tokenize again")
        header = json.loads(head[len(_MAGIC) :])
        if header["tokenizer"] != tokenizer_fingerprint:
            raise StoreError(
                f"{path}: made with another tokenizer ({header['tokenizer'][:12]}, not {tokenizer_fingerprint[:12]}), "
                "so its ids mean other words; delete it and tokenize again"
            )
        if path.stat().st_size != header["bytes"]:
            raise StoreError(
                f"{path}: {path.stat().st_size:,} bytes instead of {header['bytes']:,}: it was cut short or changed; "
                "delete it and tokenize again"
            )
        return cls(path, header)

    def __len__(self) -> int:
        return int(self.header["documents"])

    def __getitem__(self, index: int) -> Document:
        if not 0 <= index < len(self):
            raise IndexError(f"document {index} of {len(self)}")
        here = slice(int(self.bounds[index]), int(self.bounds[index + 1]))
        return Document(self.tokens[here], None if self.mask is None else self.mask[here])


def _mapped(path: Path, dtype: Any, offset: int, count: int) -> NDArray[Any]:
    return np.memmap(path, dtype=dtype, mode="r", offset=offset, shape=(count,))


def _write_body(file: Any, documents: Iterable[Document]) -> dict[str, Any]:
    """Tokens, padding to 8 bytes, boundaries, masks; returns the header without the tokenizer."""
    bounds, masks = [0], []
    file.seek(_HEADER_BYTES)
    for number, document in enumerate(documents):
        if len(document) and int(document.ids.max()) > np.iinfo(np.uint16).max:
            raise StoreError(f"document {number}: id {int(document.ids.max())} does not fit in uint16 (0..65535)")
        file.write(document.ids.astype("<u2").tobytes())
        bounds.append(bounds[-1] + len(document))
        if document.loss_mask is not None:
            masks.append(document.loss_mask.astype(np.uint8).tobytes())
    if len(bounds) == 1:
        raise StoreError("there is no document to store")
    if masks and len(masks) != len(bounds) - 1:
        raise StoreError("some documents have a loss mask and some have none; a store holds one kind")
    file.write(b"\0" * (-file.tell() % 8) + np.asarray(bounds, dtype="<i8").tobytes() + b"".join(masks))
    return {"tokens": bounds[-1], "documents": len(bounds) - 1, "masked": bool(masks), "bytes": file.tell()}
