"""Chapter 08's pictures: blocks and their waste, learning-rate schedules, bits per byte."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from minimind_lite.data.packing import PackedDataset, pack
from minimind_lite.training.loop import warmup_cosine

from ...kit.bars import paired_bars
from ...kit.curves import lines, loss_band
from ...kit.labels import label
from ...kit.language import say, say_count
from ...kit.sentences import amounts, listed, moves, short
from ...kit.style import BLUE, GREEN, GREY, ORANGE, PALETTE, described, drawing, html, subplots

__all__ = ["bits", "blocks", "fill_shares", "lines", "loss_band", "schedule", "singular_values", "sources", "waste"]

WASTE = "repeating-linear-gradient(45deg,#ddd 0 4px,#f7f7f7 4px 8px)"


def blocks(dataset: PackedDataset, count: int = 6) -> Any:
    """The first ``count`` blocks as bars: a colour for each document, hatching for padding."""
    lines, padding = [], []
    for pieces in dataset.blocks[:count]:
        parts = [
            _segment(len(piece) / dataset.block_size, PALETTE[number % 7], f"{len(piece)} {label('tokens')}")
            for number, piece in enumerate(pieces)
        ]
        empty = dataset.block_size - sum(map(len, pieces))
        padding.append(say("{first} and {last}",
                           first=say_count("{count} document", "{count} documents", len(pieces)),
                           last=say_count("{count} position of padding", "{count} positions of padding", empty),
                           ))  # fmt: skip
        parts.append(_segment(empty / dataset.block_size, WASTE, say("{empty} padding", empty=empty)))
        lines.append(f'<div style="display:flex;height:18px;margin:3px 0">{"".join(parts)}</div>')
    sentence = say_count("Bars of {count} block of {size} positions: {blocks}.",
                         "Bars of {count} blocks of {size} positions: {blocks}.", len(lines), size=dataset.block_size,
                         blocks=listed(padding, "; "))  # fmt: skip
    return html(drawing(f'<div style="max-width:720px">{"".join(lines)}</div>', sentence))


def _segment(share: float, background: str, title: str) -> str:
    look = f"width:{100 * share:.2f}%;background:{background};border-right:1px solid #fff;box-sizing:border-box"
    return f'<div style="{look}" title="{escape(title)}"></div>'


def fill_shares(lengths: Sequence[int], block_size: int) -> tuple[float, float]:
    """Share of real tokens with one document per block, and packed; overlong documents are cut in both."""
    total = sum(lengths)
    padded = sum(-(-length // block_size) for length in lengths)
    return total / (padded * block_size), total / (len(pack(lengths, block_size)) * block_size)


def waste(lengths: Sequence[int], sizes: Sequence[int], chosen: int) -> Any:
    """Padding's share against the block's size, with one document per block and packed; ``chosen`` is marked."""
    figure, axis = subplots(height=3.2)
    shares = 100 * (1 - np.array([fill_shares(lengths, size) for size in sizes]))  # (sizes, 2)
    for column, name, colour in ((0, "padded", ORANGE), (1, "packed", BLUE)):
        axis.plot(sizes, shares[:, column], marker="o", color=colour, label=label(name))
    axis.axvline(chosen, color=GREY, linestyle=":")
    axis.set(xscale="log", xticks=sizes, xlabel=label("block_size"), ylabel=label("waste_percent"), ylim=(-2, 100))
    axis.set_xticklabels([str(size) for size in sizes])
    axis.minorticks_off()
    axis.legend()
    kinds = moves({label("padded"): shares[:, 0].tolist(), label("packed"): shares[:, 1].tolist()})
    words = say("{what}, for blocks of {first} to {last}, with {chosen} marked: {lines}.", what=label("waste_percent"),
                first=sizes[0], last=sizes[-1], chosen=chosen, lines=kinds)  # fmt: skip
    return described(figure, words)


def singular_values(rounds: Sequence[Sequence[float]]) -> Any:
    """The singular values of a matrix, largest first, before the iteration and after each of its rounds."""
    figure, axis = subplots(height=3.2)
    for number, values in enumerate(rounds):
        colour = ORANGE if number == 0 else BLUE
        strength = 0.25 + 0.75 * number / (len(rounds) - 1) if number else 1.0
        ends = number in (0, len(rounds) - 1)
        name = label("before") if number == 0 else say_count("after {count} round", "after {count} rounds", number)
        axis.plot(values, color=colour, alpha=strength, label=name if ends else None)
    axis.set(xlabel=label("direction"), ylabel=label("singular_value"), yscale="log", ylim=(1e-3, 2))
    axis.legend()
    first, last = list(rounds[0]), list(rounds[-1])
    words = say("Singular values of a gradient on a logarithmic scale, the largest first: before, they fall from "
                "{first} to {middle} in the middle; after {count} rounds the same two are {top} and {half}.",
                first=short(first[0]), middle=short(first[len(first) // 2]), count=len(rounds) - 1,
                top=short(last[0]), half=short(last[len(last) // 2]))  # fmt: skip
    return described(figure, words)


def schedule(total_steps: int, peak: float, warmups: Sequence[float], min_ratio: float) -> Any:
    """The learning rate over a run, one line per share of warm-up."""
    figure, axis = subplots(height=3.0)
    peaks = []
    for share in warmups:
        rates = [
            peak * warmup_cosine(step, total_steps, round(share * total_steps), min_ratio)
            for step in range(total_steps)
        ]
        name, top = f"{label('warmup')} {share:.0%}", max(rates)
        peaks.append(say("{name} is highest at step {step}, {top}, and ends at {last}", name=name,
                         step=rates.index(top) + 1, top=short(top), last=short(rates[-1])))  # fmt: skip
        axis.plot(range(1, total_steps + 1), rates, label=name)
    axis.set(xlabel=label("step"), ylabel=label("learning_rate"), ylim=(0, 1.05 * peak))
    axis.legend()
    return described(figure, say("{what} over {count} steps: {peaks}.", what=label("learning_rate"), count=total_steps,
                                 peaks=listed(peaks, "; ")))  # fmt: skip


def bits(measured: Mapping[str, float], best: str) -> Any:
    """Bits per byte of several models as bars; shorter is better, ``best`` is coloured."""
    figure, axis = subplots(height=0.7 + 0.42 * len(measured))
    names = list(measured)[::-1]
    colours = [GREEN if name == best else GREY for name in names]
    bars = axis.barh([label(name) for name in names], [measured[name] for name in names], color=colours)
    axis.bar_label(bars, fmt="%.3f", padding=3)
    axis.grid(axis="y", visible=False)
    axis.set(xlabel=label("bits_per_byte"), xlim=(0, 1.12 * max(measured.values())))
    bars_seen = amounts({label(name): value for name, value in measured.items()})
    return described(figure, say("Bars of {what}, where fewer are better, ‘{best}’ coloured: {lengths}.",
                                 what=label("bits_per_byte"), best=label(best), lengths=bars_seen))  # fmt: skip


def sources(by_kind: Mapping[str, tuple[float, float]]) -> Any:
    """Bits per byte of each kind of held-out text: the trigram counts and the trained network; shorter is better."""
    return paired_bars(by_kind, ("trigram", "trained"), "bits_per_byte")
