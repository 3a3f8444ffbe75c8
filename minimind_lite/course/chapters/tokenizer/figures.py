"""Chapter 01's pictures: how far each kind of text is compressed, and what a larger vocabulary costs."""

from collections.abc import Mapping, Sequence
from typing import Any

from ...kit.bars import paired_bars
from ...kit.labels import label
from ...kit.language import say
from ...kit.sentences import amounts, listed, moves, short
from ...kit.style import BLUE, GREEN, GREY, ORANGE, described, subplots
from ...kit.tokens import byte_chips, chips, loss_mask, rows

__all__ = ["byte_chips", "chips", "compression", "diets", "loss_mask", "rows", "vocabulary_sizes"]


def compression(by_kind: Mapping[str, float], chinese: Sequence[str]) -> Any:
    """Characters per token of each kind of held-out text; ``chinese`` names the kinds that are Chinese."""
    figure, axis = subplots(height=0.6 + 0.38 * len(by_kind))
    names = list(by_kind)[::-1]
    colours = [ORANGE if name in chinese else BLUE for name in names]
    bars = axis.barh([label(name) for name in names], [by_kind[name] for name in names], color=colours)
    axis.bar_label(bars, fmt="%.2f", padding=3)
    axis.grid(axis="y", visible=False)
    axis.set(xlabel=label("chars_per_token"), xlim=(0, 1.12 * max(by_kind.values())))
    lengths = amounts({label(name): value for name, value in by_kind.items()})
    return described(figure, say("Bars of {what}: {lengths}.", what=label("chars_per_token"), lengths=lengths))


def diets(by_kind: Mapping[str, tuple[float, float]]) -> Any:
    """Characters per token of each kind of held-out text, after learning from prose alone and from everything."""
    return paired_bars(by_kind, ("from_prose", "from_everything"), "chars_per_token")


def vocabulary_sizes(sizes: Sequence[int], chinese: Sequence[float], english: Sequence[float], chosen: int) -> Any:
    """Compression against the size of the vocabulary, and what the size costs in parameters at two widths."""
    figure, (left, right) = subplots(1, 2, width=8.4, height=3.2)
    for values, colour, name, marker in ((english, BLUE, "english", "o"), (chinese, ORANGE, "chinese", "s")):
        left.plot(sizes, values, marker=marker, color=colour, label=label(name))
    left.set(xlabel=label("vocabulary"), ylabel=label("chars_per_token"), ylim=(0, None))
    for width, colour, style in ((128, GREEN, "-"), (512, GREY, "--")):
        millions = [size * width / 1e6 for size in sizes]
        right.plot(sizes, millions, style, color=colour, marker="o", label=f"{label('hidden_size')} {width}")
    right.set(xlabel=label("vocabulary"), ylabel=label("embedding_millions"), ylim=(0, None))
    for axis in (left, right):
        axis.axvline(chosen, color=GREY, linestyle=":", linewidth=1.2)
        axis.legend()
    gained = moves({label("english"): english, label("chinese"): chinese})
    costs = listed(say("{millions} at width {width}", millions=short(chosen * width / 1e6), width=width)
                   for width in (128, 512))  # fmt: skip
    words = say("{length} for vocabularies from {first} to {last}: {gained}; and {cost}, which the chosen {chosen} "
                "makes {costs}.", length=label("chars_per_token"), first=sizes[0], last=sizes[-1], gained=gained,
                cost=label("embedding_millions"), chosen=chosen, costs=costs)  # fmt: skip
    return described(figure, words)
