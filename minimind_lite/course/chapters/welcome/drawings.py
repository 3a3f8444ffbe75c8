"""Chapter 00's drawing: the whole course on one sheet, from a text to its next token and from stage to stage."""

from typing import Any

from ...kit.drawings import FAINT, PALE_BLUE, PALE_GREEN, PALE_ORANGE, PALES, PAPER, arrow, box, sheet, squares, words
from ...kit.labels import label
from ...kit.language import say
from ...kit.paths import notebook_of
from ...kit.sentences import listed
from ...kit.style import BLUE, GREY, described, style

# Each stage of training, named like its chapter, and how deep it stands: below the stage that it builds on.
STAGES = (("pretrain", 0), ("sft", 1), ("lora", 2), ("dpo", 2), ("distill", 2), ("reason", 2), ("grpo", 2))
PARTS = ("tokenizer", "rmsnorm", "transformer", "generation")  # the chapters that build what writes a token
LATER = ("evaluation", "deploy", "scale")
FIRST_ROW, STEP, INDENT, WIDE = 2.42, 0.33, 0.3, 1.3  # of the stages: where, how far apart, how far in, how wide


def number_of(stage: str) -> str:
    """The chapter's number, as its notebook's name has it: ``sft`` → ``10``."""
    return notebook_of(stage).partition("_")[0]


@style()
def whole_course() -> Any:
    """How a text gets its next token, and below it the stages of training with what each of them changes."""
    figure, axis = sheet(8.8, 4.75)
    _one_token(axis)
    axis.plot([0.1, 8.7], [3.0, 3.0], color="#cccccc", linewidth=1)
    _stages(axis)
    later = "  ·  ".join(f"{number_of(one)} {label(f'course_{one}')}" for one in LATER)
    words(axis, 0.1, 0.14, later, align="left", size=8)
    stages = listed((f"{number_of(one)} {label(f'course_{one}')}" for one, _ in STAGES), "; ")
    return described(figure, say(
        "A text goes through the tokenizer (chapter {tokenizer}), which makes it ids, and through the network "
        "({first} to {last}), which says how likely each next token is; one is drawn ({generation}) and joins the "
        "text, again and again. Below, the stages of training with what each learns from and changes, SFT after "
        "pretraining and the others after SFT: {stages}.",
        **dict(zip(("tokenizer", "first", "last", "generation"), map(number_of, PARTS), strict=True)), stages=stages,
    ))  # fmt: skip


def _one_token(axis: Any) -> None:
    """The upper half: from the text so far to one token more, and back."""
    from matplotlib.patches import Rectangle

    middle, under = 4.15, 3.68
    tokenizer, first, last, generation = map(number_of, PARTS)
    for left, wide, name, colour, numbers in (
        (0.1, 1.3, "course_text", PAPER, ""), (1.75, 1.2, "course_tokenizer", PALE_ORANGE, tokenizer),
        (4.0, 1.3, "course_network", PALE_BLUE, f"{first}–{last}"), (7.4, 1.3, "course_draw", PALE_GREEN, generation),
    ):  # fmt: skip
        box(axis, left, middle, wide, label(name), colour, 0.6)
        words(axis, left + wide / 2, under, numbers, BLUE, size=8.5)
    for start, end in ((1.4, 1.75), (2.95, 3.28), (3.58, 4.0), (5.3, 5.68), (7.02, 7.4)):
        arrow(axis, (start, middle), (end, middle), GREY)
    squares(axis, 3.31, middle + 0.36, [[colour] for colour in PALES[:3]])
    words(axis, 3.43, 4.63, label("course_ids"), size=8.5)
    for place, long in enumerate((0.2, 1.0, 0.35, 0.1)):
        axis.add_patch(Rectangle((5.75, middle + 0.18 - 0.16 * place), 1.2 * long, 0.12, facecolor=BLUE))
    words(axis, 6.35, 4.63, label("course_likely"), size=8.5)
    axis.plot([8.05, 8.05, 0.75], [3.55, 3.3, 3.3], color=GREY, linewidth=1.6)
    arrow(axis, (0.75, 3.3), (0.75, middle - 0.32), GREY)
    words(axis, 4.4, 3.43, label("course_again"), FAINT, size=8.5)


def _stages(axis: Any) -> None:
    """The lower half: a row for each stage, with its chapter, what it learns from and what it changes."""
    for x, name in ((0.1, "course_stage"), (3.0, "course_from"), (5.55, "course_changes")):
        words(axis, x, 2.8, label(name), FAINT, "left", 8.5)
    for row, (stage, depth) in enumerate(STAGES):
        middle, left = FIRST_ROW - row * STEP, 0.5 + depth * INDENT
        words(axis, 0.1, middle, number_of(stage), BLUE, "left", 8.5)
        box(axis, left, middle, WIDE, label(f"course_{stage}"), (PALE_ORANGE, PALE_BLUE, PALE_GREEN)[depth], 0.27)
        words(axis, 3.0, middle, label(f"course_from_{stage}"), align="left", size=8)
        words(axis, 5.55, middle, label(f"course_changes_{stage}"), align="left", size=8)
        if depth:
            above = FIRST_ROW - (depth - 1) * STEP - 0.135  # the lower edge of the stage that it builds on
            stem = 0.5 + (depth - 1) * INDENT + 0.15
            axis.plot([stem, stem, left], [above, middle, middle], color=GREY, linewidth=1.2)
