"""Chapter 09's drawing: the KV cache over time, while a prompt is read and while an answer is written."""

from collections.abc import Sequence
from typing import Any

from ...kit.drawings import FAINT, INK, PALE_BLUE, arrow, sheet, squares, words
from ...kit.labels import label
from ...kit.language import say
from ...kit.sentences import listed
from ...kit.style import GREY, ORANGE, described, style


@style()
def prefill_and_decode(prompt: Sequence[str], answer: Sequence[str]) -> Any:
    """A column for each pass through the model: what it reads, what the cache holds, and the token that comes out."""
    tokens = [*prompt, *answer]
    kept, passes = len(tokens) - 1, len(answer)
    side, wide, left = 0.27, 0.95, 2.25
    figure, axis = sheet(8.8, side * kept + 1.75)
    top = side * kept + 1.2
    for number in range(kept):
        ink = INK if number < len(prompt) else "#0072B2"
        words(axis, left - 0.15, top - (number + 0.5) * side, tokens[number], ink, "right", 8.5)
    for place in range(passes):
        middle = left + (place + 0.5) * wide
        held = len(prompt) + place
        new = held if place == 0 else 1
        column = [[PALE_BLUE]] * (held - new) + [[ORANGE]] * new
        squares(axis, middle - side / 2, top, column, side)
        words(axis, middle, top + 0.17, label("pass_number").format(number=place + 1), FAINT, size=8)
        arrow(axis, (middle, top - held * side), (middle, 0.92), GREY)
        words(axis, middle, 0.8, answer[place], "#0072B2", size=9)
        words(axis, middle, 0.46, str(new), size=9)
        words(axis, middle, 0.17, str(held), size=9)
    _phase(axis, left, left + wide, top + 0.4, label("prefill"))
    _phase(axis, left + wide, left + passes * wide, top + 0.4, label("decode"))
    for height, name in ((0.8, "token_comes_out"), (0.46, "reads_with_cache"), (0.17, "reads_without_cache")):
        words(axis, left - 0.15, height, label(name), align="right", size=8.5)
    right = left + passes * wide + 0.25
    for middle_height, colour, name in (
        (top - 0.15, ORANGE, "computed_and_kept"),
        (top - 0.5, PALE_BLUE, "in_the_cache"),
    ):
        squares(axis, right, middle_height + 0.1, [[colour]], 0.2)
        words(axis, right + 0.3, middle_height, label(name), align="left", size=8.5)
    reads = [len(prompt) + place for place in range(passes)]
    for height, total in ((0.46, kept), (0.17, sum(reads))):
        words(axis, right, height, label("tokens_in_all").format(total=total), align="left", size=8.5)
    return described(figure, say(
        "Passes through the model from left to right. The first, the prefill, computes keys and values of the "
        "{prompt} tokens of the prompt and keeps them; each of the {steps} passes after it, the decode, adds those "
        "of one token. With the cache {kept} tokens are read in all; without it {reads}, together {total}.",
        prompt=len(prompt), steps=passes - 1, kept=kept, reads=listed(reads), total=sum(reads),
    ))  # fmt: skip


def _phase(axis: Any, left: float, right: float, height: float, name: str) -> None:
    """A name over a line that spans the passes of one phase."""
    axis.plot([left + 0.08, right - 0.08], [height - 0.08] * 2, color=GREY, linewidth=1.4)
    words(axis, (left + right) / 2, height + 0.05, name, size=9.5)
