"""Chapter 14's drawing: the parts of a conversation with a thought, and what each of them weighs in the loss."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from torch import Tensor

from minimind_lite.tokenizer import Rendered, Tokenizer

from ...kit.drawings import PALE_GREEN, PAPER, rounded, sheet, words
from ...kit.labels import label
from ...kit.language import say
from ...kit.sentences import listed
from ...kit.style import described, style

Part = tuple[str, int, float]  # what it is called, its tokens, what each of them weighs
HEAVY = "#f3a76b"
LOW, HIGH, TALLEST = 0.3, 0.42, 0.95  # a box that is only read, that counts once, that counts more; in inches
TAG_WIDE, TEXT_WIDE = 0.83, 1.12


def parts_of(tokenizer: Tokenizer, rendered: Rendered, weights: Tensor) -> list[Part]:
    """A conversation's tokens in runs, named by what they are; lines that are only there for the eye are left out."""
    tags = {int(token) for token in (weights != 1).nonzero()}
    weighed = [(token, float(weights[token]) * trained)
               for token, trained in zip(rendered.ids, rendered.loss_mask, strict=True)]  # fmt: skip
    found: list[Part] = []
    for (tag, weight), run in groupby(weighed, lambda one: (one[0] if one[0] in tags else None, one[1])):
        ids = [token for token, _ in run]
        name = tokenizer.token_label(ids[0]) if tag else _named(tokenizer, ids, weight, [part[0] for part in found])
        if name:
            found.append((name, len(ids), weight))
    return found


def _named(tokenizer: Tokenizer, ids: Sequence[int], weight: float, before: Sequence[str]) -> str:
    """What a run of tokens between tags is called; "" for one that is only line ends."""
    text = tokenizer.decode([token for token in ids if token != tokenizer.eos_id], skip_special_tokens=True).strip()
    if weight == 0:
        return label("part_question") if not before else ""
    if tokenizer.eos_id in ids and not text:
        return tokenizer.token_label(tokenizer.eos_id)
    return label("part_thought" if before[-1] == "<think>" else "part_answer") if text else ""


@style()
def what_counts(tokenizer: Tokenizer, with_thought: Rendered, switched_off: Rendered, weights: Tensor) -> Any:
    """One sum with its thought and with thinking switched off: a box for each part, the higher the more it counts."""
    figure, axis = sheet(8.8, 3.3)
    told = []
    for bottom, rendered, name in (
        (2.05, with_thought, "with_a_thought"),
        (0.5, switched_off, "thinking_switched_off"),
    ):
        parts = parts_of(tokenizer, rendered, weights)
        words(axis, 0.1, bottom + 0.2, label(name), align="left", size=8.5)
        _row(axis, 0.95, bottom, parts)
        told.append(listed((f"{part} {tokens} × {weight:g}" for part, tokens, weight in parts), "; "))
    words(axis, 0.1, 1.83, label("tokens_times_weight"), align="left", size=8)
    words(axis, 0.1, 0.28, label("tokens_times_weight"), align="left", size=8)
    return described(figure, say(
        "The parts of a conversation, each with its tokens and the weight of one of them in the loss. With a thought: "
        "{thought}. With thinking switched off: {off}.",
        thought=told[0], off=told[1],
    ))  # fmt: skip


def _row(axis: Any, left: float, bottom: float, parts: Sequence[Part]) -> None:
    """The boxes of one conversation from left to right."""
    for name, tokens, weight in parts:
        wide = TAG_WIDE if name.startswith("<") else TEXT_WIDE
        tall = LOW if weight == 0 else HIGH if weight == 1 else TALLEST
        colour = PAPER if weight == 0 else PALE_GREEN if weight == 1 else HEAVY
        axis.add_patch(rounded(left, bottom, wide - 0.06, tall, colour))
        words(axis, left + wide / 2 - 0.03, bottom + tall / 2, name, size=8)
        words(axis, left + wide / 2 - 0.03, bottom - 0.22, f"{tokens} × {weight:g}", size=8.5)
        left += wide
