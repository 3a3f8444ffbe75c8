"""Chapter 14's drawings: the parts of a conversation with a thought and what they weigh, and which position does."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from torch import Tensor

from minimind_lite.data.reasoning import REASONING_TAGS
from minimind_lite.tokenizer import Rendered, Tokenizer

from ...kit.drawings import FAINT, PALE_GREEN, PAPER, arrow, rounded, sheet, words
from ...kit.labels import label
from ...kit.language import say
from ...kit.sentences import listed
from ...kit.style import BLUE, GREY, described, style

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


def around_tags(ids: Sequence[int], tags: set[int]) -> list[int]:
    """The places of the tags and of their neighbours; -1 stands for what is left out between them."""
    wanted = sorted({near for place, one in enumerate(ids) if one in tags for near in (place - 1, place, place + 1)
                     if 0 < near < len(ids)})  # fmt: skip
    found: list[int] = []
    for place in wanted:
        if found and place != found[-1] + 1:
            found.append(-1)
        found.append(place)
    return found


@style()
def weight_of_targets(tokenizer: Tokenizer, rendered: Rendered, weights: Tensor) -> Any:
    """Around the tags: what the model reads, what it should write next, and how much that counts in the loss."""
    from matplotlib.patches import Rectangle

    tags = {token for token in tokenizer.control_ids if tokenizer.decode([token]) in REASONING_TAGS}
    each = [float(weights[token]) * trained for token, trained in zip(rendered.ids, rendered.loss_mask, strict=True)]
    places, wide = around_tags(rendered.ids, tags), 0.66
    figure, axis = sheet(1.1 + wide * len(places), 3.15)
    for height, name in ((2.85, "model_reads"), (2.1, "should_write"), (0.62, "weight")):
        words(axis, 1.0, height, label(name), FAINT, "right", 8.5)
    for column, place in enumerate(places):
        left, middle = 1.1 + column * wide, 1.1 + (column + 0.5) * wide
        if place < 0:
            words(axis, middle, 2.1, "…", FAINT, size=11)
            continue
        _chip(axis, left, 2.85, _named_token(tokenizer, rendered.ids[place - 1]), PAPER)
        arrow(axis, (middle, 2.68), (middle, 2.29), GREY)
        weight = each[place]
        _chip(axis, left, 2.1, _named_token(tokenizer, rendered.ids[place]),
              PAPER if weight == 0 else PALE_GREEN if weight == 1 else HEAVY)  # fmt: skip
        tall = 0.95 * weight / max(each)
        axis.add_patch(Rectangle((left + 0.15, 0.78), wide - 0.3, tall, facecolor=HEAVY if weight > 1 else PALE_GREEN))
        words(axis, middle, 0.62, f"{weight:g}", size=8.5)
    trained, total = sum(rendered.loss_mask), sum(each)
    heavy = [weight for token, weight in zip(rendered.ids, each, strict=True) if token in tags and weight]
    numbers = {"tags": len(heavy), "trained": trained, "share": f"{100 * sum(heavy) / total:.0f}"}
    words(axis, 0.1, 0.2, label("tags_share").format(**numbers), BLUE, "left", 9)
    return described(figure, say(
        "Tokens of a conversation around its tags: what the model reads, what it should write next, and the weight, "
        "which is that of the token to be written. {tags} of {trained} trained tokens are tags; they hold {share} % of "
        "the weight.", **numbers,
    ))  # fmt: skip


def _named_token(tokenizer: Tokenizer, token: int) -> str:
    return tokenizer.token_label(token).replace("\\n", "⏎")


def _chip(axis: Any, left: float, middle: float, text: str, colour: str) -> None:
    """One token, in letters small enough for the longest tag."""
    axis.add_patch(rounded(left + 0.02, middle - 0.16, 0.62, 0.32, colour))
    words(axis, left + 0.33, middle, text, size=7 if len(text) < 10 else 6.5)
