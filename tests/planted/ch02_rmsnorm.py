"""Planted for the exercises on chapter 02, RMSNorm."""

import torch
import torch.nn.functional as F
from checks_kit import plant
from torch import Tensor

from minimind_lite.course.chapters.rmsnorm import checks


def by_einsum(x: Tensor, eps: float) -> Tensor:
    return (torch.einsum("...d,...d->...", x, x) / x.shape[-1] + eps).sqrt()[..., None]


def by_norm(x: Tensor, eps: float) -> Tensor:
    return torch.sqrt(x.norm(dim=-1, keepdim=True) ** 2 / x.size(-1) + eps)


def with_a_std(x: Tensor, eps: float) -> Tensor:
    return (x.var(-1, keepdim=True, unbiased=False) + eps).sqrt()


plant(
    checks.check_root_mean_square,
    mistakes=[
        (lambda x, eps: x.pow(2).mean(-1, keepdim=True) + eps, "take the square root"),
        (lambda x, eps: (x.pow(2).sum(-1, keepdim=True) + eps).sqrt(), "you summed the squares"),
        (lambda x, eps: (x.pow(2).mean() + eps).sqrt(), "one number for everything"),
        (lambda x, eps: (x.pow(2).mean(-1) + eps).sqrt(), "keepdim=True"),
        (lambda x, eps: x.pow(2).mean(-1, keepdim=True).sqrt() + eps, "eps belongs inside"),
        (lambda x, eps: x.pow(2).mean(-1, keepdim=True).sqrt(), "eps is missing"),
        (lambda x, eps: (x.abs().mean(-1, keepdim=True) + eps).sqrt(), "absolute values"),
        (with_a_std, "you subtracted the mean"),
    ],
    alternatives=[by_einsum, by_norm],
)


def wide(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return F.rms_norm(x.double(), (x.shape[-1],), weight.double(), eps).to(x.dtype)


def by_loops(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    rows = []
    for row in x.reshape(-1, x.shape[-1]).tolist():
        root = (sum(value * value for value in row) / len(row) + eps) ** 0.5
        rows.append([value / root * w for value, w in zip(row, weight.tolist(), strict=True)])
    return torch.tensor(rows).reshape(x.shape).to(x.dtype)


def by_unit_vectors(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    long = x.float()
    dim = x.shape[-1]
    squares = torch.einsum("...i,...i->...", long, long).unsqueeze(-1)
    return (long * dim**0.5 / (squares + dim * eps).sqrt() * weight.float()).type_as(x)


def narrow(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * weight


def scaled(x: Tensor, weight: Tensor, mean: Tensor) -> Tensor:
    return (x.float() * torch.rsqrt(mean) * weight).to(x.dtype)


def in_place(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    x *= torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps)
    return x * weight


plant(
    checks.check_rms_norm,
    mistakes=[
        (lambda x, w, eps: F.layer_norm(x, (x.shape[-1],), w, eps=eps), "you subtracted the mean"),
        (lambda x, w, eps: scaled(x, w, x.pow(2).sum(-1, keepdim=True) + eps), "you summed the squares"),
        (lambda x, w, eps: scaled(x, w, x.pow(2).mean() + eps), "averaged over the whole tensor"),
        (lambda x, w, eps: scaled(x, w, x.pow(2).mean(1, keepdim=True) + eps), "averaged over dim 1"),
        (lambda x, w, eps: scaled(x, torch.ones_like(w), x.pow(2).mean(-1, keepdim=True) + eps), "weight is missing"),
        (lambda x, w, eps: x * (x.pow(2).mean(-1, keepdim=True) + eps).sqrt() * w, "multiplied by the root"),
        (lambda x, w, eps: x / (x.pow(2).mean(-1, keepdim=True) + eps) * w, "square root is missing"),
        (lambda x, w, eps: x / (x.pow(2).mean(-1, keepdim=True).sqrt() + eps) * w, "eps belongs inside"),
        (lambda x, w, eps: narrow(x, w, 0.0), "eps is missing"),
        (narrow, "300² overflows"),
        (lambda x, w, eps: narrow(x.float(), w.float(), eps), "return x's own dtype"),
        (in_place, "argument 1 in place"),
    ],
    alternatives=[wide, by_loops, by_unit_vectors],
)

Gradients = tuple[Tensor, Tensor]


def parts(x: Tensor, weight: Tensor, eps: float, upstream: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    r = (x.pow(2).mean(-1, keepdim=True) + eps).sqrt()
    return r, x / r, upstream * weight


def gradient(x: Tensor, weight: Tensor, eps: float, upstream: Tensor) -> Gradients:
    r, n, g = parts(x, weight, eps, upstream)
    return (g - n * (n * g).mean(-1, keepdim=True)) / r, (upstream * n).sum((0, 1))


def by_jacobian(x: Tensor, weight: Tensor, eps: float, upstream: Tensor) -> Gradients:
    dim = x.shape[-1]
    r = (torch.einsum("btd,btd->bt", x, x) / dim + eps).sqrt()
    outer = torch.einsum("bti,btj->btij", x, x) / (dim * r[..., None, None] ** 3)
    jacobian = torch.eye(dim) / r[..., None, None] - outer
    return torch.einsum("btij,btj->bti", jacobian, upstream * weight), torch.einsum("btd,btd,bt->d", upstream, x, 1 / r)


def without_projection(x: Tensor, weight: Tensor, eps: float, upstream: Tensor) -> Gradients:
    r, _, g = parts(x, weight, eps, upstream)
    return g / r, gradient(x, weight, eps, upstream)[1]


def with_a_sum(x: Tensor, weight: Tensor, eps: float, upstream: Tensor) -> Gradients:
    r, n, g = parts(x, weight, eps, upstream)
    return (g - n * (n * g).sum(-1, keepdim=True)) / r, (upstream * n).sum((0, 1))


def not_divided(x: Tensor, weight: Tensor, eps: float, upstream: Tensor) -> Gradients:
    _, n, g = parts(x, weight, eps, upstream)
    return g - n * (n * g).mean(-1, keepdim=True), (upstream * n).sum((0, 1))


def wrong_sign(x: Tensor, weight: Tensor, eps: float, upstream: Tensor) -> Gradients:
    r, n, g = parts(x, weight, eps, upstream)
    return (g + n * (n * g).mean(-1, keepdim=True)) / r, (upstream * n).sum((0, 1))


def without_weight(x: Tensor, weight: Tensor, eps: float, upstream: Tensor) -> Gradients:
    return gradient(x, torch.ones_like(weight), eps, upstream)


def weight_by_x(x: Tensor, weight: Tensor, eps: float, upstream: Tensor) -> Gradients:
    return gradient(x, weight, eps, upstream)[0], (upstream * x).sum((0, 1))


def weight_not_summed(x: Tensor, weight: Tensor, eps: float, upstream: Tensor) -> Gradients:
    return gradient(x, weight, eps, upstream)[0], upstream * parts(x, weight, eps, upstream)[1]


plant(
    checks.check_rms_norm_gradient,
    mistakes=[
        (without_projection, "the term along x is missing"),
        (with_a_sum, "a mean over the dimensions, not a sum"),
        (not_divided, "the division by r is missing"),
        (wrong_sign, "it is to be removed"),
        (without_weight, "you forgot the weight"),
        (weight_by_x, "multiply by the normed x"),
        (weight_not_summed, "are to be summed"),
        (lambda *a: gradient(*a)[0], "return two things"),
    ],
    alternatives=[by_jacobian, lambda *a: list(gradient(*a))],
)

plant(
    checks.check_repaired_norm,
    mistakes=[
        (lambda x, w, eps: x * torch.rsqrt(x.pow(2).mean((1, 2), keepdim=True) + eps) * w, "still there"),
        (lambda x, w, eps: x * torch.rsqrt(x.pow(2).mean((0, 2), keepdim=True) + eps) * w, "sentences do"),
        (lambda x, w, eps: F.layer_norm(x, (x.shape[-1],), w, eps=eps), "you subtracted the mean"),
        (lambda x, w, eps: x * w, "the leak is gone with the norm"),
        (lambda x, w, eps: F.rms_norm(x, (x.shape[-1],), None, eps), "got lost in the repair"),
    ],
    alternatives=[wide, by_loops, by_unit_vectors],
)


def one_layer_after_the_other(layers: int, gain: float, norm: bool) -> float:
    square = 1.0
    for _ in range(layers):
        square += gain**2 * (1.0 if norm else square)
    return square**0.5


plant(
    checks.check_predicted_size,
    mistakes=[
        (lambda n, g, norm: one_layer_after_the_other(n, g, not norm), "the wrong way round"),
        (lambda n, g, norm: one_layer_after_the_other(n, g, norm) ** 2, "the root is missing"),
        (lambda n, g, norm: 1 + n * g if norm else (1 + g) ** n, "at right angles"),
        (lambda n, g, norm: n**0.5 * g * 0.5, "measured"),
        (lambda n, g, norm: (1 + n * g * g) ** 0.5, "without a norm"),
    ],
    alternatives=[one_layer_after_the_other, lambda n, g, norm: torch.tensor(one_layer_after_the_other(n, g, norm))],
)
