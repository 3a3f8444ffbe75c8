"""Chapter 02's pictures: clouds of vectors, a signal through many layers, learning rates, what each precision loses."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from ...kit.labels import label
from ...kit.language import say
from ...kit.sentences import listed, moves, short, spread
from ...kit.style import BLUE, GREEN, GREY, ORANGE, PALETTE, RED, described, subplots


def clouds(points: Tensor, rms: Tensor, layer: Tensor) -> Any:
    """The same 2-D vectors unchanged, after RMSNorm and after LayerNorm; each (count, 2)."""
    figure, axes = subplots(1, 3, width=8.4, height=3.0)
    angle = points[:, 1].atan2(points[:, 0]).numpy()  # the colour follows a vector through the three panels
    names = ("as_they_come", "rmsnorm", "layernorm")
    for axis, name, cloud in zip(axes, names, (points, rms, layer), strict=True):
        axis.scatter(cloud[:, 0], cloud[:, 1], c=angle, cmap="twilight", s=14)
        axis.set(title=label(name), aspect="equal")
        reach = max(2.0, float(cloud.abs().max()) * 1.1)
        axis.set(xlim=(-reach, reach), ylim=(-reach, reach))
    lengths = (
        f"{label(name)} {spread(cloud.norm(dim=-1))}" for name, cloud in zip(names, (points, rms, layer), strict=True)
    )
    return described(figure, say("The same {count} vectors as points in three panels; their lengths: {lengths}.",
                                 count=len(points), lengths=listed(lengths, "; ")))  # fmt: skip


def through_layers(curves: Mapping[str, Sequence[float]]) -> Any:
    """Root mean square of the stream after each layer, on a log scale; a cross where it stops being a number."""
    figure, axis = subplots(height=3.4)
    for (name, sizes), colour in zip(curves.items(), PALETTE, strict=False):
        good = [size for size in sizes if math.isfinite(size)]
        axis.plot(range(len(good)), good, marker="o", markersize=3.5, color=colour, label=name)
        if len(good) < len(sizes):
            axis.plot(len(good) - 1, good[-1], marker="X", markersize=13, color=colour)
    axis.set(yscale="log", xlabel=label("layer"), ylabel=label("stream_rms"))
    axis.legend()
    return described(figure, say("{size} after each layer, on a logarithmic axis: {lines}.",
                                 size=label("stream_rms"), lines=moves(curves)))  # fmt: skip


def learning_rates(rates: Sequence[float], losses: Mapping[str, Sequence[float]], untrained: float) -> Any:
    """Final loss against learning rate, one line for each arm; losses above the untrained one are cut off there."""
    figure, axis = subplots(height=3.4)
    for (name, values), colour, marker in zip(losses.items(), (GREY, BLUE, ORANGE), "sXo", strict=False):
        capped = [min(value, untrained * 1.5) if math.isfinite(value) else untrained * 1.5 for value in values]
        axis.plot(rates, capped, marker=marker, color=colour, label=name)
    axis.axhline(untrained, color=RED, linestyle=":", label=label("answers_zero"))
    axis.set(xscale="log", yscale="log", xlabel=label("learning_rate"), ylabel=label("mean_squared_error"))
    axis.legend(ncols=2)
    best = listed((_best(name, rates, values) for name, values in losses.items()), "; ")
    words = say("{error} for learning rates {rates}, beside the {untrained} of always answering zero: {best}.",
                error=label("mean_squared_error"), rates=spread(rates), untrained=short(untrained),
                best=best)  # fmt: skip
    return described(figure, words)


def _best(name: str, rates: Sequence[float], losses: Sequence[float]) -> str:
    """The learning rate with the lowest finite loss, in words."""
    finite = [(loss, rate) for rate, loss in zip(rates, losses, strict=True) if math.isfinite(loss)]
    if not finite:
        return say("{name} is best at no rate, every loss is infinite", name=name)
    loss, rate = min(finite)
    return say("{name} is best at {rate} with {loss}", name=name, rate=short(rate), loss=short(loss))


def precision(scales: Sequence[float], errors: Mapping[str, Sequence[float]]) -> Any:
    """Relative error of three implementations against the size of the input, both axes logarithmic."""
    figure, axis = subplots(height=3.4)
    for (name, values), colour in zip(errors.items(), (RED, ORANGE, GREEN, BLUE), strict=False):
        axis.plot(scales, values, marker="o", markersize=3.5, color=colour, label=name)
    axis.set(xscale="log", yscale="log", xlabel=label("input_scale"), ylabel=label("relative_error"))
    axis.legend()
    return described(figure, say("{error} for input scales {scales}: {lines}.",
                                 error=label("relative_error"), scales=spread(scales),
                                 lines=moves(errors)))  # fmt: skip


def bars(x: Tensor, rms: Tensor, layer: Tensor) -> Any:
    """One vector of a few dimensions as bars: unchanged, after RMSNorm, after LayerNorm."""
    figure, axes = subplots(1, 3, width=8.4, height=2.6)
    panels = []
    names, colours = ("as_they_come", "rmsnorm", "layernorm"), (GREY, BLUE, ORANGE)
    for axis, name, vector, colour in zip(axes, names, (x, rms, layer), colours, strict=True):
        values = np.asarray(vector)
        axis.bar(range(len(values)), values, color=colour)
        axis.axhline(float(values.mean()), color=RED, linewidth=1, linestyle="--")
        size = float(np.sqrt((values**2).mean()))
        words = f"RMS {size:.3g}, {label('mean')} {round(float(values.mean()), 3):g}"
        axis.set(title=f"{label(name)}\n{words}", xlabel=label("dimension"))
        panels.append(f"{label(name)} {words}")
    limit = max(2.5, float(rms.abs().max()), float(layer.abs().max()))
    for axis in axes[1:]:
        axis.set_ylim(-limit, limit)
    return described(figure, say("One vector of {count} numbers as bars, before and after two norms: {panels}.",
                                 count=len(x), panels=listed(panels, "; ")))  # fmt: skip
