"""Planted for the exercises on chapter 11, LoRA."""

import re
from typing import Any

import torch
from checks_kit import plant
from torch import Tensor
from torch.nn import functional as F

from minimind_lite.course.chapters.lora import checks

Adapters = dict[str, tuple[Tensor, Tensor, float]]


def with_factor(factor: Any, base: float = 1.0) -> Any:
    def forward(x: Tensor, W: Tensor, A: Tensor, B: Tensor, alpha: float) -> Tensor:
        return base * x @ W.T + factor(alpha, len(A)) * (x @ A.T @ B.T)

    return forward


plant(
    checks.check_lora_forward,
    mistakes=[
        (with_factor(lambda alpha, rank: 1.0), "is missing"),
        (with_factor(lambda alpha, rank: alpha), "by alpha alone"),
        (with_factor(lambda alpha, rank: 1 / rank), "by the rank alone"),
        (with_factor(lambda alpha, rank: rank / alpha), "wrong way round"),
        (lambda x, W, A, B, alpha: x @ W.T + alpha / A.shape[1] * x @ A.T @ B.T, "one of the layer's widths"),
        (with_factor(lambda alpha, rank: alpha / rank, base=0.0), "own part is missing"),
        (lambda x, W, A, B, alpha: alpha / len(A) * (x @ W.T + x @ A.T @ B.T), "to the change alone"),
    ],
    alternatives=[
        lambda x, W, A, B, alpha: F.linear(x, W + alpha / len(A) * B @ A),
        lambda x, W, A, B, alpha: (
            torch.einsum("bsi,oi->bso", x, W) + torch.einsum("bsi,ri,or->bso", x, A, B) * alpha / len(A)
        ),
    ],
)


def one_by_one(shapes: list[tuple[int, int]], rank: int) -> int:
    total = 0
    for out, inner in shapes:
        total += torch.zeros(rank, inner).numel() + torch.zeros(out, rank).numel()
    return total


plant(
    checks.check_trained_numbers,
    mistakes=[
        (lambda shapes, rank: sum(o * i for o, i in shapes), "stay frozen"),
        (lambda shapes, rank: sum(rank * o * i for o, i in shapes), "never stored"),
        (lambda shapes, rank: sum(rank * i for o, i in shapes), "B is not"),
        (lambda shapes, rank: sum(rank * o for o, i in shapes), "A is not"),
        (lambda shapes, rank: rank * (shapes[0][0] + shapes[0][1]), "that is one layer"),
    ],
    alternatives=[one_by_one],
)


def with_anchors(names: list[str], pattern: str) -> list[str]:
    return [name for name in names if re.match(f"(?:{pattern})\\Z", name)]


plant(
    checks.check_chosen_layers,
    mistakes=[
        (lambda names, pattern: [n for n in names if re.search(pattern, n)], "anywhere inside"),
        (lambda names, pattern: [n for n in names if re.match(pattern, n)], "names that go on"),
        (lambda names, pattern: [n for n in names if not re.fullmatch(pattern, n)], "do not fit"),
        (lambda names, pattern: [n for n in names if pattern in n], "not a plain text"),
        (lambda names, pattern: names, "other layers are meant"),
    ],
    alternatives=[with_anchors],
)


def merged(W: Tensor, adapters: Adapters, name: str | None, factor: Any = lambda alpha, rank: alpha / rank) -> Tensor:
    if name is None:
        return W
    A, B, alpha = adapters[name]
    return W + factor(alpha, len(A)) * B @ A


def all_of_them(W: Tensor, adapters: Adapters, name: str | None) -> Tensor:
    for one in adapters if name else ():
        W = merged(W, adapters, one)
    return W


def there_and_back(W: Tensor, adapters: Adapters, name: str | None) -> Tensor:
    if name:
        return merged(W, adapters, name)
    change = merged(W, adapters, "medical") - W
    return (W + 3 * change) - 3 * change


def by_outer_products(W: Tensor, adapters: Adapters, name: str | None) -> Tensor:
    result = W.clone()
    if name:
        A, B, alpha = adapters[name]
        for row, column in zip(A, B.T, strict=True):
            result += alpha / len(A) * torch.outer(column, row)
    return result


def the_other(W: Tensor, adapters: Adapters, name: str | None) -> Tensor:
    return merged(W, adapters, name and next(one for one in adapters if one != name))


plant(
    checks.check_merged,
    mistakes=[
        (lambda W, a, n: merged(W, a, n, lambda alpha, rank: 1.0), "is missing"),
        (lambda W, a, n: merged(W, a, n, lambda alpha, rank: alpha), "divide by the rank"),
        (lambda W, a, n: merged(W, a, n, lambda alpha, rank: -alpha / rank), "the sign"),
        (lambda W, a, n: merged(W, a, n) - W, "the change alone"),
        (all_of_them, "both adapters"),
        (the_other, "the other adapter"),
        (there_and_back, "not to the bit"),
        (lambda W, a, n: merged(W, a, n or "medical"), "the layer is its base"),
    ],
    alternatives=[by_outer_products],
)


def started(kind_a: Any, kind_b: Any) -> Any:
    return lambda out, inner, rank: (kind_a(rank, inner) / inner**0.5, kind_b(out, rank))


plant(
    checks.check_start,
    mistakes=[
        (started(torch.zeros, torch.zeros), "both are zero"),
        (started(torch.randn, torch.randn), "is not 0"),
        (started(torch.ones, torch.zeros), "all the same"),
        (lambda out, inner, rank: (1e-6 * torch.randn(rank, inner), torch.zeros(out, rank)), "crawl"),
        (lambda out, inner, rank: (torch.randn(inner, rank), torch.zeros(rank, out)), "wanted are A"),
    ],
    alternatives=[
        started(torch.randn, torch.zeros),
        lambda out, inner, rank: (torch.zeros(rank, inner), torch.rand(out, rank) - 0.5),
    ],
)


def share_lost(values: Tensor, rank: int) -> Tensor:
    return values[rank:].square().sum() / values.square().sum()


plant(
    checks.check_rank_error,
    mistakes=[
        (lambda values, rank: 1 - share_lost(values, rank), "what it loses"),
        (lambda values, rank: values[rank:].sum() / values.sum(), "*squares*"),
        (lambda values, rank: share_lost(values, rank) ** 0.5, "a root too many"),
        (lambda values, rank: share_lost(values, rank - 1), "one direction too few"),
        (lambda values, rank: values[rank:].square().sum(), "that is an amount"),
    ],
    alternatives=[
        lambda values, rank: 1 - sum(v**2 for v in values.tolist()[:rank]) / sum(v**2 for v in values.tolist())
    ],
)
