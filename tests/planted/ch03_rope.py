"""Planted for the exercises on chapter 03, RoPE."""

import math

import torch
from checks_kit import plant
from torch import Tensor

from minimind_lite.course.chapters.rope import checks


def speeds(dim: int, theta: float) -> Tensor:
    return 1.0 / theta ** (torch.arange(0, dim, 2).float() / dim)


plant(
    checks.check_frequencies,
    mistakes=[
        (lambda dim, theta: 1 / speeds(dim, theta), "the sign of the exponent"),
        (lambda dim, theta: theta ** (-torch.arange(dim // 2) / dim), "the 2 is missing"),
        (lambda dim, theta: theta ** (-torch.arange(dim) / dim), "half as many are wanted"),
        (lambda dim, theta: theta ** (-torch.arange(2, dim + 2, 2) / dim), "numbered from 0"),
        (lambda dim, theta: speeds(dim, theta).repeat(2), "stands there twice"),
    ],
    alternatives=[
        speeds,
        lambda dim, theta: [theta ** (-2 * i / dim) for i in range(dim // 2)],
        lambda dim, theta: torch.exp(torch.linspace(0, 2 / dim - 1, dim // 2) * math.log(theta)),
    ],
)


def turn(x: Tensor, positions: Tensor, f: Tensor, sign: int = 1) -> Tensor:
    """As Llama's code in transformers does it: x · cos + rotate_half(x) · sin."""
    angles = (positions[:, None] * f).repeat(1, 2)
    first, second = x.chunk(2, dim=-1)
    return x * angles.cos() + sign * torch.cat((-second, first), dim=-1) * angles.sin()


def by_einsum(x: Tensor, positions: Tensor, f: Tensor) -> Tensor:
    angles = positions[:, None] * f
    matrices = torch.stack((angles.cos(), -angles.sin(), angles.sin(), angles.cos()), -1).unflatten(-1, (2, 2))
    pairs = x.unflatten(-1, (2, -1))  # (batch, heads, seq, 2, head_dim // 2)
    return torch.einsum("sdij,bhsjd->bhsid", matrices, pairs).flatten(-2)


def by_loops(x: Tensor, positions: Tensor, f: Tensor) -> Tensor:
    turned, half = x.clone(), x.shape[-1] // 2
    for s, position in enumerate(positions.tolist()):
        for i, speed in enumerate(f.tolist()):
            a, b = x[:, :, s, i], x[:, :, s, i + half]
            cos, sin = math.cos(position * speed), math.sin(position * speed)
            turned[:, :, s, i], turned[:, :, s, i + half] = a * cos - b * sin, a * sin + b * cos
    return turned


def neighbours(x: Tensor, positions: Tensor, f: Tensor) -> Tensor:
    angles = positions[:, None] * f
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack(
        (even * angles.cos() - odd * angles.sin(), odd * angles.cos() + even * angles.sin()), -1
    ).flatten(-2)


def without_minus(x: Tensor, positions: Tensor, f: Tensor) -> Tensor:
    angles = (positions[:, None] * f).repeat(1, 2)
    first, second = x.chunk(2, dim=-1)
    return x * angles.cos() + torch.cat((second, first), dim=-1) * angles.sin()


plant(
    checks.check_rotate,
    mistakes=[
        (neighbours, "you paired neighbours"),
        (lambda x, p, f: turn(x, p, f, sign=-1), "you turned the other way"),
        (without_minus, "the minus is missing"),
        (lambda x, p, f: turn(x, torch.arange(len(p)), f), "use the positions you were given"),
        (lambda x, p, f: x * (p[:, None] * f).repeat(1, 2).cos(), "only scaled by the cosine"),
        (lambda x, p, f: x, "nothing has been turned"),
        (lambda x, p, f: x * (p[:, None] * f).cos(), "RuntimeError"),
    ],
    alternatives=[turn, by_einsum, by_loops],
)


def scores(q: Tensor, k: Tensor, start: int, f: Tensor, turn_q: int = 1, turn_k: int = 1) -> Tensor:
    positions = torch.arange(start, start + len(q))
    return turn(q, turn_q * positions, f) @ turn(k, turn_k * positions, f).T / math.sqrt(q.shape[1])


def scores_by_distance(q: Tensor, k: Tensor, start: int, f: Tensor) -> Tensor:
    """No turned vector anywhere: each score from the distance m - n alone."""
    rows = [[q[m] @ turn(k[n : n + 1], torch.tensor([n - m]), f)[0] for n in range(len(k))] for m in range(len(q))]
    return torch.stack([torch.stack(row) for row in rows]) * q.shape[1] ** -0.5


def scores_of_moved_queries(q: Tensor, k: Tensor, start: int, f: Tensor) -> Tensor:
    positions = torch.arange(len(q))
    return turn(q, positions + start, f) @ turn(k, positions, f).T / math.sqrt(q.shape[1])


def scores_by_einsum(q: Tensor, k: Tensor, start: int, f: Tensor) -> Tensor:
    places = torch.arange(len(q))
    return torch.einsum("md,nd->mn", turn(q, places, f), turn(k, places, f)) / 8**0.5


plant(
    checks.check_attention_scores,
    mistakes=[
        (lambda q, k, s, f: scores(q, k, s, f, 0, 0), "know nothing of positions"),
        (lambda q, k, s, f: scores(q, k, s, f, 1, 0), "only the queries are turned"),
        (lambda q, k, s, f: scores(q, k, s, f, 0, 1), "only the keys are turned"),
        (lambda q, k, s, f: scores(q, k, s, f, 1, -1), "SUM of the two positions"),
        (lambda q, k, s, f: scores(q, k, s, f) * 8**0.5, "the scale is missing"),
        (lambda q, k, s, f: scores(q, k, s, f).T, "rows and columns are exchanged"),
        (scores_of_moved_queries, "must move queries and keys alike"),
    ],
    alternatives=[scores, scores_by_distance, scores_by_einsum],
)


def step(cached: Tensor, new: Tensor, f: Tensor, shift: int = 0) -> Tensor:
    return torch.cat((cached, turn(new, torch.arange(len(new)) + len(cached) + shift, f)))


def step_by_step(cached: Tensor, new: Tensor, f: Tensor) -> Tensor:
    rows = list(cached)
    for one in new:
        rows.append(turn(one[None], torch.tensor([len(rows)]), f)[0])
    return torch.stack(rows)


def twice(cached: Tensor, new: Tensor, f: Tensor) -> Tensor:
    return turn(torch.cat((cached, new)), torch.arange(len(cached) + len(new)), f)


plant(
    checks.check_repaired_step,
    mistakes=[
        (lambda c, n, f: step(c, n, f, -len(c)), "still there"),
        (lambda c, n, f: step(c, n, f, 1), "off by one: the first new key"),
        (lambda c, n, f: step(c, n, f, -1), "off by one the other way"),
        (twice, "turned twice"),
        (lambda c, n, f: torch.cat((c, turn(n, torch.full((2,), len(c)), f))), "at the same position"),
        (lambda c, n, f: torch.cat((c, n)), "not turned at all"),
        (lambda c, n, f: step(c, n, f)[len(c) :], "the cached keys and the new ones behind them"),
    ],
    alternatives=[step, step_by_step],
)


def turned_pairs(dim: int, theta: float, length: int) -> int:
    return sum(length * theta ** (-2 * i / dim) >= 2 * math.pi for i in range(dim // 2))


def turned_pairs_by_floor(dim: int, theta: float, length: int) -> int:
    return int((length * speeds(dim, theta).double() / (2 * math.pi)).floor().clamp(0, 1).sum())


plant(
    checks.check_predicted_turns,
    mistakes=[
        (lambda d, t, n: d // 2 - turned_pairs(d, t, n), "have NOT"),
        (lambda d, t, n: turned_pairs(d, t, n * 2 * math.pi), "reached one radian"),
        (lambda d, t, n: turned_pairs(d, t, 2 * n), "half turns"),
        (lambda d, t, n: 2 * turned_pairs(d, t, n), "count pairs of them"),
        (lambda d, t, n: turned_pairs(d, t, n) - 1, "the count is another one"),
    ],
    alternatives=[turned_pairs, turned_pairs_by_floor],
)
