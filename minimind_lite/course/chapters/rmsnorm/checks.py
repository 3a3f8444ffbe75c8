"""Checks of the exercises on chapter 02, RMSNorm. Reference: torch's own ``F.rms_norm`` and its autograd."""

from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

from ...exercises.core import check
from ...exercises.task import Task, close
from ...kit.language import say

EPS = 0.01  # large enough that its place in the formula shows
WHOLE = ("you averaged over the whole tensor: one number per token is wanted, so that no token hears another; "
         "`dim=-1`")  # fmt: skip
CENTRED = "you subtracted the mean: RMS does not centre, that is LayerNorm"
SUMMED = "you summed the squares: RMS takes their mean, or a wider vector would count as a louder one"


@check("02.root_mean_square", points=1)
def check_root_mean_square(task: Task) -> str:
    """The root mean square of each vector"""
    x = task.randn(2, 5, 6) + 1.0
    expected = torch.linalg.vector_norm(x, dim=-1, keepdim=True).pow(2).div(6).add(EPS).sqrt()
    squares = x.pow(2)
    task.equal(task.call(x, EPS), expected, "this is not the square root of (mean of squares + eps)", {
        "the last step is missing: take the square root": expected**2,
        SUMMED: (squares.sum(-1, keepdim=True) + EPS).sqrt(),
        CENTRED: (x.var(-1, keepdim=True, correction=0) + EPS).sqrt(),
        "you have one number for everything: one per token is wanted, `mean(dim=-1, …)`": (squares.mean() + EPS).sqrt(),
        "the last dimension is gone, so the result cannot divide x: `keepdim=True`": expected.squeeze(-1),
        "eps belongs inside the root, next to the mean": squares.mean(-1, keepdim=True).sqrt() + EPS,
        "eps is missing: a vector of zeros would be divided by zero": squares.mean(-1, keepdim=True).sqrt(),
        "you took the mean of absolute values: square first, then average, then take the root":
            (x.abs().mean(-1, keepdim=True) + EPS).sqrt(),
    })  # fmt: skip
    ones = task.call(torch.full((1, 4), -3.0), 0.0)
    task.equal(ones, [[3.0]], "a vector of four -3 has root mean square 3")
    return "one loudness per token, of shape (…, 1), as torch's vector norm divided by √d gives it"


def _norm_mistakes(x: Tensor, weight: Tensor) -> dict[str, Tensor]:
    """What people's RMSNorms give for x, (sentences, tokens, dim)."""
    squares, dim = x.pow(2), x.shape[-1]
    mean = squares.mean(-1, keepdim=True)
    return {
        CENTRED: F.layer_norm(x, (dim,), weight, eps=EPS),
        SUMMED: x * torch.rsqrt(squares.sum(-1, keepdim=True) + EPS) * weight,
        WHOLE: x * torch.rsqrt(squares.mean() + EPS) * weight,
        "you averaged over dim 1, the tokens: a later token then changes an earlier one; `dim=-1`":
            x * torch.rsqrt(squares.mean(1, keepdim=True) + EPS) * weight,
        "the weight is missing: each dimension is scaled by its own learned number": F.rms_norm(x, (dim,), None, EPS),
        "you multiplied by the root instead of dividing by it (`rsqrt` is 1/sqrt)": x * (mean + EPS).sqrt() * weight,
        "the square root is missing: you divided by the mean square itself": x / (mean + EPS) * weight,
        "eps belongs inside the root, next to the mean": x / (mean.sqrt() + EPS) * weight,
        "eps is missing: a vector of zeros would become not-a-number": F.rms_norm(x, (dim,), weight, 0.0),
    }  # fmt: skip


@check("02.rms_norm", points=2)
def check_rms_norm(task: Task) -> str:
    """RMSNorm, whole, in every precision"""
    x, weight = task.randn(2, 5, 16) * (task.rand(2, 5, 1) + 0.1) + 0.5, task.rand(16) + 0.5
    expected = F.rms_norm(x, (16,), weight, EPS)
    wrong = "this is not x / sqrt(mean(x²) + eps) · weight"
    task.equal(task.call(x, weight, EPS), expected, wrong, _norm_mistakes(x, weight))
    half = task.call(torch.full((1, 8), 300.0, dtype=torch.float16), torch.ones(8, dtype=torch.float16), 1e-5)
    task.that(not close(half, torch.zeros(1, 8)), "in float16 your answer is all zeros: 300² overflows to infinity. "
              "Compute in float32 (`x.float()`) and come back at the end")  # fmt: skip
    task.that(
        half.dtype == torch.float16,
        say("x came in float16 and your answer is {dtype}: return x's own dtype", dtype=half.dtype),
    )
    task.equal(half, torch.ones(1, 8), "in float16, eight times 300 must become eight times 1", tolerance=1e-2)
    return "agrees with torch's F.rms_norm, and 300 in float16 survives its square"


@check("02.gradient", points=3)
def check_rms_norm_gradient(task: Task) -> str:
    """The gradient by hand"""
    x, weight, upstream = task.randn(3, 4, 8), task.rand(8) + 0.5, task.randn(3, 4, 8)
    answer = task.call(x, weight, EPS, upstream)
    task.that(isinstance(answer, tuple | list) and len(answer) == 2, "return two things: (for_x, for_weight)")
    for_x, for_weight = _by_autograd(x, weight, upstream)
    r = (x.pow(2).mean(-1, keepdim=True) + EPS).sqrt()
    normed, g = x / r, upstream * weight
    along = normed * (normed * g).mean(-1, keepdim=True)
    task.equal(answer[0], for_x, "the gradient for x is wrong", {
        "the term along x is missing: r also depends on x, so the chain rule gives a second part": g / r,
        "you forgot the weight: the gradient passes through `· weight` before it reaches x / r":
            (upstream - normed * (normed * upstream).mean(-1, keepdim=True)) / r,
        "the part along x is a mean over the dimensions, not a sum":
            (g - normed * (normed * g).sum(-1, keepdim=True)) / r,
        "the division by r is missing: a loud token gets a small gradient": g - along,
        "you added the part along x; it is to be removed": (g + along) / r,
    })  # fmt: skip
    task.equal(answer[1], for_weight, "the gradient for the weight is wrong", {
        "for the weight the products of all tokens are to be summed: its gradient has its own shape, (dim,)":
            upstream * normed,
        "for the weight multiply by the normed x, not by x": (upstream * x).sum((0, 1)),
        "for the weight sum over the tokens, do not average": (upstream * normed).mean((0, 1)),
    })  # fmt: skip
    x, weight, upstream = task.randn(1, 2, 5), task.rand(5) + 0.5, task.randn(1, 2, 5)
    for found, right in zip(task.call(x, weight, 0.5, upstream), _by_autograd(x, weight, upstream, 0.5), strict=True):
        task.equal(found, right, "right for the first inputs, wrong for others: is a number of the example, a size or "
                   "a constant, written in where an argument belongs?")  # fmt: skip
    return "both gradients are those of torch's autograd through F.rms_norm"


def _by_autograd(x: Tensor, weight: Tensor, upstream: Tensor, eps: float = EPS) -> tuple[Tensor, ...]:
    """Gradients of torch's own layer."""
    x, weight = x.clone().requires_grad_(), weight.clone().requires_grad_()
    return torch.autograd.grad(F.rms_norm(x, (weight.numel(),), weight, eps), (x, weight), upstream)


@check("02.leak", points=2)
def check_repaired_norm(task: Task) -> str:
    """The planted bug: a norm that lets tokens hear each other"""
    x, weight = task.randn(2, 6, 8), task.rand(8) + 0.5
    louder = x.clone()
    louder[:, -1] *= 10
    before, after = task.call(x, weight, EPS), task.call(louder, weight, EPS)
    task.that(
        before.shape == x.shape,
        say("the shape is {shape}, and x has {shape_2}", shape=tuple(before.shape), shape_2=tuple(x.shape)),
    )
    task.that(close(before[:, :-1], after[:, :-1]), "still there: a louder last token changes the tokens before it. "
              "Over which dimension is the mean taken?")  # fmt: skip
    other = x.clone()
    other[1] *= 10
    task.that(close(before[0], task.call(other, weight, EPS)[0]), "tokens no longer hear each other, but sentences "
              "do: what is in sentence 1 changes sentence 0")  # fmt: skip
    task.equal(before, F.rms_norm(x, (8,), weight, EPS), "no leak any more, but it is not RMSNorm either", {
        CENTRED: F.layer_norm(x, (8,), weight, eps=EPS),
        "the leak is gone with the norm itself: x still has to be divided by its root mean square": x * weight,
        "the weight got lost in the repair": F.rms_norm(x, (8,), None, EPS),
    })  # fmt: skip
    x, weight = task.randn(1, 3, 5), task.rand(5) + 0.5
    task.again(F.rms_norm(x, (5,), weight, 0.5), x, weight, 0.5)
    return "no token, and no sentence, changes another, and the values are torch's"


@check("02.growth", points=2)
def check_predicted_size(task: Task) -> str:
    """Predict, then measure: how loud is the stream after many layers?"""
    loud = (1.25 + task.number(0, 5) / 4, 4 + task.number(0, 8))
    for (gain, layers), norm in product((loud, (0.5, 2)), (True, False)):  # where little is added, the 1 counts
        got = task.call(layers, gain, norm)
        measured = _measure(layers, gain, norm, task)
        inside = abs(float(got) / measured - 1) < 0.1
        other = (1 + gain**2) ** (layers / 2) if norm else (1 + layers * gain**2) ** 0.5
        which = say("with a norm in front of each layer" if norm else "without a norm")
        task.that(
            inside or not close(got, other), say("{which}: you have the two cases the wrong way round", which=which)
        )
        squared = (1 + layers * gain**2) if norm else (1 + gain**2) ** layers
        task.that(
            inside or not close(got, squared), say("{which}: that is the mean square; the root is missing", which=which)
        )
        linear = 1 + layers * gain if norm else (1 + gain) ** layers
        task.that(
            inside or not close(got, linear),
            say(
                "{which}: you added lengths. Random directions are nearly at "
                "right angles: their squares add (Pythagoras)",
                which=which,
            ),
        )
        start = layers**0.5 * gain if norm else gain**layers
        task.that(
            inside or not close(got, start), say("{which}: x itself stays in the sum: do not forget the 1", which=which)
        )
        said = say("measured {measured}, you said {value}", measured=f"{measured:.3g}", value=f"{float(got):.3g}")
        task.that(
            inside,
            say(
                "{which}, {layers} layers of gain {gain}: {said}",
                which=which,
                layers=layers,
                gain=f"{gain:g}",
                said=said,
            ),
        )
    return "both predictions lie within 10 % of what random layers did: a sum with the norm, a product without"


def _measure(layers: int, gain: float, norm: bool, task: Task) -> float:
    """The stream's RMS after random layers, measured; it starts at 1."""
    x = F.rms_norm(task.randn(64, 256), (256,))
    for _ in range(layers):
        x = x + (F.rms_norm(x, (256,)) if norm else x) @ (task.randn(256, 256) * gain / 16)
    return float(x.pow(2).mean().sqrt())
