"""Exact and near duplicates among more texts than memory holds.

What is remembered of a text lies on disk, in files without a name that vanish with the process, however it ends: for an
exact duplicate a 64-bit digest, for a near one a MinHash signature (Broder 1997) and, for every band of it, where texts
with the same band are (locality-sensitive hashing, Leskovec et al., Mining of Massive Datasets, 3.4). Memory does not
grow with the texts. Disk does: per kept text some 30 bytes for exact and 500 for near duplicates.
"""

import hashlib
import os
import struct
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from minimind_lite.data.records import DataError

ROWS, BANDS = 5, 12  # of a signature: two texts alike by 80 % share a band in 99 of 100 cases, by 30 % in 3
SHINGLE = 5  # characters
SHORTEST = 20  # characters; in a shorter text one other word is already another text
_ENTRY = np.dtype([("key", "<u8"), ("number", "<u4")])
_LOOK = 16  # entries read at once
_TAIL = 1024  # entries after the last place, for those that found it taken
_CHUNK = 1 << 14  # entries copied at once
_FULLEST = 0.6


class DiskTable:
    """A hash table from 64-bit keys to numbers below 2**32, in a file; a key may have several numbers.

    Open addressing with linear probing. An entry's place is given by the highest bits of its key, so the entries lie in
    order of their keys but for small shifts, and the table doubles by being copied once from front to back.
    """

    def __init__(self, folder: Path, bits: int = 12) -> None:
        self.folder, self.bits, self.entries = folder, bits, 0
        self._file = self._empty_file(bits)

    def _empty_file(self, bits: int) -> IO[bytes]:
        file = tempfile.TemporaryFile(dir=self.folder, buffering=0)  # noqa: SIM115  open as long as the table
        file.truncate(((1 << bits) + _TAIL) * _ENTRY.itemsize)
        return file

    def _read(self, place: int, count: int) -> bytes:
        self._file.seek(place * _ENTRY.itemsize)
        return self._file.read(count * _ENTRY.itemsize)

    def find(self, key: int) -> tuple[list[int], int]:
        """The numbers stored under ``key``, and the first free place behind them."""
        key = key or 1  # 0 marks a free place
        place = key >> (64 - self.bits)
        found: list[int] = []
        while True:
            data = self._read(place, _LOOK)
            for offset, (other, number) in enumerate(struct.iter_unpack("<QI", data)):
                if not other:
                    return found, place + offset
                if other == key:
                    found.append(number)
            if len(data) < _LOOK * _ENTRY.itemsize:
                raise RuntimeError("the tail of a hash table is full: its keys are not spread evenly")
            place += _LOOK

    def add(self, key: int, number: int, place: int) -> None:
        """Store a number at the free place that ``find`` gave for its key, with nothing added in between."""
        self._file.seek(place * _ENTRY.itemsize)
        self._file.write(struct.pack("<QI", key or 1, number))
        self.entries += 1
        if self.entries > _FULLEST * (1 << self.bits):
            self._double()

    def _double(self) -> None:
        bits, old = self.bits + 1, self._file
        new = self._empty_file(bits)
        carried, last = np.empty(0, _ENTRY), -1
        old.seek(0)
        while len(data := np.frombuffer(old.read(_CHUNK * _ENTRY.itemsize), _ENTRY)):
            free = np.flatnonzero(data["key"] == 0)
            if not len(free):  # in the midst of a run of taken places
                carried = np.concatenate((carried, data))
                continue
            whole, rest = np.concatenate((carried, data[: free[-1]])), data[free[-1] + 1 :]
            last = _place(new, np.sort(whole[whole["key"] != 0], order="key"), bits, last)
            carried = rest
        _place(new, np.sort(carried[carried["key"] != 0], order="key"), bits, last)
        old.close()
        self._file, self.bits = new, bits


def _place(file: IO[bytes], entries: NDArray[Any], bits: int, last: int) -> int:
    """Write entries in order of their keys, each at its place or the next free one; returns the last place taken."""
    if not len(entries):
        return last
    homes = (entries["key"] >> np.uint64(64 - bits)).astype(np.int64)
    index = np.arange(len(entries))
    places = np.maximum(np.maximum.accumulate(homes - index), last + 1) + index
    block = np.zeros(int(places[-1] - places[0]) + 1, _ENTRY)
    block[places - places[0]] = entries
    file.seek(int(places[0]) * _ENTRY.itemsize)
    file.write(block.tobytes())
    return int(places[-1])


class ExactDuplicates:
    """Remembers digests of texts. Two different texts count as the same in one of 10**5 collections of 20 million."""

    def __init__(self, folder: Path) -> None:
        self.table = DiskTable(folder)

    def seen(self, text: str) -> bool:
        """Whether this text was asked about before; from now on it was."""
        digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        key = int.from_bytes(digest, "little")
        found, place = self.table.find(key)
        if not found:
            self.table.add(key, 0, place)
        return bool(found)


class NearDuplicates:
    """Remembers texts and finds one of which another is nearly a copy, by the MinHash signatures of `datasketch`.

    similarity: the share of SHINGLE-character pieces (Jaccard, as the signatures estimate it) that makes a copy.
    Raises DataError where datasketch is not installed.
    """

    def __init__(self, folder: Path, similarity: float = 0.8) -> None:
        self.similarity = similarity
        self._signature = _signatures()
        self._tables = DiskTable(folder)
        self._stored = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115  open as long as this object
        self._count = 0

    def similar(self, text: str) -> float:
        """How similar the most similar text of those remembered is, if it is at least ``similarity``; otherwise 0.

        In that case, and if it is long enough to be compared, the text is remembered.
        """
        if len(text) < SHORTEST:
            return 0.0
        signature = self._signature(text)
        keys = [_band_key(signature, band) for band in range(BANDS)]
        candidates = {number for key in keys for number in self._tables.find(key)[0]}
        best = max((float(np.mean(self._stored_signature(one) == signature)) for one in candidates), default=0.0)
        if best >= self.similarity:
            return best
        self._stored.seek(0, os.SEEK_END)
        self._stored.write(signature.tobytes())
        for key in keys:
            self._tables.add(key, self._count, self._tables.find(key)[1])
        self._count += 1
        return 0.0

    def _stored_signature(self, number: int) -> NDArray[np.uint16]:
        size = 2 * ROWS * BANDS
        self._stored.seek(number * size)
        return np.frombuffer(self._stored.read(size), "<u2")


def _band_key(signature: NDArray[np.uint16], band: int) -> int:
    rows = signature[band * ROWS : (band + 1) * ROWS].tobytes() + bytes([band])
    return int.from_bytes(hashlib.blake2b(rows, digest_size=8).digest(), "little")


def _signatures() -> Callable[[str], NDArray[np.uint16]]:
    """A function from a text to its signature: (ROWS * BANDS,) uint16, the lowest bits of the minima."""
    try:
        from datasketch import MinHash
    except ModuleNotFoundError as error:
        raise DataError(
            f"the step near needs the package {error.name}, which is not installed: pip install "
            "'minimind-lite[clean]', or leave the step out: --skip near"
        ) from None
    empty = MinHash(num_perm=ROWS * BANDS, hashfunc=zlib.crc32)

    def signature(text: str) -> NDArray[np.uint16]:
        hashed = empty.copy()
        pieces = {text[start : start + SHINGLE] for start in range(len(text) - SHINGLE + 1)}
        hashed.update_batch([piece.encode("utf-8", "surrogatepass") for piece in pieces])
        return np.asarray(hashed.hashvalues).astype("<u2")

    return signature
