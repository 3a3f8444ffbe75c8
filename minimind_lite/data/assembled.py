"""Assembled blocks: a packed dataset written out once as the model reads it, so that a batch is a copy of rows.

Packing plans which pieces of which documents make a block; laying them side by side costs some 20 small NumPy calls and
two slices a piece, every time the block is read. Data that is read in several epochs is laid out once instead: 10 bytes
a position in a file without a name, mapped into memory and gone with the process. The tensors are the same.
"""

import mmap
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

BYTES = {"input_ids": "<u2", "targets": "<i4", "position_ids": "<u2", "document_ids": "<i2"}  # of a position
_ROWS = 256  # laid out, and read until their pages are let go of


class AssembledBlocks:
    """Rows of a file: (blocks,) records of BYTES, each field (block_size,)."""

    def __init__(
        self, lay_out: Callable[[range], Mapping[str, Tensor]], blocks: int, block_size: int, folder: Path | None
    ) -> None:
        """lay_out: gives some blocks as int64 tensors (blocks, block_size). Raises OSError if there is no room."""
        record = np.dtype([(name, form, (block_size,)) for name, form in BYTES.items()])
        with tempfile.TemporaryFile(dir=folder) as file:
            for start in range(0, blocks, _ROWS):
                here = range(start, min(start + _ROWS, blocks))
                rows = np.empty(len(here), record)
                for name, tensor in lay_out(here).items():
                    rows[name] = tensor.numpy()
                file.write(rows.tobytes())
            file.flush()
            self._file = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.rows: NDArray[np.void] = np.frombuffer(self._file, record)
        self._reads = 0

    def batch_of(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """The blocks at ``indices`` as ``lay_out`` gave them."""
        here = np.asarray(indices)
        batch = {name: torch.from_numpy(self.rows[name][here].astype(np.int64)) for name in BYTES}
        self._reads += len(here)
        if self._reads >= _ROWS and sys.platform == "linux":  # as in TokenStore: the system counts pages as ours
            self._reads = 0
            self._file.madvise(mmap.MADV_DONTNEED)
        return batch
