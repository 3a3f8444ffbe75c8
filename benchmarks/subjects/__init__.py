"""What `minimind bench` measures: one module per subject, each with its PEERS and ``measure(run)``.

All of it runs on the CPU in fp32 with random weights or random tokens where only the speed counts. Every subject checks
first that its arms do the same work (losses within TOLERANCE, equal tokens) and raises DifferentWork if they do not.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from minimind_lite.config import ModelConfig, preset

TOLERANCE = 1e-4  # relative difference of two losses that count as equal


class DifferentWork(RuntimeError):
    """Two arms of a comparison do not compute the same: their speeds may not be compared."""


@dataclass(frozen=True)
class Size:
    """How much each subject does at one size."""

    preset: str
    moe: str  # the preset with experts
    block: int  # positions in a row
    long_row: int  # positions in a row of the attention subject
    micro_batch: int  # rows in one forward pass
    accumulation: int  # forward passes in a step
    prompt: int  # tokens of a prompt
    new: Mapping[int, int]  # texts at once -> new tokens of each
    vocab: int  # of the tokenizer that the data subject trains
    texts: int  # that it tokenizes, at most
    documents: int  # in the store that it opens

    @property
    def config(self) -> ModelConfig:
        """The dense model's."""
        return preset(self.preset)


SIZES = {
    "pico": Size("pico", "pico-moe", 64, 256, 2, 2, 8, {1: 6, 3: 4}, 400, 300, 2_000),  # does it run at all?
    "nano": Size("nano", "nano-moe", 512, 4096, 8, 1, 64, {1: 192, 16: 96}, 6400, 100_000, 250_000),
    "small": Size("minimind2-small", "minimind2-moe", 512, 4096, 2, 2, 64, {1: 128, 16: 48}, 6400, 100_000, 2_500_000),
}


@dataclass(frozen=True)
class Run:
    """One call of the benchmark."""

    size: str
    peers: frozenset[str]  # who is compared with
    rounds: int
    seconds: float  # start no further round of a comparison after so many
    threads: int

    @property
    def amounts(self) -> Size:
        """What the size means."""
        return SIZES[self.size]


def agree(what: str, ours: float, theirs: float) -> None:
    """Raise DifferentWork unless two losses or norms are equal within TOLERANCE."""
    if not abs(ours - theirs) <= TOLERANCE * max(1.0, abs(ours)):
        raise DifferentWork(f"{what}: ours is {ours:.6f}, the peer's {theirs:.6f}; the arms do not do the same work")
