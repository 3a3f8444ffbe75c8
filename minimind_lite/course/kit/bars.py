"""Bars in pairs: two numbers for each of several kinds of text, beside each other."""

from collections.abc import Mapping
from typing import Any

from .labels import label
from .language import say
from .sentences import listed, short
from .style import BLUE, GREY, described, subplots


def paired_bars(pairs: Mapping[str, tuple[float, float]], names: tuple[str, str], what: str) -> Any:
    """Two bars for each key of ``pairs``, the first grey and the second blue.

    pairs: a label's key and its two numbers. names, what: labels' keys, of the two bars and of the axis.
    """
    figure, axis = subplots(height=1.0 + 0.46 * len(pairs))
    places = range(len(pairs), 0, -1)
    for which, colour, shift in ((0, GREY, 0.2), (1, BLUE, -0.2)):
        lengths = [pair[which] for pair in pairs.values()]
        bars = axis.barh([at + shift for at in places], lengths, height=0.38, color=colour, label=label(names[which]))
        axis.bar_label(bars, fmt="%.2f", padding=3, fontsize=8)
    axis.set_yticks(list(places), [label(key) for key in pairs])
    axis.grid(axis="y", visible=False)
    axis.set(xlabel=label(what), xlim=(0, 1.14 * max(max(pair) for pair in pairs.values())))
    figure.legend(loc="outside upper right", ncols=2)
    told = listed((f"{label(key)} {short(one)}, {short(two)}" for key, (one, two) in pairs.items()), "; ")
    lower = sum(two < one for one, two in pairs.values())
    words = say(
        "Bars of {what} in pairs, {first} and {second}: {told}. The second is the shorter in {lower} of {count}.",
        what=label(what), first=label(names[0]), second=label(names[1]), told=told, lower=lower, count=len(pairs),
    )  # fmt: skip
    return described(figure, words)
