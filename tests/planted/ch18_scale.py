"""Planted for the exercises on chapter 18, scale out."""

import torch
import torch.nn.functional as F
from checks_kit import plant
from torch import Tensor

from minimind_lite.course.chapters.scale import checks


def chunk(length: int, rank: int, ranks: int) -> list[int]:
    return [int(one) for one in torch.arange(length).tensor_split(ranks)[rank]]


plant(
    checks.check_own_examples,
    mistakes=[
        (lambda length, rank, ranks: list(range(length)), "every rank reads the same"),
        (lambda length, rank, ranks: list(range(rank + 1, length + 1, ranks)), "counted from 0"),
        (lambda length, rank, ranks: list(range(rank, length // ranks * ranks, ranks)), "read by nobody"),
        (
            lambda length, rank, ranks: [(rank + ranks * i) % length for i in range(-(-length // ranks))],
            "read twice",
        ),
        (lambda length, rank, ranks: chunk(length, rank, ranks), "not in turn"),
        (
            lambda length, rank, ranks: [i for i in range(length) if min(i // -(-(length + 9) // ranks), 3) == rank],
            "wait for the slowest",
        ),
        (lambda length, rank, ranks: list(range(rank, length + ranks, ranks)), "beyond the data"),
    ],
    alternatives=[
        lambda length, rank, ranks: [i for i in range(length) if i % ranks == rank],
        lambda length, rank, ranks: torch.arange(length)[rank::ranks].tolist(),
    ],
)


def average(gradients: list[Tensor], tokens: list[int], slip: str = "") -> Tensor:
    total, ranks = sum(tokens), len(tokens)
    weighted = sum((g * n for g, n in zip(gradients, tokens, strict=True)), torch.zeros_like(gradients[0]))
    plain = torch.stack(gradients).sum(0)
    inverse = sum((g / max(n, 1) for g, n in zip(gradients, tokens, strict=True)), torch.zeros_like(gradients[0]))
    nan = sum((g / n if n else g / torch.zeros(1) * 0 for g, n in zip(gradients, tokens, strict=True)), plain * 0)
    return {
        "": weighted / total,
        "means": plain / ranks,
        "sum": plain,
        "weighted": weighted,
        "ranks": weighted / ranks,
        "inverse": inverse,
        "alone": gradients[0],
        "nan": nan if 0 in tokens else weighted / total,
    }[slip]


plant(
    checks.check_average,
    mistakes=[
        (lambda g, n: average(g, n, "means"), "mean of the means"),
        (lambda g, n: average(g, n, "sum"), "never divided"),
        (lambda g, n: average(g, n, "weighted"), "not divided by their number"),
        (lambda g, n: average(g, n, "ranks"), "divided by the number of ranks"),
        (lambda g, n: average(g, n, "inverse"), "wrong way round"),
        (lambda g, n: average(g, n, "alone"), "nothing was exchanged"),
        (lambda g, n: average(g, n, "nan"), "made it NaN"),
    ],
    alternatives=[
        average,
        lambda g, n: torch.einsum("rij,r->ij", torch.stack(g), torch.tensor(n, dtype=torch.float32) / sum(n)),
    ],
)

Pieces = list[list[Tensor]]
Log = list[tuple[int, int, int, int]]


def ring(data: Pieces, rounds: int = 2, slip: str = "") -> tuple[Pieces, Log]:
    ranks, log = len(data), []
    pieces = [[piece.clone() for piece in own] for own in data]
    for step in range(rounds * (ranks - 1)):
        gathering = step >= ranks - 1
        sent = []
        for rank in range(ranks):
            number = (rank - step) % ranks
            sent.append((number, pieces[rank][number].clone()))
        for rank, (number, piece) in enumerate(sent):
            receiver = (rank + 1) % ranks
            log.append((step, rank, rank if slip == "link" else receiver, number))
            keeps = gathering and slip != "adds"
            if slip != "forgets":
                pieces[receiver][number] = piece if keeps else pieces[receiver][number] + piece
    return pieces, log


def by_main(data: Pieces) -> tuple[Pieces, Log]:
    ranks = len(data)
    sums = [torch.stack(list(one)).sum(0) for one in zip(*data, strict=True)]
    log = [(step, 0, 1, piece) for step in range(ranks) for piece in range(ranks)]
    return [[one.clone() for one in sums] for _ in range(ranks)], log


def everybody(data: Pieces) -> tuple[Pieces, Log]:
    """Every rank passes every piece all the way round."""
    ranks = len(data)
    log = [
        (step * ranks + p, r, (r + 1) % ranks, p)
        for step in range(ranks - 1)
        for r in range(ranks)
        for p in range(ranks)
    ]
    return by_main(data)[0], log if ranks > 2 else [*log, *((9 + s, r, 1 - r, s) for s in range(2) for r in range(2))]


def means(data: Pieces) -> tuple[Pieces, Log]:
    pieces, log = ring(data)
    return [[one / len(data) for one in own] for own in pieces], log


plant(
    checks.check_ring,
    mistakes=[
        (lambda data: ring(data, slip="adds"), "not all pieces are the sums"),
        (lambda data: ring(data, rounds=1), "that is the first round"),
        (lambda data: ring(data, slip="forgets"), "nobody has anything new"),
        (lambda data: ring(data, slip="link"), "than the next one"),
        (by_main, "the busiest link"),
        (everybody, "are enough"),
        (means, "those are means"),
    ],
    alternatives=[
        ring,
        lambda data: (by_main(data)[0], ring(data)[1]),
    ],
)


def shard(weight: Tensor, ranks: int, slip: str = "") -> tuple[list[Tensor], Tensor]:
    count = weight.numel()
    size = -(-count // ranks) + (slip == "wide")
    gap = torch.zeros(ranks * size - count)
    flat = torch.cat([gap, weight.flatten()] if slip == "front" else [weight.flatten(), gap])
    parts = list(flat.split(size))
    if slip == "turns":
        parts = [flat[rank::ranks] for rank in range(ranks)]
    if slip == "whole":
        parts = [weight.flatten()] * ranks
    if slip == "uneven":
        parts = [*weight.flatten().tensor_split(ranks)]
    if slip == "lost":
        parts = [*weight.flatten()[: count // ranks * ranks].split(count // ranks or 1)][:ranks]
        parts += [torch.zeros(1)] * (ranks - len(parts))
    return parts, flat if slip == "flat" else weight.clone() if slip != "wrong" else weight.flip(0)


plant(
    checks.check_shards,
    mistakes=[
        (lambda w, n: shard(w, n, "wide"), "as little as possible"),
        (lambda w, n: shard(w, n, "front"), "padding is in front"),
        (lambda w, n: shard(w, n, "turns"), "in turn"),
        (lambda w, n: shard(w, n, "whole"), "nothing is saved"),
        (lambda w, n: shard(w, n, "uneven"), "needs equal ones"),
        (lambda w, n: shard(w, n, "lost"), "round the length up"),
        (lambda w, n: shard(w, n, "flat"), "still flat"),
        (lambda w, n: shard(w, n, "wrong"), "is not the weight that was sharded"),
    ],
    alternatives=[
        shard,
        lambda w, n: (list(F.pad(w.flatten(), (0, -w.numel() % n)).view(n, -1)), w * 1.0),
    ],
)


def memory(parameters: int, ranks: int, stage: int, adamw: int = 8) -> float:
    weights, gradients, optimizer = 4 * parameters, 4 * parameters, adamw * parameters
    if stage >= 1:
        optimizer /= ranks
    if stage >= 2:
        gradients /= ranks
    if stage >= 3:
        weights /= ranks
    return weights + gradients + optimizer


plant(
    checks.check_memory,
    mistakes=[
        (lambda p, n, s: memory(p, n, s, adamw=4), "two averages of 4 bytes"),
        (lambda p, n, s: p * 16 / n, "everything is divided"),
        (lambda p, n, s: p * 16.0, "is stage 0, DDP"),
        (lambda p, n, s: memory(p, n, s + 1), "one stage further"),
        (lambda p, n, s: memory(p, n, s - 1), "one stage less"),
        (lambda p, n, s: memory(p, n, s) / 4, "values, not bytes"),
        (lambda p, n, s: memory(p, n, s) * n, "all ranks hold together"),
        (lambda p, n, s: memory(p, max(n, 8), s), "nobody to share with"),
    ],
    alternatives=[
        memory,
        lambda p, n, s: p * {0: 16.0, 1: 8 + 8 / n, 2: 4 + 12 / n, 3: 16 / n}[s],
    ],
)
