"""Planted for the exercises on chapter 04, attention."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from checks_kit import plant
from torch import Tensor

from minimind_lite.course.chapters.attention import checks


def window_by_loops(queries: int, keys: int, window: int) -> Tensor:
    place = [keys - queries + row for row in range(queries)]
    return torch.tensor([[place[r] - window < column <= place[r] for column in range(keys)] for r in range(queries)])


def by_two_triangles(queries: int, keys: int, window: int) -> Tensor:
    ones, offset = torch.ones(queries, keys), keys - queries
    return (ones.tril(offset) * ones.triu(offset - window + 1)).bool()


def window_at_the_start(queries: int, keys: int, window: int) -> Tensor:
    ones = torch.ones(queries, keys)
    return (ones.tril() * ones.triu(1 - window)).bool()


plant(
    checks.check_may_look,
    mistakes=[
        (lambda q, k, w: ~window_by_loops(q, k, w), "the other way round"),
        (lambda q, k, w: window_by_loops(q, k, w).mT, "transposed"),
        (window_at_the_start, "stand at the *end*"),
        (lambda q, k, w: window_by_loops(q, k, k), "the past is not cut"),
        (lambda q, k, w: torch.ones(q, k).triu(k - q - w + 1).bool(), "sees the future"),
        (lambda q, k, w: window_by_loops(q, k, w + 1), "too wide"),
        (lambda q, k, w: by_two_triangles(q, k, w).int(), "True and False"),
        (
            lambda q, k, w: window_by_loops(q, k, w).triu(1 + k - q) | window_by_loops(q, k, w).tril(k - q - 1),
            "you leave out",
        ),
        (lambda q, k, w: torch.ones(q, k).triu(k - q).tril(k - q + w - 1).bool(), "wrong sign"),
        (lambda q, k, w: torch.ones(q, k).tril(k - q + 1).triu(k - q - w + 2).bool(), "1 = may look"),
        (lambda q, k, w: window_by_loops(k, k, w), "(queries, keys); yours has"),
    ],
    alternatives=[window_by_loops, by_two_triangles],
)


def attention(x: Tensor, w_q: Tensor, w_k: Tensor, w_v: Tensor, w_o: Tensor, heads: int, kv_heads: int) -> Tensor:
    """One head at a time."""
    parts, dim = [], w_q.shape[0] // heads
    may_look = torch.ones(x.shape[1], x.shape[1]).tril() > 0
    for head in range(heads):
        shared = head // (heads // kv_heads)
        mine, theirs = slice(head * dim, (head + 1) * dim), slice(shared * dim, (shared + 1) * dim)
        q, k, v = F.linear(x, w_q[mine]), F.linear(x, w_k[theirs]), F.linear(x, w_v[theirs])
        scores = (q @ k.mT / dim**0.5).masked_fill(~may_look, -1e30)
        parts.append(scores.softmax(-1) @ v)
    return F.linear(torch.cat(parts, -1), w_o)


def by_einsum(x: Tensor, w_q: Tensor, w_k: Tensor, w_v: Tensor, w_o: Tensor, heads: int, kv_heads: int) -> Tensor:
    group, dim = heads // kv_heads, w_q.shape[0] // heads
    q = torch.einsum("bsi,kgdi->bkgsd", x, w_q.view(kv_heads, group, dim, -1))
    k = torch.einsum("bsi,kdi->bksd", x, w_k.view(kv_heads, dim, -1))
    v = torch.einsum("bsi,kdi->bksd", x, w_v.view(kv_heads, dim, -1))
    scores = torch.einsum("bkgsd,bktd->bkgst", q, k) * dim**-0.5
    scores = scores + torch.full(scores.shape[-2:], -torch.inf).triu(1)
    mixed = torch.einsum("bkgst,bktd->bskgd", scores.softmax(-1), v)
    return mixed.reshape(*x.shape[:2], -1) @ w_o.T


Matrices = tuple[Tensor, Tensor, Tensor, Tensor]


def with_kernel(
    x: Tensor, weights: Matrices, heads: int, kv_heads: int, order: str = "side", **options: float
) -> Tensor:
    q, k, v = (F.linear(x, w).unflatten(-1, (-1, w.shape[0] // n)).transpose(1, 2)
               for w, n in zip(weights, (heads, kv_heads, kv_heads), strict=False))  # fmt: skip
    group = heads // kv_heads
    k, v = (one.repeat(1, group, 1, 1) if order == "repeat" else one.repeat_interleave(group, 1) for one in (k, v))
    mixed = F.scaled_dot_product_attention(q, k, v, **({"is_causal": True} | options))  # type: ignore[arg-type]
    return mixed.reshape(*x.shape[:2], -1) if order == "flat" else mixed.transpose(1, 2).flatten(2)


def masked_late(x: Tensor, w_q: Tensor, w_k: Tensor, w_v: Tensor, w_o: Tensor, heads: int, kv_heads: int) -> Tensor:
    q, k, v = (F.linear(x, w).unflatten(-1, (n, -1)).transpose(1, 2)
               for w, n in ((w_q, heads), (w_k, kv_heads), (w_v, kv_heads)))  # fmt: skip
    k, v = (one.repeat_interleave(heads // kv_heads, 1) for one in (k, v))
    return ((q @ k.mT / q.shape[-1] ** 0.5).softmax(-1).tril() @ v).transpose(1, 2).flatten(2) @ w_o.mT


def split_wrongly(x: Tensor, w_q: Tensor, w_k: Tensor, w_v: Tensor, w_o: Tensor, heads: int, kv_heads: int) -> Tensor:
    batch, seq, dim = x.shape[0], x.shape[1], w_q.shape[0] // heads
    q, k, v = ((x @ w.mT).view(batch, -1, seq, dim) for w in (w_q, w_k, w_v))
    k, v = (one.repeat_interleave(heads // kv_heads, 1) for one in (k, v))
    return F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2) @ w_o.mT


def as_wide_as_the_stream(x: Tensor, w_q: Tensor, w_k: Tensor, w_v: Tensor, w_o: Tensor, heads: int, kv: int) -> Tensor:
    scale = (x.shape[-1] // heads) ** -0.5
    return with_kernel(x, (w_q, w_k, w_v, w_o), heads, kv, scale=scale) @ w_o.mT


def with_weights(
    x: Tensor, matrices: Matrices, heads: int, kv_heads: int, weigh: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """``weigh`` makes weights of the scores divided by √d and of what is forbidden."""
    w_q, w_k, w_v, w_o = matrices
    q, k, v = (F.linear(x, w).unflatten(-1, (n, -1)).transpose(1, 2)
               for w, n in ((w_q, heads), (w_k, kv_heads), (w_v, kv_heads)))  # fmt: skip
    k, v = (one.repeat_interleave(heads // kv_heads, 1) for one in (k, v))
    forbidden = torch.ones(x.shape[1], x.shape[1]).triu(1).bool()
    return (weigh(q @ k.mT / q.shape[-1] ** 0.5, forbidden) @ v).transpose(1, 2).flatten(2) @ w_o.mT


def weighing(weigh: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    return lambda x, q, k, v, o, heads, kv_heads: with_weights(x, (q, k, v, o), heads, kv_heads, weigh)


def removed_afterwards(scores: Tensor, forbidden: Tensor) -> Tensor:
    left = scores.softmax(-1) * ~forbidden
    return left / left.sum(-1, keepdim=True)


def split_by_hidden(x: Tensor, w_q: Tensor, w_k: Tensor, w_v: Tensor, w_o: Tensor, heads: int, kv: int) -> Tensor:
    batch, seq, hidden = x.shape
    q, k, v = ((x @ w.mT).view(batch, seq, n, hidden // heads).transpose(1, 2)
               for w, n in ((w_q, heads), (w_k, kv), (w_v, kv)))  # fmt: skip
    return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True).transpose(1, 2).flatten(2) @ w_o.mT


plant(
    checks.check_grouped_attention,
    mistakes=[
        (lambda x, q, k, v, o, h, n: with_kernel(x, (q, k, v, o), h, n, is_causal=False) @ o.mT, "future is visible"),
        (lambda x, q, k, v, o, h, n: with_kernel(x, (q, k, v, o), h, n, scale=1.0) @ o.mT, "√d is missing"),
        (
            lambda x, q, k, v, o, h, n: with_kernel(x, (q, k, v, o), h, n, scale=x.shape[-1] ** -0.5) @ o.mT,
            "one head's",
        ),
        (lambda x, q, k, v, o, h, n: with_kernel(x, (q, k, v, o), h, n, "repeat") @ o.mT, "repeat_interleave"),
        (lambda x, q, k, v, o, h, n: with_kernel(x, (q, k, v, o), h, n, "flat") @ o.mT, "joining the heads"),
        (lambda x, q, k, v, o, h, n: with_kernel(x, (q, k, v, o), h, n), "w_o is missing"),
        (lambda x, q, k, v, o, h, n: with_kernel(x, (q, k, v, o), h, n) @ o, "w_o is laid out"),
        (lambda x, q, k, v, o, h, n: attention(x, q.mT if h > n else q, k, v, o, h, n), "w_q is laid out"),
        (lambda x, q, k, v, o, h, n: attention(x, q, k, v, o, h, n) + (x @ k).sum(), "multiply by their transposes"),
        (lambda x, q, k, v, o, h, n: with_kernel(x, (q, k, v, o), h, n) @ o.mT, "write out scores"),
        (masked_late, "after the softmax"),
        (split_wrongly, "the split into heads"),
        (as_wide_as_the_stream, "w_q.shape[0] // heads"),
        (split_by_hidden, "w_q.shape[0] // heads"),
        (weighing(lambda scores, future: scores.masked_fill(future, 0.0).softmax(-1)), "exp(0) is 1"),
        (weighing(lambda scores, future: scores.masked_fill(future.triu(2), -torch.inf).softmax(-1)), "too high"),
        (weighing(lambda scores, future: scores.masked_fill(future.mT, -torch.inf).softmax(-1)), "upside down"),
        (weighing(lambda scores, future: scores.masked_fill(~future.mT, -torch.inf).softmax(-1)), "there is NaN"),
        (weighing(lambda scores, future: scores.masked_fill(future, -1.0).softmax(-1)), "not causal"),
        (weighing(removed_afterwards), "removed afterwards"),
        (weighing(lambda scores, future: scores.masked_fill(future, -torch.inf).softmax(-1).detach()), "gradient"),
        (lambda x, q, k, v, o, h, n: attention(x, q * (h / q.shape[0]) ** 0.5, k, v, o, h, n), "divide by its *root*"),
        (lambda x, q, k, v, o, h, n: attention(x, q, k, v, o, h, n)[:1], "the shape is"),
        (lambda x, q, k, v, o, h, n: attention(x, k.repeat(h // n, 1), k, v, o, h, n), "but the values are off"),
    ],
    alternatives=[attention, by_einsum],
)


def kernel(q: Tensor, k: Tensor, v: Tensor, **options: float) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, **({"is_causal": True} | options))  # type: ignore[arg-type]


def heads_beside_each_other(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return torch.cat([kernel(*(one[:, head] for one in (q, k, v))) for head in range(q.shape[1])], dim=-1)


plant(
    checks.check_repaired_heads,
    mistakes=[
        (lambda q, k, v: kernel(q, k, v).reshape(2, 6, 12), "still there"),
        (lambda q, k, v: kernel(q, k, v).permute(0, 2, 3, 1).reshape(2, 6, 12), "wrong order within a token"),
        (lambda q, k, v: kernel(q, k, v).transpose(2, 3).reshape(2, 6, 12), "dimensions 1 and 2"),
        (lambda q, k, v: kernel(q, k, v).transpose(1, 2).flatten(2) * torch.nan, "there is NaN"),
        (lambda q, k, v: v.transpose(1, 2).reshape(2, 6, 12), "nobody looks at anybody"),
        (lambda q, k, v: kernel(q, k, v, is_causal=False).transpose(1, 2).flatten(2), "never the culprit"),
        (lambda q, k, v: kernel(q, k, v, scale=1.0).transpose(1, 2).flatten(2), "got lost in the repair"),
        (lambda q, k, v: kernel(q, k, v), "the shape is"),
    ],
    alternatives=[heads_beside_each_other, lambda q, k, v: torch.einsum("bhsd->bshd", kernel(q, k, v)).flatten(2)],
)


def bytes_of_one(length: int, layers: int, kv_heads: int, dim: int) -> int:
    return torch.empty(2, layers, kv_heads, length, dim, dtype=torch.float16).nbytes


plant(
    checks.check_conversations_that_fit,
    mistakes=[
        (lambda b, n, layers, h, kv, d: b // bytes_of_one(n, layers, h, d), "queries are not kept"),
        (lambda b, n, layers, h, kv, d: b // (layers * kv * n * d * 2), "half of what is kept"),
        (lambda b, n, layers, h, kv, d: b // (layers * kv * n * d * 2 * 3), "kept are two"),
        (lambda b, n, layers, h, kv, d: b // (layers * kv * n * d), "a quarter of what is kept"),
        (lambda b, n, layers, h, kv, d: b // bytes_of_one(n, layers, 1, d), "each of the kv heads"),
        (lambda b, n, layers, h, kv, d: b // bytes_of_one(n, layers, h // kv, d), "how many query heads share"),
        (lambda b, n, layers, h, kv, d: b // bytes_of_one(n, layers, kv, 1), "`dim` numbers"),
        (lambda b, n, layers, h, kv, d: b // (bytes_of_one(n, layers, kv, d) * 8), "count bits"),
        (lambda b, n, layers, h, kv, d: b // (layers * (h + kv) * n * d * 2), "one of the two"),
        (lambda b, n, layers, h, kv, d: b // (layers * (h + 2 * kv) * n * d * 2), "only keys and values"),
        (lambda b, n, layers, h, kv, d: round(b / bytes_of_one(n, layers, kv, d)), "round down"),
        (lambda b, n, layers, h, kv, d: max(b // bytes_of_one(n, layers, kv, d), 1), "the answer is 0"),
        (lambda b, n, layers, h, kv, d: b // (layers * kv * n * d * 8), "two bytes"),
        (lambda b, n, layers, h, kv, d: b // bytes_of_one(n, 1, kv, d), "every layer"),
        (lambda b, n, layers, h, kv, d: b // bytes_of_one(1, layers, kv, d), "that is how many *tokens*"),
        (lambda b, n, layers, h, kv, d: b / bytes_of_one(n, layers, kv, d), "only whole"),
    ],
    alternatives=[lambda b, n, layers, h, kv, d: torch.tensor(b).div(bytes_of_one(n, layers, kv, d)).floor()],
)
