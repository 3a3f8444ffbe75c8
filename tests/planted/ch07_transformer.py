"""Planted for the exercises on chapter 07, the transformer."""

import torch
import torch.nn.functional as F
from checks_kit import plant
from torch import Tensor, nn

from minimind_lite.course.chapters.transformer import checks

plant(
    checks.check_attention_parameters,
    mistakes=[
        (lambda d, h, kv, w: 4 * d * h * w, "keys and values have fewer heads"),
        (lambda d, h, kv, w: d * h * w + 2 * d * kv * w, "output matrix is missing"),
        (lambda d, h, kv, w: 2 * d * h * w + d * kv * w, "two matrices"),
        (lambda d, h, kv, w: d * h * w + 3 * d * kv * w, "all query heads as its input"),
        (lambda d, h, kv, w: 2 * d * d + 2 * d * d * kv // h, "need not be the stream's width"),
        (lambda d, h, kv, w: 2 * d * (h + kv) * w + h * w + 2 * kv * w + d, "no biases"),
    ],
    alternatives=[
        lambda d, h, kv, w: 2 * d * w * (h + kv),
        lambda d, h, kv, w: sum(
            nn.Linear(a, b, bias=False).weight.numel() for a, b in [(d, h * w), (d, kv * w), (d, kv * w), (h * w, d)]
        ),
    ],
)


def count(vocab: int, hidden: int, layers: int, heads: int, kv_heads: int, head_dim: int, inner: int, tied: bool,
          *, norms: int = 2, last: int = 1, matrices: int = 3) -> int:  # fmt: skip
    attention = 2 * hidden * head_dim * (heads + kv_heads)
    block = attention + matrices * hidden * inner + norms * hidden
    return layers * block + last * hidden + (1 if tied else 2) * vocab * hidden


def one_mlp(**sizes: int) -> int:
    return count(**sizes) - (sizes["layers"] - 1) * 3 * sizes["hidden"] * sizes["inner"]


def one_attention(**sizes: int) -> int:
    width = sizes["head_dim"] * (sizes["heads"] + sizes["kv_heads"])
    return count(**sizes) - (sizes["layers"] - 1) * 2 * sizes["hidden"] * width


def by_shapes(vocab: int, hidden: int, layers: int, heads: int, kv_heads: int, head_dim: int, inner: int,
              tied: bool) -> int:  # fmt: skip
    """Lists the shape of every tensor in the file."""
    block = [(hidden,), (heads * head_dim, hidden), (kv_heads * head_dim, hidden), (kv_heads * head_dim, hidden),
             (hidden, heads * head_dim), (hidden,), (inner, hidden), (inner, hidden), (hidden, inner)]  # fmt: skip
    shapes = [(vocab, hidden), *block * layers, (hidden,)] + [(vocab, hidden)] * (not tied)
    return sum(torch.Size(shape).numel() for shape in shapes)


plant(
    checks.check_count_parameters,
    mistakes=[
        (lambda **s: count(**s | {"tied": False}), "*is* the embedding matrix"),
        (lambda **s: count(**s | {"tied": True}), "a matrix of its own"),
        (lambda **s: count(**s, last=0), "norm at the end"),
        (lambda **s: count(**s, norms=1), "two norms"),
        (lambda **s: count(**s, norms=0, last=0), "the norms are missing"),
        (lambda **s: count(**s, matrices=2), "three matrices"),
        (one_mlp, "one MLP in each block"),
        (one_attention, "one attention layer in each block"),
        (lambda **s: count(**s) + 32768 * s["hidden"], "positions have no parameters"),
    ],
    alternatives=[count, by_shapes],
)


def norm(x: Tensor) -> Tensor:
    return F.rms_norm(x, x.shape[-1:], eps=1e-5)


def block(x: Tensor, mix: Tensor, mlp: Tensor) -> Tensor:
    for layer in (lambda y: torch.einsum("st,td->sd", mix, y), lambda y: (y @ mlp).tanh()):
        x = x + layer(x * (x.pow(2).mean(-1, keepdim=True) + 1e-5).rsqrt())
    return x


def normed_stream(x: Tensor, mix: Tensor, mlp: Tensor) -> Tensor:
    x = norm(x)
    x = x + mix @ x
    return x + (norm(x) @ mlp).tanh()


def without_a_residual(x: Tensor, mix: Tensor, mlp: Tensor) -> Tensor:
    return (norm(mix @ norm(x)) @ mlp).tanh()


def first_norm_gone(x: Tensor, mix: Tensor, mlp: Tensor) -> Tensor:
    x = x + mix @ x
    return x + (norm(x) @ mlp).tanh()


def second_norm_gone(x: Tensor, mix: Tensor, mlp: Tensor) -> Tensor:
    x = x + mix @ norm(x)
    return x + (x @ mlp).tanh()


plant(
    checks.check_repaired_block,
    mistakes=[
        (normed_stream, "still there"),
        (without_a_residual, "nothing is left of x"),
        (first_norm_gone, "attention gets the loud stream"),
        (second_norm_gone, "the MLP gets the loud stream"),
        (lambda x, mix, mlp: x + mix @ norm(x) + (norm(x) @ mlp).tanh(), "what attention has just added"),
        (lambda x, mix, mlp: x + (norm(x) @ mlp).tanh(), "attention's part is lost"),
    ],
    alternatives=[block],
)


def operations(tokens: int, vocab: int, hidden: int, layers: int, heads: int, kv_heads: int, head_dim: int, inner: int,
               *, products: int = 2, pairs: int = 0, head: int = 1) -> int:  # fmt: skip
    matrices = 2 * hidden * head_dim * (heads + kv_heads) + 3 * hidden * inner
    scores = products * (pairs or heads) * head_dim * tokens**2
    return 2 * (tokens * (layers * matrices + head * vocab * hidden) + layers * scores)


def matrix_by_matrix(tokens: int, vocab: int, hidden: int, layers: int, heads: int, kv_heads: int, head_dim: int,
                     inner: int) -> int:  # fmt: skip
    """(rows, inside, columns) of every product, twice their volume."""
    block = [(tokens, hidden, heads * head_dim), (tokens, hidden, 2 * kv_heads * head_dim),
             (tokens, heads * head_dim, hidden), (tokens, hidden, 2 * inner), (tokens, inner, hidden)]  # fmt: skip
    block += [(tokens, head_dim, tokens), (tokens, tokens, head_dim)] * heads
    return sum(2 * a * b * c for a, b, c in [*block * layers, (tokens, hidden, vocab)])


plant(
    checks.check_predicted_operations,
    mistakes=[
        (lambda *a, **s: operations(*a, **s) // 2, "are two operations"),
        (lambda *a, **s: operations(*a, **s, products=0), "the attention itself is missing"),
        (lambda *a, **s: operations(*a, **s, products=1), "attention multiplies twice"),
        (lambda *a, **s: operations(*a, **s, head=0), "the head is missing"),
        (lambda *a, **s: operations(*a, **s, head=2), "multiplies nothing"),
        (lambda *a, **s: operations(*a, **s) / a[0], "for one token"),
        (lambda *a, **s: operations(*a, **s, pairs=s["kv_heads"]), "also where they share keys"),
    ],
    alternatives=[operations, matrix_by_matrix],
)
