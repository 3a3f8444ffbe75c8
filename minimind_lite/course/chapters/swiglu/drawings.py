"""Chapter 05's drawings: the two ways through the gate, and the matrices drawn to scale."""

from typing import Any

from ...kit.drawings import FAINT, PALE_BLUE, PALE_GREEN, PALE_ORANGE, PAPER, arrow, box, sheet, sign, words
from ...kit.labels import label
from ...kit.language import say
from ...kit.style import BLUE, GREEN, GREY, ORANGE, RED, described, style


@style()
def gate_drawing(width: int, inner: int) -> Any:
    """SwiGLU as a drawing: the signal below, the gate above, one multiplication, and the way down."""
    figure, axis = sheet(8.8, 2.5)
    box(axis, 0.2, 1.2, 0.8, f"x\n{width}", PAPER, 0.6)
    box(axis, 1.7, 1.8, 1.25, f"$W_{{gate}}$\n{width} → {inner}", PALE_ORANGE, 0.6)
    box(axis, 3.4, 1.8, 0.9, "SiLU", "white", 0.6)
    box(axis, 1.7, 0.6, 1.25, f"$W_{{up}}$\n{width} → {inner}", PALE_BLUE, 0.6)
    arrow(axis, (1.0, 1.25), (1.7, 1.8), GREY)
    arrow(axis, (1.0, 1.15), (1.7, 0.6), GREY)
    arrow(axis, (2.95, 1.8), (3.4, 1.8), GREY)
    axis.plot([4.3, 5.3], [1.8, 1.8], color=ORANGE, linewidth=1.6)
    arrow(axis, (5.3, 1.8), (5.3, 1.36), ORANGE)
    axis.plot([2.95, 5.3], [0.6, 0.6], color=BLUE, linewidth=1.6)
    arrow(axis, (5.3, 0.6), (5.3, 1.04), BLUE)
    sign(axis, 5.3, 1.2, "×", GREEN)
    words(axis, 4.5, 2.0, label("how_far_open"), RED, "left")
    words(axis, 4.4, 0.35, label("what_wants_through"), BLUE)
    arrow(axis, (5.5, 1.2), (6.3, 1.2), GREY)
    box(axis, 6.3, 1.2, 1.3, f"$W_{{down}}$\n{inner} → {width}", PALE_GREEN, 0.6)
    arrow(axis, (7.6, 1.2), (8.3, 1.2), GREY)
    said = say("SwiGLU: x of width {width} goes up twice, to width {inner}. One copy passes SiLU and says how far each "
               "gate is open, the other is what wants to pass; they are multiplied, and a third matrix goes back down.",
               width=width, inner=inner)  # fmt: skip
    return described(figure, said)


@style()
def same_weights(width: int = 48) -> Any:
    """The matrices of the classic and the gated MLP, drawn to scale: two wide ones, or three less wide ones."""
    from matplotlib.patches import Rectangle

    figure, axis = sheet(8.8, 2.6)
    scale = 0.62 / width
    kinds = (("classic_mlp", 4 * width, ("up", "down")), ("gated_mlp", 8 * width // 3, ("gate", "up", "down")))
    colours = {"up": PALE_BLUE, "down": PALE_GREEN, "gate": PALE_ORANGE}
    for top, (name, inner, matrices) in zip((2.2, 1.0), kinds, strict=True):
        count = len(matrices) * width * inner
        words(axis, 0.2, top - 0.31, f"{label(name)}\n{count:,} {label('weights')}", align="left")
        for number, matrix in enumerate(matrices):
            left = 2.3 + number * (inner * scale + 0.25)
            size = (inner * scale, width * scale)
            axis.add_patch(Rectangle((left, top - size[1]), *size, facecolor=colours[matrix], edgecolor="#888"))
            words(axis, left + size[0] / 2, top - size[1] / 2, f"{matrix}\n{width} × {inner}", size=8.5)
    words(axis, 4.4, 0.14, label("to_scale"), FAINT)
    (_, inner, classic), (_, gated_inner, gated) = kinds
    said = say("Matrices drawn to scale: the classic MLP has {count} of {width} × {inner}, the gated one {gated_count} "
               "of {width} × {gated_inner}; both have the same number of weights.", count=len(classic), width=width,
               inner=inner, gated_count=len(gated), gated_inner=gated_inner)  # fmt: skip
    return described(figure, said)
