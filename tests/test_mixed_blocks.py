"""Blocks of several datasets, mixed in given shares: other ones of the smaller share in every epoch."""

from collections import Counter
from typing import Any

import pytest
from torch.utils.data import Dataset

from minimind_lite.data.packing import MixedBlocks
from minimind_lite.training.loop import DataOrder


class Numbered(Dataset[Any]):
    """Items that are their own numbers."""

    def __init__(self, name: str, length: int) -> None:
        self.name, self.length = name, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[str, int]:
        assert 0 <= index < self.length
        return self.name, index


def mixed(talk: int, text: int, share: float) -> MixedBlocks:
    return MixedBlocks([Numbered("talk", talk), Numbered("text", text)], [1 - share, share])  # type: ignore[list-item]


def epochs(data: MixedBlocks, count: int, size: int = 4) -> list[list[Any]]:
    """What each epoch of a run in this order reads."""
    order = DataOrder(len(data), size, 1, seed=3)
    steps = order.steps_per_epoch
    read = list(order.batches(data, 0, count * steps, collate=list))
    return [[one for _, [batch] in read[at : at + steps] for one in batch] for at in range(0, count * steps, steps)]


@pytest.mark.parametrize(("text", "seen"), [(100, 15), (7, 7)])
def test_an_epoch_has_all_of_the_first_and_the_next_of_the_other(text: int, seen: int) -> None:
    data = mixed(20, text, 0.2)
    assert len(data) == 25
    read = epochs(data, 3)
    for epoch in read:
        assert sorted(one for one in epoch if one[0] == "talk") == [("talk", number) for number in range(20)]
        assert len({one for one in epoch if one[0] == "text"}) == 5
    others = Counter(one for epoch in read for one in epoch if one[0] == "text")
    assert len(others) == seen and max(others.values()) - min(others.values()) <= 1


@pytest.mark.parametrize("length", [1, 2, 3, 8, 99, 640])
def test_every_block_comes_before_any_comes_again_and_from_all_over(length: int) -> None:
    data = mixed(1, length, 0.5)
    places = [data[2 * epoch + 1][1] for epoch in range(length)]  # type: ignore[index]
    assert sorted(places) == list(range(length))
    quarter = places[: length // 4]
    assert length < 32 or max(quarter) - min(quarter) > 0.9 * length - 3


def test_data_that_is_the_same_in_every_epoch_keeps_its_indices() -> None:
    order, plain = DataOrder(5, 2, 1, seed=0), Numbered("talk", 5)
    assert order.indices_in(plain, 4) == order.micro_batches(4)
    later = order.indices_in(mixed(4, 9, 0.2), 4)  # steps of an epoch: 3
    assert later == [[5 + index for index in indices] for indices in order.micro_batches(4)]
    assert order.indices_in(mixed(4, 9, 0.2), 0) == order.micro_batches(0)
