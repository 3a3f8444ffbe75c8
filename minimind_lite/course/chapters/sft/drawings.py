"""Chapter 10's drawings: marks and targets of one conversation; the rings of questions around what was trained."""

from collections.abc import Sequence
from typing import Any

from minimind_lite.model.transformer import IGNORED_TARGET
from minimind_lite.tokenizer import Rendered, Tokenizer

from ...kit.drawings import (
    FAINT,
    PALE_BLUE,
    PALE_GREEN,
    PALE_ORANGE,
    PALE_PURPLE,
    PAPER,
    arrow,
    rounded,
    sheet,
    squares,
    words,
)
from ...kit.labels import label
from ...kit.language import say
from ...kit.style import GREEN, described, style

TALL, BAND = 0.28, 1.5  # a token's box; a turn with its ids, marks and targets; in inches
LETTER, MARGIN = 0.072, 0.17  # what a letter takes in a box, and what every box has besides


@style()
def marks_and_targets(tokenizer: Tokenizer, rendered: Rendered) -> Any:
    """A short conversation, a band for each turn: its tokens and their marks, and below them the shifted targets."""
    names = [tokenizer.token_label(token) for token in rendered.ids]
    targets = [name if mark else str(IGNORED_TARGET).replace("-", "−")
               for name, mark in zip(names[1:], rendered.loss_mask[1:], strict=True)]  # fmt: skip
    turns = _turns(rendered.ids, tokenizer.bos_id)
    figure, axis = sheet(8.8, BAND * len(turns) + 0.5)
    for number, turn in enumerate(turns):
        top, left = BAND * (len(turns) - number) + 0.4, 1.05
        for height, name in ((top - TALL / 2, "ids"), (top - 0.42, "loss_mask"), (top - 1.06, "targets")):
            words(axis, 0.95, height, name, align="right", size=8.5)
        before = None  # the middle of the token before this one, if it stands in the same band
        for place in turn:
            mark, target = rendered.loss_mask[place], targets[place] if place < len(targets) else ""
            wide = MARGIN + LETTER * max(len(names[place]), len(target))
            middle = left + wide / 2
            axis.add_patch(rounded(left, top - TALL, wide - 0.05, TALL, PALE_GREEN if mark else PAPER))
            words(axis, middle - 0.025, top - TALL / 2, names[place], size=8)
            words(axis, middle - 0.025, top - 0.42, str(mark), GREEN if mark else FAINT, size=8.5)
            if mark and before is not None:
                arrow(axis, (middle - 0.025, top - 0.52), (before, top - 0.92), GREEN)
            if target:
                counts = rendered.loss_mask[place + 1]
                axis.add_patch(rounded(left, top - 1.2, wide - 0.05, TALL, PALE_GREEN if counts else PAPER))
                words(axis, middle - 0.025, top - 1.06, target, "black" if counts else FAINT, size=8)
            before, left = middle - 0.025, left + wide
    for left, colour, name in ((1.05, PALE_GREEN, "mask_learned"), (4.3, PAPER, "mask_only_read")):
        squares(axis, left, 0.3, [[colour]], 0.2)
        words(axis, left + 0.3, 0.2, label(name), align="left", size=8.5)
    learned = [name for name, mark in zip(names, rendered.loss_mask, strict=True) if mark]
    return described(figure, say(
        "The {count} tokens of a conversation, turn by turn, with a mark below each: 1 for {learned}, 0 for all "
        "others. Below the marks stand the targets, one place further left: after each token the next one if that is "
        "marked, else -100.",
        count=len(names), learned=" ".join(learned),
    ))  # fmt: skip


def _turns(ids: Sequence[int], start: int) -> list[range]:
    """The places of each turn; every one begins with ``start``."""
    begins = [place for place, token in enumerate(ids) if token == start]
    return [range(*ends) for ends in zip(begins, [*begins[1:], len(ids)], strict=True)]


@style()
def rings() -> Any:
    """Trained, near and far wordings of one fact inside one another; backward questions and new names stand apart."""
    figure, axis = sheet(8.6, 3.0)
    nested = (("far", PAPER, 0.1, 0.1, 5.4, 2.8), ("near", PALE_BLUE, 0.45, 0.2, 4.7, 1.95),
              ("trained", PALE_GREEN, 0.8, 0.3, 4.0, 1.1))  # fmt: skip
    apart = (("back", PALE_ORANGE, 5.75, 1.55, 2.75, 1.35), ("new", PALE_PURPLE, 5.75, 0.1, 2.75, 1.3))
    for name, colour, left, bottom, width, height in (*nested, *apart):
        axis.add_patch(rounded(left, bottom, width, height, colour))
        middle, top = left + width / 2, bottom + height
        words(axis, middle, top - 0.2, label(f"ring_{name}"), size=9.5)
        words(axis, middle, top - 0.48, label(f"ring_{name}_example"), size=8)
    words(axis, 2.8, 0.55, label("ring_trained_answer"), size=8)
    words(axis, 7.125, 1.95, label("ring_back_answer"), size=8)
    words(axis, 7.125, 0.45, label("ring_new_answer"), size=8)
    return described(figure, say(
        "Three frames inside one another: questions about one fact as they were trained, in near wordings, and in far "
        "frames. Beside them two frames of their own: the same fact asked backwards, and a name that does not exist."
    ))  # fmt: skip
