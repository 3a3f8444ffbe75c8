"""Chapter 10's drawing: the rings of held-out questions around what was trained."""

from typing import Any

from ...kit.drawings import PALE_BLUE, PALE_GREEN, PALE_ORANGE, PALE_PURPLE, PAPER, rounded, sheet, words
from ...kit.labels import label
from ...kit.language import say
from ...kit.style import described, style


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
