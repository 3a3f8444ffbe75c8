"""A calculator for training on several cards: memory per card, bytes to exchange, and how much time is left for work.

Choices: bytes are exact (weights, gradients, optimizer states follow from the number of parameters); activations are
measured on one example and scale with the tokens of a micro-batch · times are the usual model of a message, latency
plus bytes over bandwidth, and know nothing of congestion or stragglers: read them as the best that can be hoped for.
"""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from minimind_lite.config import ConfigError
from minimind_lite.settings import Checked, Count, NotNegative, Positive, Share

Sharding = Literal["ddp", "zero1", "zero2", "zero3"]  # FSDP with resharding after the forward pass is zero3
KEPT_WHOLE: dict[Sharding, tuple[str, ...]] = {
    "ddp": ("weights", "gradients", "optimizer"),
    "zero1": ("weights", "gradients"),
    "zero2": ("weights",),
    "zero3": (),
}


@dataclass(frozen=True)
class BytesPerParameter(Checked):
    """What training keeps for each parameter. The defaults are this library's: all in float32, AdamW's two averages.

    Mixed precision as in the ZeRO paper is (2, 2, 12): float16 weights and gradients, and an optimizer that keeps a
    float32 copy of the weights beside its two averages.
    """

    weights: Positive = 4.0
    gradients: Positive = 4.0
    optimizer: Positive = 8.0


@dataclass(frozen=True)
class Memory:
    """Bytes on one card."""

    weights: float
    gradients: float
    optimizer: float
    activations: float

    @property
    def total(self) -> float:
        """Their sum. Buffers, fragmentation and the CUDA context (about 1 GB) come on top."""
        return self.weights + self.gradients + self.optimizer + self.activations


def memory_per_rank(
    parameters: int,
    ranks: int = 1,
    sharding: Sharding = "ddp",
    per_parameter: BytesPerParameter | None = None,
    activations: float = 0.0,
) -> Memory:
    """What each of ``ranks`` cards holds between two steps; activations: bytes of its own micro-batch, never sharded.

    Raises ConfigError for an unknown kind of sharding or less than one rank. Source: Rajbhandari et al. 2020 (ZeRO,
    arXiv 1910.02054), figure 1, whose example is 7.5 billion parameters on 64 cards:

    >>> paper = BytesPerParameter(weights=2, gradients=2, optimizer=12)
    >>> [round(memory_per_rank(7_500_000_000, 64, kind, paper).total / 1e9, 1) for kind in KEPT_WHOLE]
    [120.0, 31.4, 16.6, 1.9]
    """
    _check(sharding, ranks)
    each = per_parameter or BytesPerParameter()
    share = {
        name: getattr(each, name) * parameters / (1 if name in KEPT_WHOLE[sharding] else ranks)
        for name in KEPT_WHOLE["ddp"]
    }
    return Memory(**share, activations=activations)


def all_reduce_bytes(size: float, ranks: int) -> float:
    """Bytes that each rank sends in a ring all-reduce of ``size`` bytes: 2(n-1)/n of them, never more than twice.

    Source: Patarasuk & Yuan 2009, *Bandwidth optimal all-reduce algorithms for clusters of workstations*.

    >>> [all_reduce_bytes(100.0, ranks) for ranks in (1, 2, 4, 100)]
    [0.0, 100.0, 150.0, 198.0]
    """
    _check("ddp", ranks)
    return 2 * (ranks - 1) / ranks * size


def step_bytes(parameters: int, ranks: int, sharding: Sharding = "ddp", bytes_each: float = 4.0) -> float:
    """Bytes that each rank sends in one step: the gradients' way there and the weights' way back.

    ZeRO 1 and 2 need as much as DDP: gradients are reduced to the rank that owns them, then new weights are gathered.
    ZeRO 3 gathers the weights twice, before the forward and before the backward pass: half as much again. Source:
    Rajbhandari et al. 2020, section 7.

    >>> [step_bytes(1_000_000, 4, kind) for kind in KEPT_WHOLE]
    [6000000.0, 6000000.0, 6000000.0, 9000000.0]
    """
    _check(sharding, ranks)
    return all_reduce_bytes(parameters * bytes_each, ranks) * (1.5 if sharding == "zero3" else 1.0)


@dataclass(frozen=True)
class Cluster(Checked):
    """Machines joined by a network. Bandwidths are what one machine reaches in one direction, in bytes per second."""

    cards_per_node: Count = 8
    card_flops: Positive = 400e12  # what a card really reaches in training, per second: peak × MFU
    inside: Positive = 300e9  # between the cards of a machine, per card (NVLink)
    between: Positive = 50e9  # between machines, per machine (400 Gbit/s)
    latency: NotNegative = 10e-6  # seconds of one message, however short
    overlap: Share = 0.6  # share of the computation behind which an exchange can hide: most of the backward pass


def exchange_seconds(size: float, nodes: int, cards: int, cluster: Cluster) -> float:
    """Seconds of an all-reduce of ``size`` bytes over ``nodes`` machines with ``cards`` cards each.

    First inside each machine, then between machines, where the cards send a share each at the same time.

    >>> two = Cluster(inside=100.0, between=10.0, latency=0.0)
    >>> exchange_seconds(100.0, 1, 2, two), exchange_seconds(100.0, 2, 2, two)
    (1.0, 11.0)
    """
    messages = 2 * (cards - 1) + 2 * (nodes - 1)
    inside = all_reduce_bytes(size, cards) / cluster.inside
    return messages * cluster.latency + inside + all_reduce_bytes(size, nodes) / cluster.between


def efficiency(
    parameters: int,
    tokens: float,
    ranks: int,
    cluster: Cluster,
    sharding: Sharding = "ddp",
    bytes_each: float = 4.0,
) -> float:
    """Expected share of ``ranks`` times one card's throughput, if each card has ``tokens`` tokens in a step.

    A step computes 6 · parameters · tokens operations (Kaplan et al. 2020, arXiv 2001.08361, table 1, attention left
    out); the part of the exchange that does not hide behind them is added. Raises ConfigError if the ranks do not fill
    machines.

    >>> cluster = Cluster(card_flops=100e12, between=25e9)
    >>> [round(efficiency(100_000_000, 16_384, ranks, cluster), 2) for ranks in (1, 8, 16, 512)]
    [1.0, 1.0, 1.0, 1.0]
    >>> [round(efficiency(100_000_000, 1_024, ranks, cluster), 2) for ranks in (1, 8, 16, 512)]
    [1.0, 1.0, 0.29, 0.16]
    """
    _check(sharding, ranks)
    cards = min(ranks, cluster.cards_per_node)
    if ranks % cards:
        raise ConfigError(f"{ranks} ranks do not fill machines of {cards} cards: use a multiple of {cards}")
    computing = 6 * parameters * tokens / cluster.card_flops
    size = parameters * bytes_each * (1.5 if sharding == "zero3" else 1.0)
    waiting = max(0.0, exchange_seconds(size, ranks // cards, cards, cluster) - cluster.overlap * computing)
    return computing / (computing + waiting)


def saved_activations(model: Any, *args: Any) -> int:
    """Bytes that the forward pass ``model(*args)`` keeps for the backward pass, weights and repeated views not counted.

    Nor is what has a weight matrix's shape: the loss makes the head's gradient at once, and that counts elsewhere.
    Measured, not computed: a formula would have to know every kernel. It grows in proportion to the tokens of the
    micro-batch as long as attention keeps no matrix of all pairs.
    """
    own = {one.untyped_storage().data_ptr() for one in model.parameters()}
    matrices = {one.shape for one in model.parameters() if one.dim() > 1}
    kept: dict[int, int] = {}

    def note(saved: Tensor) -> Tensor:
        storage = saved.untyped_storage()
        if storage.data_ptr() not in own and saved.shape not in matrices:
            kept[storage.data_ptr()] = storage.nbytes()
        return saved

    with torch.autograd.graph.saved_tensors_hooks(note, lambda saved: saved):
        output = model(*args)  # alive until all are counted: a freed address could be given out again
    del output
    return sum(kept.values())


def _check(sharding: str, ranks: int) -> None:
    if sharding not in get_args(Sharding):
        raise ConfigError(f"there is no sharding called {sharding!r}; there are: {', '.join(get_args(Sharding))}")
    if ranks < 1:
        raise ConfigError(f"{ranks} ranks: there must be at least one")
