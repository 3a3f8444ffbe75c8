"""Checks of the exercises on chapter 05, SwiGLU. References: torch's SiLU and its autograd, and measured networks."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ...exercises.core import check
from ...exercises.task import Task, close
from ...kit.language import say


@check("05.slope", points=1)
def check_silu_slope(task: Task) -> str:
    """The slope of SiLU"""
    z = task.randn(40) * 3
    s = torch.sigmoid(z)
    leaf = z.clone().requires_grad_()
    with torch.enable_grad():
        slope = torch.autograd.grad(F.silu(leaf).sum(), leaf)[0]
    task.equal(task.call(z), slope, "this is not the derivative of z · sigmoid(z)", {
        "that is SiLU itself; its slope is asked for": F.silu(z),
        "the product rule has two terms: sigmoid(z) · 1, and z times the sigmoid's own slope": s,
        "that is only the second term; the factor z has a slope as well: 1 · sigmoid(z)": z * s * (1 - s),
        "the sigmoid's slope is σ · (1 - σ), and you have σ alone in the second term": s + z * s,
        "that is the sigmoid's slope, not that of z · sigmoid(z)": s * (1 - s),
        "that is ReLU's slope; SiLU's has no corner": (z > 0).float(),
        "the sign is wrong: the second term is added": s - z * s * (1 - s),
    })  # fmt: skip
    return "it is autograd's slope, and a little of it is left where ReLU has none"


def _fused(x: Tensor, gate_up: Tensor, down: Tensor, change: str = "") -> Tensor:
    """SwiGLU from a matrix that holds gate and up, with one ``change`` that people make by mistake."""
    both = F.linear(x, gate_up)
    inner = both.shape[-1] // 2
    gate, up = (both[..., ::2], both[..., 1::2]) if change == "interleaved" else both.split(inner, -1)
    if change == "swapped":
        gate, up = up, gate
    bends: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "sigmoid": torch.sigmoid, "gelu": F.gelu,
                                                    "none": torch.clone}  # fmt: skip
    inside = F.silu(gate * up) if change == "outside" else bends.get(change, F.silu)(gate) * up
    inside = F.silu(gate) + up if change == "sum" else inside
    return inside if change == "no down" else F.linear(inside, down)


FUSED = {
    "swapped": "gate and up are exchanged: the first half of the rows is the gate, and only the gate is bent",
    "interleaved": "the halves lie one behind the other, not row by row in turn: split in the middle",
    "relu": "that gate is ReLU's (ReGLU); wanted is SiLU",
    "sigmoid": "that gate is a sigmoid (GLU of 2016); SiLU is z · sigmoid(z)",
    "gelu": "that gate is GELU's (GEGLU); wanted is SiLU",
    "none": "the activation is missing: without it the gate is only a product of two linear maps",
    "outside": "SiLU goes on the gate *before* the product, not on the product",
    "sum": "gate and up are multiplied, entry by entry, not added",
    "no down": "the way back is missing: the last matrix is `down`",
}


@check("05.fused", points=2)
def check_fused_swiglu(task: Task) -> str:
    """SwiGLU from one fused matrix"""
    x, gate_up, down = task.randn(2, 5, 6), task.randn(16, 6) / 2, task.randn(6, 8) / 2
    known = {message: _fused(x, gate_up, down, change) for change, message in FUSED.items()}
    wrong = "this is not down(silu(gate(x)) · up(x))"
    task.equal(task.call(x, gate_up, down), _fused(x, gate_up, down), wrong, known)
    token = task.call(x[:1, :1], gate_up, down)
    task.equal(token, _fused(x, gate_up, down)[:1, :1], "right for a batch, wrong for a single token: each token is "
               "worked on alone")  # fmt: skip
    x, gate_up, down = task.randn(1, 3, 4), task.randn(10, 4) / 2, task.randn(4, 5) / 2
    task.again(_fused(x, gate_up, down), x, gate_up, down)
    return "one wide product instead of two, and the same values as with gate and up apart"


@check("05.neuron", points=2)
def check_repaired_gate(task: Task) -> str:
    """Find the bug in the gate"""
    gate, up = task.randn(4, 6) * 2, task.randn(4, 6)
    got, louder = task.call(gate, up), task.call(gate, up * 3)
    task.equal(got.shape, gate.shape, "the shape is that of gate and up")
    closed = task.call(torch.full_like(gate, -40.0), -up.abs() - 5)
    task.that(close(closed, torch.zeros(4, 6)), "still there: a gate of -40 is shut, and something passes. The "
              "activation must bend the gate alone, not the product")  # fmt: skip
    task.that(close(louder, 3 * got), "what passes is not proportional to `up`: it must not be bent itself")
    task.equal(got, F.silu(gate) * up, "shut where it should be, but the values are not silu(gate) · up", {
        "that is a sigmoid gate; SiLU lets more through the wider it is open": torch.sigmoid(gate) * up,
        "that is ReLU's gate; SiLU has no corner": F.relu(gate) * up,
        "nothing passes at all": torch.zeros(4, 6),
    })  # fmt: skip
    return "shut for very negative gates whatever `up` says, and proportional to `up`"


@check("05.loudness", points=2)
def check_predicted_growth(task: Task) -> str:
    """Predict, then measure: what does twice the input give?"""
    for size, factor in [(1e-4, 3.0), (1e4, 2.0 + task.number(0, 3))]:
        x = (task.randn(400, 32) * size).double()
        matrices = [task.randn(64, 32).double(), task.randn(64, 32).double(), task.randn(32, 64).double()]
        for gated in (True, False):
            loud, soft = _size(x * factor, matrices, gated), _size(x, matrices, gated)
            got, measured = float(task.call(factor, gated)), loud / soft
            inside = abs(got / measured - 1) < 0.02
            which = say(
                "{kind}, inputs near {size}, made {factor} times as large",
                kind=say("gated" if gated else "classic"),
                size=f"{size:g}",
                factor=f"{factor:g}",
            )
            expected = factor**2 if gated else factor
            other = factor if gated else factor**2
            task.that(
                inside or not close(got, other),
                say(
                    "{which}: you have it the wrong way round, or took both kinds alike. How often does x enter the "
                    "product?",
                    which=which,
                )
                if gated
                else say("{which}: only one factor holds x", which=which),
            )
            task.that(inside or not close(got, factor**3), say("{which}: three matrices, but only two of them see x",
                          which=which))  # fmt: skip
            task.that(inside or not close(got, 1.0), say("{which}: there is no norm inside the MLP", which=which))
            task.that(inside, say("{which}: measured {measured}, you said {got}, near is {expected}",
                          which=which, measured=f"{measured:.3f}", got=f"{got:.3f}",
                          expected=f"{expected:g}"))  # fmt: skip
    return "squared with a gate, in proportion without: one more reason for the norm in front"


def _size(x: Tensor, matrices: list[Tensor], gated: bool) -> float:
    """The answer's root mean square."""
    gate, up, down = matrices
    inside = F.silu(x @ gate.mT) * (x @ up.mT) if gated else F.relu(x @ up.mT)
    return float((inside @ down.mT).pow(2).mean().sqrt())
