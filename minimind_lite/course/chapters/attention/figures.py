"""Chapter 04's pictures: scores and weights, what saturates, who can influence whom, memory, heads."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from ...kit.curves import loss_curves
from ...kit.labels import label, named
from ...kit.language import say
from ...kit.sentences import listed, moves, short, spread
from ...kit.style import BLUE, GREY, ORANGE, PALETTE, RED, SEQUENTIAL, described, style, subplots

__all__ = ["draw_map", "head_grid", "kv_memory", "loss_curves", "row_bars", "saturation", "score_maps", "sentence"]


def draw_map(axis: Any, matrix: Tensor, words: Sequence[str] = (), title: str = "", limit: float | None = None) -> Any:
    """One (queries, keys) matrix on ``axis``: a row is a token that looks, a column one that is looked at.

    −inf is drawn grey: what the mask forbids. ``limit`` fixes the colour scale to 0 .. limit. Returns the image.
    """
    from matplotlib import colormaps

    values = np.ma.masked_invalid(matrix.detach().float().cpu().numpy())
    colours = colormaps[SEQUENTIAL].with_extremes(bad="#d9d9d9")
    image = axis.imshow(values, cmap=colours, vmin=None if limit is None else 0, vmax=limit, interpolation="nearest")
    axis.set_title(title)
    axis.grid(False)
    if words:
        axis.set_xticks(range(len(words)), words, rotation=60, ha="right", fontsize=8)
        axis.set_yticks(range(len(words)), words, fontsize=8)
    return image


def _seen(title: str, matrix: Tensor, words: Sequence[str]) -> str:
    """What one map shows, in words: its range, its largest cell, and how many cells are grey."""
    values = matrix.detach().float().cpu()
    seen = values[values.isfinite()].tolist()
    if not seen:
        return say("{title}: every cell is grey", title=title)
    row, column = divmod(int(values.where(values.isfinite(), float("-inf")).argmax()), values.shape[1])
    names = words or [say("token {place}", place=place) for place in range(max(values.shape))]
    told = say("{title}: {spread}, largest where {one} looks at {other}", title=title, spread=spread(seen),
               one=names[row], other=names[column])  # fmt: skip
    hidden = values.numel() - len(seen)
    return told + say(", {hidden} of {count} cells grey", hidden=hidden, count=values.numel()) if hidden else told


def sentence() -> list[str]:
    """Six tokens to draw attention over: English words, in Chinese characters."""
    text = say("the owl saw that it slept")
    return text.split() if " " in text else list(text)


@style()
def score_maps(maps: dict[str, Tensor], words: Sequence[str] = ()) -> Any:
    """Matrices side by side, each with its own colour bar: ``{"scores": …, "after the mask": …, "weights": …}``."""
    figure, axes = subplots(1, len(maps), width=3.4 * len(maps), height=3.3, squeeze=False)
    maps = {named(title): matrix for title, matrix in maps.items()}
    for axis, (title, matrix) in zip(axes[0], maps.items(), strict=True):
        image = draw_map(axis, matrix, words, title)
        figure.colorbar(image, ax=axis, shrink=0.75)
    axes[0, 0].set_ylabel(label("query_token"))
    axes[0, 0].set_xlabel(label("key_token"))
    seen = listed((_seen(title, matrix, words) for title, matrix in maps.items()), "; ")
    return described(figure, say("Maps, a row for each token that looks and a column for each looked at: {maps}.",
                                 maps=seen))  # fmt: skip


@style()
def saturation(dims: Sequence[int], largest: dict[str, Sequence[float]], stuck: dict[str, Sequence[float]]) -> Any:
    """How peaked the softmax is, and how many queries get next to no gradient, by a head's width; a line per variant.

    largest: the largest weight of a query, on average. stuck: the share of queries with next to no gradient, 0 to 1.
    """
    figure, axes = subplots(1, 2, width=8.4, height=3.2)
    largest, stuck = ({named(name): values for name, values in one.items()} for one in (largest, stuck))
    for colour, name in zip((RED, BLUE), largest, strict=False):
        axes[0].plot(dims, largest[name], "o-", color=colour, label=name)
        axes[1].plot(dims, stuck[name], "o-", color=colour, label=name)
    for axis, what in zip(axes, ("largest_weight", "without_gradient"), strict=True):
        axis.set_xscale("log", base=2)
        axis.set_xticks(dims, [str(d) for d in dims])
        axis.set_xlabel(label("head_dim"))
        axis.set_title(label(what))
        axis.set_ylim(-0.02, 1.02)
        axis.minorticks_off()
    axes[0].legend()
    words = say("Two charts over the width of a head, from {first} to {last}: {weight}: {weights}; {stuck}: "
                "{shares}.", first=dims[0], last=dims[-1], weight=label("largest_weight"), weights=moves(largest),
                stuck=label("without_gradient"), shares=moves(stuck))  # fmt: skip
    return described(figure, words)


@style()
def kv_memory(bytes_by_kind: dict[str, Sequence[float]], lengths: Sequence[int]) -> Any:
    """Memory of keys and values against the length of the text; one line per kind of attention. Values in bytes."""
    figure, axis = subplots(width=6.4, height=3.4)
    bytes_by_kind = {named(name): values for name, values in bytes_by_kind.items()}
    for (name, values), colour in zip(bytes_by_kind.items(), PALETTE, strict=False):
        mebibytes = [value / 2**20 for value in values]
        axis.plot(lengths, mebibytes, "o-", color=colour)
        axis.annotate(f" {name}: {mebibytes[-1]:.0f} MiB", (lengths[-1], mebibytes[-1]), color=colour, va="center")
    axis.set_xlim(0, lengths[-1] * 1.45)
    axis.set_ylim(bottom=0)
    axis.set_xticks(lengths)
    axis.set_xlabel(label("tokens_in_context"))
    axis.set_ylabel(label("kv_mebibytes"))
    memory = moves({name: [value / 2**20 for value in values] for name, values in bytes_by_kind.items()})
    return described(figure, say("{what} for {first} to {last} tokens of context: {lines}.",
                                 what=label("kv_mebibytes"), first=lengths[0], last=lengths[-1],
                                 lines=memory))  # fmt: skip


@style()
def head_grid(weights: Tensor, captions: Sequence[Sequence[str]]) -> Any:
    """Every head of a small model: weights (layers, heads, seq, seq), and a caption for each head."""
    layers, heads = weights.shape[:2]
    captions = [[named(one) for one in row] for row in captions]
    figure, axes = subplots(layers, heads, width=2.3 * heads, height=2.6 * layers, squeeze=False)
    for layer in range(layers):
        for head in range(heads):
            axis = axes[layer, head]
            draw_map(axis, weights[layer, head], title=captions[layer][head], limit=1.0)
            axis.set_title(captions[layer][head], fontsize=9)
            axis.tick_params(labelsize=7)
        axes[layer, 0].set_ylabel(f"{label('layer')} {layer}")
    peak = weights.detach().float().amax(dim=-1).mean(dim=-1)  # (layers, heads)
    layer, head = divmod(int(peak.argmax()), heads)
    said = listed((say("layer {layer}, {caption}", layer=i, caption=one)
                   for i, row in enumerate(captions) for one in row), "; ")  # fmt: skip
    words = say("Attention maps of {layers} layers with {heads} heads each ({captions}); the most concentrated is head "
                "{head} of layer {layer}, whose largest weight in a row is {peak} on average.", layers=layers,
                heads=heads, captions=said, head=head, layer=layer, peak=short(peak[layer, head]))  # fmt: skip
    return described(figure, words)


@style()
def row_bars(weights: Tensor, words: Sequence[str], query: int, title: str = "") -> Any:
    """One head's map, and what the token ``query`` looks at. weights: (seq, seq)."""
    figure, axes = subplots(1, 2, width=9.0, height=3.9, width_ratios=(1, 1.25))
    draw_map(axes[0], weights, title=named(title), limit=1.0)
    for edge in (query - 0.5, query + 0.5):  # a frame that leaves the row visible
        axes[0].axhline(edge, color=ORANGE, linewidth=0.8)
    axes[0].set_ylabel(label("query_token"))
    axes[0].set_xlabel(label("key_token"))
    row = weights[query].detach().float().cpu().numpy()
    colours = [ORANGE if place == query else BLUE if place < query else GREY for place in range(len(row))]
    axes[1].bar(range(len(row)), row, color=colours)
    axes[1].set_xticks(range(len(row)), words, fontsize=7, rotation=0 if max(map(len, words)) == 1 else 60)
    axes[1].grid(False, axis="x")
    axes[1].set_ylim(0, 1)
    axes[1].set_title(say("what is seen from position {position} ({token})", position=query, token=words[query]))
    most = int(row.argmax())
    told = say("One head's attention map and, as bars, what token {query} ({asking}) looks at: most at token {most} "
               "({seen}), with a weight of {weight}, and at itself with {own}.", query=query, asking=words[query],
               most=most, seen=words[most], weight=short(row[most]), own=short(row[query]))  # fmt: skip
    return described(figure, told)
