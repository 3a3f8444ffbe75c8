"""Chapter 02's drawings: one vector on its way through RMSNorm, and where the norm stands beside the stream."""

from collections.abc import Sequence
from typing import Any

from ...kit.drawings import FAINT, PALE_BLUE, PALE_GREEN, PALE_ORANGE, arrow, box, sheet, sign, squares, words
from ...kit.labels import label
from ...kit.language import say
from ...kit.sentences import listed, short
from ...kit.style import BLUE, GREY, RED, described, style


@style()
def one_vector(x: Sequence[float]) -> Any:
    """RMSNorm step by step: the entries, their squares, the mean, the root, and the entries over the root."""
    squared = [value**2 for value in x]
    mean = sum(squared) / len(x)
    root = mean**0.5
    normed = [value / root for value in x]
    figure, axis = sheet(8.6, 1.75)
    for left, name, values, colour in (
        (0.3, "vector", x, PALE_BLUE), (2.0, "squares", squared, PALE_ORANGE), (3.9, "their_mean", [mean], PALE_ORANGE),
        (5.3, "its_root", [root], PALE_ORANGE), (7.1, "divided", normed, PALE_GREEN),
    ):  # fmt: skip
        squares(axis, left, 1.2, [[colour] * len(values)], 0.55, [[f"{value:.3g}" for value in values]])
        words(axis, left + 0.275 * len(values), 1.4, label(name))
    for start, end in ((1.4, 2.0), (3.1, 3.9), (4.45, 5.3), (5.85, 7.1)):
        arrow(axis, (start + 0.05, 0.93), (end - 0.05, 0.93), GREY)
    axis.plot([0.85, 0.85, 6.45], [0.6, 0.25, 0.25], color=BLUE, linewidth=1.4)
    arrow(axis, (6.45, 0.25), (6.45, 0.88), BLUE)
    words(axis, 3.6, 0.42, label("the_entries_again"), BLUE)
    said = say("RMSNorm step by step: the vector {vector}, its squares {squares}, their mean {mean}, its root {root}, "
               "and the vector divided by it, {divided}.", vector=listed(map(short, x)),
               squares=listed(map(short, squared)), mean=short(mean), root=short(root),
               divided=listed(map(short, normed)))  # fmt: skip
    return described(figure, said)


@style()
def norm_beside_the_stream() -> Any:
    """Two lanes: the norm in the branch (pre-norm), and the norm on the stream itself (post-norm)."""
    figure, axis = sheet(8.6, 3.0)
    for bottom, name in ((1.75, "pre_norm"), (0.35, "post_norm")):
        words(axis, 0.1, bottom + 0.85, label(name), align="left")
        for start, end in ((0.2, 8.3),) if name == "pre_norm" else ((0.2, 6.2), (7.3, 8.3)):
            arrow(axis, (start, bottom), (end, bottom), BLUE)
        _branch(axis, bottom, label("layer_box"), pre=name == "pre_norm")
    return described(figure, say(
        "Two lanes. Above, pre-norm: the branch leaves the stream, passes a norm and a layer, and is added; the stream "
        "runs through untouched. Below, post-norm: the branch is added first, and then a norm stands on the stream."
    ))  # fmt: skip


def _branch(axis: Any, bottom: float, layer: str, *, pre: bool) -> None:
    top = bottom + 0.62
    axis.plot([2.0, 2.0, 2.6], [bottom, top, top], color=GREY, linewidth=1.4)
    if pre:
        box(axis, 2.6, top, 1.1, "RMSNorm", PALE_BLUE, 0.42)
        arrow(axis, (3.7, top), (4.1, top), GREY)
    else:
        axis.plot([2.6, 4.1], [top, top], color=GREY, linewidth=1.4)
        box(axis, 6.2, bottom, 1.1, "RMSNorm", PALE_BLUE, 0.42)
    box(axis, 4.1, top, 1.1, layer, PALE_ORANGE, 0.42)
    axis.plot([5.2, 5.7], [top, top], color=GREY, linewidth=1.4)
    arrow(axis, (5.7, top), (5.7, bottom + 0.14), GREY)
    sign(axis, 5.7, bottom, "+", BLUE)
    words(axis, 7.0, bottom + 0.45, label("untouched" if pre else "rescaled"), FAINT if pre else RED)
