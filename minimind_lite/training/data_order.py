"""Which examples each step sees: a function of the seed and the step alone, so a resumed run needs no bookkeeping."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset


@lru_cache(maxsize=2)
def _shuffled(length: int, seed: int, epoch: int) -> torch.Tensor:
    """The order of one epoch: another one in each epoch, the same one in each run with this seed."""
    return torch.randperm(length, generator=torch.Generator().manual_seed((seed << 20) + epoch))


@dataclass(frozen=True)
class DataOrder:
    """Splits the data of every step into micro-batches.

    The last step of an epoch takes what is left, so every example is seen once an epoch and no accumulation is lost.
    With several processes each takes its share of the step; a rank left with nothing repeats an example, because every
    rank must take part in each exchange of gradients.
    """

    length: int  # examples in the data
    micro_batch_size: int
    accumulation: int
    seed: int
    rank: int = 0
    ranks: int = 1

    @property
    def steps_per_epoch(self) -> int:
        """Steps that see every example once; the last may be smaller."""
        return -(-self.length // self._per_step)

    @property
    def _per_step(self) -> int:
        return self.micro_batch_size * self.accumulation * self.ranks

    def micro_batches(self, step: int) -> list[list[int]]:
        """Indices of the examples of each micro-batch of ``step`` (counted from 0)."""
        epoch, position = divmod(step, self.steps_per_epoch)
        start = position * self._per_step
        indices = _shuffled(self.length, self.seed, epoch)[start : start + self._per_step].tolist()
        mine = indices[self.rank :: self.ranks] or indices[:1]
        return [mine[i : i + self.micro_batch_size] for i in range(0, len(mine), self.micro_batch_size)]

    def batches(
        self, data: Dataset[Any], start: int, stop: int, collate: Any = None, num_workers: int = 0
    ) -> Iterator[tuple[int, list[Any]]]:
        """(step, its micro-batches) for the steps ``start`` to ``stop - 1``; ``num_workers`` processes read ahead."""
        plan = [indices for step in range(start, stop) for indices in self.micro_batches(step)]
        # With a generator of its own the loader leaves the global one alone: a resumed run must not draw from it.
        loader = DataLoader(
            data, batch_sampler=plan, collate_fn=collate, num_workers=num_workers, generator=torch.Generator()
        )
        batches = iter(loader)
        for step in range(start, stop):
            yield step, [next(batches) for _ in self.micro_batches(step)]
