"""Chapter 11's drawing: one frozen matrix and the two thin ones beside it, to scale."""

from typing import Any

from ...kit.drawings import FAINT, PALE_BLUE, PAPER, arrow, box, sheet, sign, words
from ...kit.labels import label
from ...kit.language import say
from ...kit.style import BLUE, GREY, ORANGE, described, style

SCALE = 1.6  # the longest side of the frozen matrix, in inches


@style()
def beside_the_frozen(outputs: int, inputs: int, rank: int, alpha: float) -> Any:
    """W, and the way round it through A and B: rows are outputs, columns inputs, an area is a number of parameters."""
    unit = SCALE / max(outputs, inputs)
    tall, wide, thin = outputs * unit, inputs * unit, rank * unit
    figure, axis = sheet(8.8, 4.0)
    upper, lower, centre = 3.1, 1.3, 3.2
    box(axis, 0.2, upper, 0.85, label("lora_input").format(width=inputs), PAPER, 0.6)
    arrow(axis, (1.05, upper), (centre - wide / 2 - 0.06, upper), GREY)
    _matrix(axis, centre, upper, wide, tall, PAPER)
    frozen_words = label("lora_frozen").format(rows=outputs, columns=inputs)
    words(axis, centre + wide / 2 + 0.2, upper + 0.34, frozen_words, align="left", size=8.5)
    arrow(axis, (0.62, upper - 0.3), (0.62, lower), ORANGE)
    arrow(axis, (0.62, lower), (centre - wide / 2 - 0.06, lower), ORANGE)
    _matrix(axis, centre, lower, wide, thin, ORANGE)
    words(axis, centre, lower - thin / 2 - 0.32, label("lora_down").format(rank=rank, columns=inputs), size=8.5)
    arrow(axis, (centre + wide / 2 + 0.06, lower), (5.05, lower), ORANGE)
    words(axis, 4.55, lower + 0.32, label("lora_between").format(rank=rank), FAINT, size=8)
    _matrix(axis, 5.15, lower, thin, tall, ORANGE)
    words(axis, 5.15 + thin / 2 + 0.12, lower - 0.48, label("lora_up").format(rank=rank, rows=outputs), align="left",
          size=8.5)  # fmt: skip
    arrow(axis, (centre + wide / 2 + 0.06, upper), (6.82, upper), GREY)
    arrow(axis, (5.15 + thin / 2 + 0.06, lower), (7.0, lower), ORANGE)
    words(axis, 6.15, lower + 0.2, f"× α/r = {alpha:g}/{rank}", ORANGE, size=8.5)
    arrow(axis, (7.0, lower), (7.0, upper - 0.18), ORANGE)
    sign(axis, 7.0, upper, "+", BLUE)
    arrow(axis, (7.18, upper), (7.7, upper), GREY)
    box(axis, 7.7, upper, 0.85, label("lora_output").format(width=outputs), PALE_BLUE, 0.6)
    frozen, trained = outputs * inputs, rank * (outputs + inputs)
    words(axis, 4.4, 0.2, label("lora_counts").format(frozen=frozen, trained=trained, share=trained / frozen))
    return described(figure, say(
        "The input goes two ways, drawn to scale: through the frozen matrix W, {rows} by {columns}, {frozen} numbers; "
        "and through A, {rank} by {columns}, and B, {rows} by {rank}, together {trained} numbers that are trained. The "
        "second way is multiplied by α/r and added to the first.",
        rows=outputs, columns=inputs, frozen=f"{frozen:,}", rank=rank, trained=f"{trained:,}",
    ))  # fmt: skip


def _matrix(axis: Any, centre: float, middle: float, wide: float, tall: float, colour: str) -> None:
    """A rectangle around its centre."""
    from matplotlib.patches import Rectangle

    corner = (centre - wide / 2, middle - tall / 2)
    axis.add_patch(Rectangle(corner, wide, tall, facecolor=colour, edgecolor="#888", linewidth=0.8))
