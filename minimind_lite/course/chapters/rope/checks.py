"""Checks of the exercises on chapter 03, RoPE. References: complex multiplication, and transformers' Llama."""

import math

import torch
from torch import Tensor

from ...exercises.core import check
from ...exercises.task import Task, close
from ...kit.language import say

TURNED = "the pairs must be turned by (position · frequency)"


@check("03.frequencies", points=1)
def check_frequencies(task: Task) -> str:
    """How fast each pair of dimensions turns"""
    dim, theta = 2 * task.number(3, 9), float(task.number(50, 500))
    got = task.call(dim, theta)
    pairs = torch.arange(dim // 2, dtype=torch.float64)
    expected = torch.exp(-math.log(theta) * 2 * pairs / dim)
    task.equal(got, expected, "wanted is theta^(-2i / head_dim) for the pairs i = 0 … head_dim/2 - 1", {
        "these are wavelengths: the sign of the exponent is missing, so the pairs speed up instead of slowing down":
            1 / expected,
        "the 2 is missing: the exponent is -2i / head_dim, or the slowest pair is still much too fast":
            theta ** (-pairs / dim),
        "there is one frequency for each dimension; a pair of dimensions turns together, so half as many are wanted":
            theta ** (-torch.arange(dim, dtype=torch.float64) / dim),
        "the pairs are numbered from 0: the first one turns by a whole radian for each position":
            theta ** (-2 * (pairs + 1) / dim),
        "each frequency stands there twice; one for each pair is wanted": expected.repeat(2),
    })  # fmt: skip
    return "from one radian for each position down to nearly 1/theta, in equal ratios"


def _by_complex_numbers(x: Tensor, positions: Tensor, f: Tensor) -> Tensor:
    """The first half of the dimensions as real parts, the second as imaginary ones, times e^(i · angle)."""
    first, second = x.double().chunk(2, dim=-1)
    angles = positions.double()[:, None] * f.double()
    turned = torch.complex(first, second) * torch.polar(torch.ones_like(angles), angles)
    return torch.cat((turned.real, turned.imag), dim=-1)


def _neighbours(x: Tensor, positions: Tensor, f: Tensor) -> Tensor:
    """The same turn on pairs of neighbours, (0, 1), (2, 3), …"""
    order = torch.cat((torch.arange(0, x.shape[-1], 2), torch.arange(1, x.shape[-1], 2)))
    turned = _by_complex_numbers(x[..., order], positions, f)
    return turned[..., order.argsort()]


@check("03.rotate", points=2)
def check_rotate(task: Task) -> str:
    """Rotate queries and keys, in Llama's layout"""
    x, f = task.randn(2, 3, 5, 8), torch.tensor([1.0, 0.4, 0.15, 0.02])
    positions = task.randint(1, 40, 5)
    got = task.call(x, positions, f)
    angles = (positions[:, None] * f).repeat(1, 2)
    first, second = x.chunk(2, dim=-1)
    task.equal(got, _by_complex_numbers(x, positions, f), TURNED, {
        "you paired neighbours (0, 1), (2, 3) …; Llama's weights pair i with i + head_dim/2":
            _neighbours(x, positions, f),
        "you turned the other way: first · cos - second · sin, second · cos + first · sin":
            _by_complex_numbers(x, -positions, f),
        "the minus is missing: both halves add the other one, and lengths change":
            x * angles.cos() + torch.cat((second, first), -1) * angles.sin(),
        "every token was turned as if it stood at 0, 1, 2 …: use the positions you were given":
            _by_complex_numbers(x, torch.arange(5), f),
        "you only scaled by the cosine: a turn mixes both halves": x * angles.cos(),
        "x came back as it was: nothing has been turned": x,
    }, tolerance=1e-3)  # fmt: skip
    task.that(close(got.norm(dim=-1), x.norm(dim=-1), 1e-3), "a turn keeps every length, and yours does not")
    x, f, positions = task.randn(1, 2, 1, 6), torch.tensor([1.0, 0.3, 0.05]), task.randint(1, 40, 1)
    task.again(_by_complex_numbers(x, positions, f), x, positions, f, tolerance=1e-3)
    return "equals multiplication by complex numbers of length 1, so every length stays"


@check("03.relative", points=3)
def check_attention_scores(task: Task) -> str:
    """Scores that see the distance only"""
    q, k, start = task.randn(6, 8), task.randn(6, 8), task.number(5, 200)
    f = torch.tensor([1.0, 0.3, 0.1, 0.03])
    here, there = task.call(q, k, 0, f), task.call(q, k, start, f)
    positions, scale = torch.arange(6), 8**-0.5
    turned_q, turned_k = _by_complex_numbers(q, positions, f), _by_complex_numbers(k, positions, f)
    plain = q.double() @ k.double().T * scale
    expected = turned_q @ turned_k.T * scale
    unturned_k = turned_q @ k.double().T * scale
    task.equal(here, expected, "these are not the scores of turned queries with turned keys", {
        "the scores know nothing of positions: turn queries and keys first": plain,
        "only the queries are turned: the score then depends on where they stand, not on the distance": unturned_k,
        "only the keys are turned: the score then depends on where they stand, not on the distance":
            q.double() @ turned_k.T * scale,
        "queries and keys are turned in opposite directions: the score sees the SUM of the two positions":
            turned_q @ _by_complex_numbers(k, -positions, f).T * scale,
        "the scale is missing: divide by the square root of head_dim": expected / scale,
        "rows and columns are exchanged: row m holds the scores of query m": expected.T,
    }, tolerance=1e-3)  # fmt: skip
    task.that(
        close(here, there, 1e-3),
        say(
            "starting at position {start} instead of 0 changed the scores, though "
            "all distances are the same: `start` must move queries and keys alike",
            start=start,
        ),
    )
    return "moving the whole sentence changes no score: the dot product sees m - n only"


@check("03.cached", points=2)
def check_repaired_step(task: Task) -> str:
    """The planted bug: generation that falls apart after the first token"""
    x, f = task.randn(7, 8), torch.tensor([1.0, 0.3, 0.1, 0.03])
    whole = _by_complex_numbers(x, torch.arange(7), f)
    for length in (5, 1):
        keys = task.call(whole[:length].float(), x[length : length + 2], f)
        task.that(isinstance(keys, Tensor) and keys.shape == (length + 2, 8),
                  "return the cached keys and the new ones behind them, (cached + new, head_dim)")  # fmt: skip
        new = x[length : length + 2]
        cached = whole[:length]
        task.equal(keys, whole[: length + 2], "the keys are not those of one pass over the whole text", {
            "still there: the new keys are turned as if the text began with them. How many are in the cache?":
                torch.cat((cached, _by_complex_numbers(new, torch.arange(2), f))),
            "off by one: the first new key stands at position len(cached), not behind it":
                torch.cat((cached, _by_complex_numbers(new, torch.arange(2) + length + 1, f))),
            "off by one the other way: the last cached key stands at len(cached) - 1 already":
                torch.cat((cached, _by_complex_numbers(new, torch.arange(2) + length - 1, f))),
            "the cached keys were turned before they were stored: now they are turned twice":
                _by_complex_numbers(torch.cat((cached, new)), torch.arange(length + 2), f),
            "all new keys stand at the same position: each is one further than the one before":
                torch.cat((cached, _by_complex_numbers(new, torch.full((2,), length), f))),
            "the new keys are not turned at all": torch.cat((cached, new)),
        }, tolerance=1e-3)  # fmt: skip
    return "token by token or all at once: the same keys"


def _counts(dim: int, theta: float, length: int) -> tuple[int, int, int]:
    """Measured: how many pairs reach a full turn, half a turn, one radian in ``length`` positions."""
    angles = length * torch.exp(-math.log(theta) * torch.arange(0, dim, 2, dtype=torch.float64) / dim)
    full, half, radian = (int((angles >= limit).sum()) for limit in (2 * math.pi, math.pi, 1.0))
    return full, half, radian


@check("03.wavelength", points=2)
def check_predicted_turns(task: Task) -> str:
    """Predict, then measure: which pairs have seen a full turn?"""
    for _ in range(5):
        answers: set[int] = set()
        while len(answers) < 5:  # until every mistake gives a number of its own
            dim, theta, length = 2 * task.number(12, 33), float(10 ** task.number(3, 7)), 2 ** task.number(7, 12)
            full, half, radian = _counts(dim, theta, length)
            answers = {full, half, radian, dim // 2 - full, 2 * full}
        which = say(
            "head_dim {dim}, theta {theta}, {length} tokens: the count is another one",
            dim=dim,
            theta=f"{theta:g}",
            length=length,
        )
        task.equal(task.call(dim, theta, length), full, which, {
            "you counted half turns: a full turn is 2π radians, not π": half,
            "you counted the pairs that have reached one radian; a full turn is 2π of them": radian,
            "these are the pairs that have NOT made a full turn": dim // 2 - full,
            "those are dimensions; count pairs of them": 2 * full,
        })  # fmt: skip
    return "the slow pairs never see a whole turn in training: what YaRN is for"
