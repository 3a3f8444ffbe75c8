"""Chapter 05's pictures: activations, what one neuron can draw, learning curves, and what trained gates let through."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...kit.labels import label
from ...kit.language import say
from ...kit.sentences import amounts, listed, move, moves, spread
from ...kit.style import BLUE, DIVERGING, GREEN, GREY, ORANGE, RED, described, subplots

COLOURS = {"relu": GREY, "gelu": ORANGE, "silu": GREEN, "swiglu": BLUE, "linear": RED, "bilinear": GREEN}


def activations() -> Any:
    """ReLU, GELU and SiLU, and their slopes."""
    figure, axes = subplots(1, 2, width=8.4, height=3.1)
    seen = []
    for name, function in (("relu", F.relu), ("gelu", F.gelu), ("silu", F.silu)):
        z = torch.linspace(-6, 4, 400, requires_grad=True)
        y = function(z)
        (slope,) = torch.autograd.grad(y.sum(), z)
        axes[0].plot(z.detach(), y.detach(), color=COLOURS[name], label=label(name))
        axes[1].plot(z.detach(), slope, color=COLOURS[name])
        seen.append(say("{name} lies {values}, its slope {slopes}", name=label(name), values=spread(y.tolist()),
                        slopes=spread(slope.tolist())))  # fmt: skip
    axes[0].set(xlabel=label("input"), title=label("activation"), ylim=(-0.6, 4))
    axes[1].set(xlabel=label("input"), title=label("slope"))
    axes[0].legend()
    return described(figure, say("Three activations and their slopes over inputs from -6 to 4: {each}.",
                                 each=listed(seen, "; ")))  # fmt: skip


def neurons() -> Any:
    """Output of one ReLU neuron and one SwiGLU neuron over two inputs: a ramp, and a surface that bends both ways."""
    figure, axes = subplots(1, 2, width=8.0, height=3.4)
    ranges = []
    a, b = torch.meshgrid(torch.linspace(-3, 3, 120), torch.linspace(-3, 3, 120), indexing="xy")
    for axis, name, z in ((axes[0], "relu_neuron", F.relu(a + b)), (axes[1], "swiglu_neuron", F.silu(a + b) * (a - b))):
        ranges.append(say("{name} {spread}, {share} of it negative", name=label(name),
                          spread=spread(z.flatten().tolist()),
                          share=f"{float((z < 0).float().mean()):.0%}"))  # fmt: skip
        image = axis.contourf(a, b, z, levels=np.linspace(-9, 9, 25), cmap=DIVERGING)
        axis.set(title=label(name), xlabel=label("input_a"), ylabel=label("input_b"), aspect="equal")
        figure.colorbar(image, ax=axis, ticks=range(-9, 10, 3))
    return described(figure, say("Two surfaces over two inputs from -3 to 3: {each}.", each=listed(ranges, "; ")))


def gated_line(gate_slope: float, gate_shift: float, up_slope: float, up_shift: float) -> Any:
    """One SwiGLU neuron over one input: its gate, what wants to pass, and what passes."""
    figure, axis = subplots(height=3.3)
    x = torch.linspace(-4, 4, 300)
    gate, up = F.silu(gate_slope * x + gate_shift), up_slope * x + up_shift
    axis.plot(x, gate, color=ORANGE, linestyle="--", label=label("gate"))
    axis.plot(x, up, color=GREY, linestyle="--", label=label("up"))
    axis.plot(x, gate * up, color=BLUE, linewidth=2.6, label=label("passes"))
    axis.set(xlabel=label("input"), ylim=(-6, 6))
    axis.axhline(0, color="black", linewidth=0.8)
    axis.legend(loc="upper center", ncols=3)
    passed = {label("gate"): gate, label("up"): up, label("passes"): gate * up}
    ends = listed((move(name, line.tolist()) for name, line in passed.items()), "; ")
    return described(figure, say("One SwiGLU neuron over inputs from -4 to 4: {lines}.", lines=ends))


def learning(curves: Mapping[str, Mapping[str, Sequence[float]]]) -> Any:
    """One panel per task, one line per MLP: the share of the answer's variance that is still wrong, over the steps."""
    figure, axes = subplots(1, len(curves), width=8.4, height=3.2)
    drawn: dict[str, dict[str, list[float]]] = {task: {} for task in curves}
    for axis, (task, arms) in zip(axes, curves.items(), strict=True):
        for name, losses in arms.items():
            window = max(1, len(losses) // 20)
            smooth = np.convolve(losses, np.ones(window) / window, mode="valid")
            drawn[task][label(name)] = smooth.tolist()
            axis.plot(range(window, window + len(smooth)), smooth, color=COLOURS[name], label=label(name))
        axis.set(title=label(task), xlabel=label("step"), yscale="log")
    axes[0].set_ylabel(label("unexplained"))
    axes[0].legend()
    tasks = listed((say("{what}: {each}", what=label(task), each=moves(lines)) for task, lines in drawn.items()), "; ")
    return described(figure, say("{what} over the steps, smoothed: {lines}.", what=label("unexplained"), lines=tasks))


def seeds(losses: Mapping[str, Sequence[float]]) -> Any:
    """Held-out loss of each MLP: one dot per seed, a line at the mean."""
    figure, axis = subplots(height=2.6)
    for row, (name, values) in enumerate(losses.items()):
        axis.scatter(values, [row] * len(values), color=COLOURS[name], s=36, zorder=3)
        axis.plot([np.mean(values)] * 2, [row - 0.25, row + 0.25], color=COLOURS[name], linewidth=2.5)
    axis.set_yticks(range(len(losses)), [label(name) for name in losses])
    axis.set(xlabel=label("held_out_nats_per_letter"), ylim=(len(losses) - 0.5, -0.5))
    means = amounts({label(name): np.mean(values) for name, values in losses.items()})
    count = len(next(iter(losses.values())))
    return described(figure, say("{what}, a dot for each of {count} seeds; the means: {means}.",
                                 what=label("held_out_nats_per_letter"), count=count, means=means))  # fmt: skip


def gates(gate: Tensor, hidden: Tensor, relu: Tensor) -> Any:
    """Histograms: SwiGLU's gates before the SiLU, and what is inside a SwiGLU and a ReLU MLP; each any shape."""
    figure, axes = subplots(1, 2, width=8.4, height=3.0)
    axes[0].hist(gate.flatten().clamp(-6, 6).numpy(), bins=80, color=ORANGE)
    axes[0].axvline(0, color="black", linewidth=0.8)
    axes[0].set(title=label("gate_before"), xlabel=label("input"), yticks=[])
    for values, name in ((relu, "relu"), (hidden, "swiglu")):
        axes[1].hist(
            values.flatten().clamp(-3, 3).numpy(),
            bins=80,
            color=COLOURS[name],
            alpha=0.6,
            label=label(name),
            density=True,
        )
    axes[1].set(title=label("inside"), yscale="log", yticks=[])
    axes[1].legend()
    small = {name: float((values.abs() < 0.1).float().mean()) for values, name in ((relu, "relu"), (hidden, "swiglu"))}
    near = listed(say("{share} for {name}", share=f"{share:.0%}", name=label(name)) for name, share in small.items())
    words = say("Histograms: of the gates, {shut} are below zero before the SiLU; of the values inside, within 0.1 of "
                "zero are {near}.", shut=f"{float((gate < 0).float().mean()):.0%}", near=near)  # fmt: skip
    return described(figure, words)
