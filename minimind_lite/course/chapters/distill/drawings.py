"""Chapter 13's drawings: what flows from teacher and student into the loss, and what a student can be told."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from minimind_lite.model.losses import kl_divergence

from ...kit.drawings import FAINT, INK, PALE_BLUE, PAPER, arrow, box, sheet, sign, words
from ...kit.labels import label
from ...kit.language import say
from ...kit.sentences import listed
from ...kit.style import BLUE, GREEN, GREY, ORANGE, described, style

TALL = 0.62  # a bar of probability 1, in inches


@style()
def teacher_and_student(teacher: Tensor, student: Tensor, right: int, alpha: float, temperature: float) -> Any:
    """Both models' distributions over a few tokens, made from their logits, and the two terms of the loss."""
    theirs = (teacher / temperature).softmax(dim=-1)
    softened, sharp = (student / temperature).softmax(dim=-1), student.softmax(dim=-1)
    divergence = kl_divergence(student, teacher, temperature).item()
    surprise = -sharp[right].log().item()
    total = alpha * surprise + (1 - alpha) * temperature**2 * divergence
    figure, axis = sheet(8.8, 3.6)
    top, middle, low = 2.95, 1.75, 0.55
    box(axis, 0.15, middle, 1.05, label("same_text"), PAPER, 0.6)
    for height, name, colour in ((top, "teacher_frozen", PAPER), (middle, "student_trained", PALE_BLUE)):
        arrow(axis, (1.2, middle), (1.75, height), GREY)
        box(axis, 1.8, height, 1.4, label(name), colour, 0.6)
    box(axis, 1.8, low, 1.4, label("label_token"), PAPER, 0.6)
    for left, height, shares, colour in ((3.75, top, theirs, ORANGE), (3.75, middle, softened, BLUE),
                                         (5.2, middle, sharp, BLUE)):  # fmt: skip
        _bars(axis, left, height - 0.32, shares.tolist(), colour)
    _bars(axis, 5.2, low - 0.32, [float(token == right) for token in range(len(teacher))], GREEN)
    arrow(axis, (3.2, top), (3.65, top), GREY)
    arrow(axis, (3.2, middle), (3.65, middle), GREY)
    arrow(axis, (3.2, low), (5.1, low), GREY)
    words(axis, 4.15, top + 0.44, f"p, T = {temperature:g}", FAINT, size=8)
    words(axis, 4.15, middle - 0.5, f"q, T = {temperature:g}", FAINT, size=8)
    words(axis, 5.6, middle + 0.5, "q, T = 1", FAINT, size=8)
    axis.annotate("", (4.15, 2.2), (4.15, 2.55), arrowprops={"arrowstyle": "<|-|>", "color": INK})
    axis.annotate("", (5.6, 1.0), (5.6, 1.35), arrowprops={"arrowstyle": "<|-|>", "color": INK})
    terms = (label("kl_term").format(kl=divergence, weight=1 - alpha, squared=temperature**2),
             label("label_term").format(loss=surprise, weight=alpha))  # fmt: skip
    _sum_of(axis, *terms, total)
    return described(figure, say(
        "Teacher and student read the same text. Both distributions, softened by T = {temperature}, are compared by "
        "KL, {divergence}; the student's own is compared with the label by cross-entropy, {surprise}. Weighted "
        "{teaching} · T² and {alpha} they add up to {total}. Only the student learns.",
        temperature=f"{temperature:g}", divergence=f"{divergence:.3f}", surprise=f"{surprise:.3f}",
        teaching=f"{1 - alpha:g}", alpha=f"{alpha:g}", total=f"{total:.3f}",
    ))  # fmt: skip


def _sum_of(axis: Any, divergence: str, surprise: str, total: float) -> None:
    """The two terms of the loss and their sum, at the right of the sheet."""
    box(axis, 6.35, 2.4, 2.3, divergence, "white")
    box(axis, 6.35, 1.1, 2.3, surprise, "white")
    for start, height in ((4.35, 2.38), (5.8, 1.17)):
        axis.plot([start, 6.3], [height, height], color=GREY, linewidth=1.2)
    for upper, lower in ((2.07, 1.93), (1.57, 1.43)):
        axis.plot([7.5, 7.5], [upper, lower], color=GREY, linewidth=1.2)
    sign(axis, 7.5, 1.75, "+", BLUE)
    words(axis, 7.75, 1.75, f"= {total:.3f}", BLUE, "left", 9.5)
    words(axis, 6.35, 0.35, label("only_the_student_learns"), BLUE, "left", 8.5)


def _bars(axis: Any, left: float, bottom: float, shares: Sequence[float], colour: str) -> None:
    """Probabilities as bars on a line."""
    from matplotlib.patches import Rectangle

    step = 0.8 / len(shares)
    for place, share in enumerate(shares):
        axis.add_patch(Rectangle((left + place * step, bottom), 0.8 * step, TALL * share, facecolor=colour))
    axis.plot([left - 0.04, left + 0.8], [bottom, bottom], color=GREY, linewidth=1)


@style()
def what_a_student_is_told(teacher: Tensor, right: int, temperature: float = 1.0) -> Any:
    """At one token: the label, the teacher's first choice, or its whole distribution, made from its logits."""
    shares = (teacher / temperature).softmax(dim=-1)
    first = int(shares.argmax())
    lessons = (("told_label", [float(token == right) for token in range(len(teacher))], GREEN),
               ("told_text", [float(token == first) for token in range(len(teacher))], ORANGE),
               ("told_shares", shares.tolist(), ORANGE))  # fmt: skip
    figure, axis = sheet(8.8, 3.2)
    for row, (name, told, colour) in enumerate(lessons):
        middle = 2.65 - 1.05 * row
        box(axis, 0.15, middle, 2.2, label(name), PAPER, 0.66)
        arrow(axis, (2.35, middle), (2.9, middle), GREY)
        _bars(axis, 3.05, middle - 0.34, told, colour)
        arrow(axis, (4.0, middle), (4.5, middle), GREY)
        box(axis, 4.55, middle, 1.25, label("student_trained"), PALE_BLUE, 0.66)
        words(axis, 6.0, middle, label(f"{name}_means"), align="left", size=8.5)
    return described(figure, say(
        "Three ways to teach a student at one token, among {count}. The label is token {right} and nothing else; a "
        "text that the teacher wrote is its first choice, token {first}, and nothing else; the teacher's distribution "
        "has a share for every token: {shares}.",
        count=len(teacher), right=right + 1, first=first + 1, shares=listed(f"{one:.2f}" for one in shares.tolist()),
    ))  # fmt: skip
