"""Chapter 11's drawings: a frozen matrix and the thin ones beside it, to scale; a layer that switches and merges."""

from collections.abc import Mapping
from typing import Any

from ...kit.drawings import FAINT, INK, PALE_BLUE, PALE_ORANGE, PAPER, arrow, box, rounded, sheet, sign, words
from ...kit.labels import label
from ...kit.language import say
from ...kit.sentences import listed
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


@style()
def switched_and_merged(outputs: int, inputs: int, ranks: Mapping[str, int]) -> Any:
    """One layer that holds an adapter of each rank: with none in use, with each of them, and with the first merged."""
    frozen = outputs * inputs
    sizes = {name: rank * (outputs + inputs) for name, rank in ranks.items()}
    used: list[str | None] = [None, *ranks]
    first = next(iter(ranks))
    wide = 2.15
    figure, axis = sheet(0.2 + wide * (len(used) + 1), 2.2 + 0.52 * len(ranks))
    height = 1.5 + 0.52 * len(ranks)
    for column, name in enumerate(used):
        left = 0.15 + wide * column
        words(axis, left + 0.9, height + 0.52, label(name) if name else label("lora_state_none"), size=9.5)
        _straight_through(axis, left, height, f"W\n{frozen:,}", PAPER)
        _stored_adapters(axis, left, height, sizes, name)
        number = 1 + list(ranks).index(name) if name else 0
        formula = rf"$y = Wx + (\alpha / r)\, B_{number} A_{number} x$" if name else "$y = Wx$"
        _formula(axis, left, formula, 3 if name else 1)
    left = 0.15 + wide * len(used)
    words(axis, left + 0.9, height + 0.52, label("lora_state_merged").format(name=label(first)), size=9.5)
    _straight_through(axis, left, height, f"W′\n{frozen:,}", PALE_ORANGE)
    _stored_adapters(axis, left, height, sizes, None)
    axis.add_patch(rounded(left + 0.36, 0.8, 1.02, 0.3, "white", "--"))
    words(axis, left + 0.87, 0.95, label("lora_set_aside"), FAINT, size=8)
    _formula(axis, left, r"$y = W'x,\quad W' = W + (\alpha / r)\, B_1 A_1$", 1)
    return described(figure, say(
        "One layer in {count} states. It always holds W, {frozen} numbers, and its adapters: {adapters}. With none in "
        "use, y is W times x, one product of a matrix with x; with an adapter in use, its A and B add two more. With "
        "{first} merged, the weight holds W and the change, one product is enough, and W itself is set aside.",
        count=len(used) + 1, frozen=f"{frozen:,}", first=label(first),
        adapters=listed(f"{label(name)} {size:,}" for name, size in sizes.items()),
    ))  # fmt: skip


def _straight_through(axis: Any, left: float, height: float, text: str, colour: str) -> None:
    """x through the weight to y."""
    words(axis, left + 0.1, height, "x", size=10)
    arrow(axis, (left + 0.17, height), (left + 0.36, height), GREY)
    box(axis, left + 0.36, height, 1.02, text, colour, 0.62)
    arrow(axis, (left + 1.38, height), (left + 1.86, height), GREY)
    words(axis, left + 1.91, height, "y", size=10)


def _stored_adapters(axis: Any, left: float, height: float, sizes: Mapping[str, int], used: str | None) -> None:
    """A box for each adapter that the layer holds; the way round W leads through the one in use."""
    for number, (name, size) in enumerate(sizes.items(), 1):
        middle = height - 0.08 - 0.52 * number
        text = f"B{chr(0x2080 + number)}A{chr(0x2080 + number)}  {label(name)}\n{size:,}"
        axis.add_patch(rounded(left + 0.36, middle - 0.21, 1.02, 0.42, ORANGE if name == used else "white",
                               "-" if name == used else "--"))  # fmt: skip
        words(axis, left + 0.87, middle, text, INK if name == used else FAINT, size=8)
        if name == used:
            axis.plot([left + 0.1, left + 0.1], [height - 0.12, middle], color=ORANGE, linewidth=1.6)
            arrow(axis, (left + 0.1, middle), (left + 0.36, middle), ORANGE)
            axis.plot([left + 1.38, left + 1.55], [middle, middle], color=ORANGE, linewidth=1.6)
            arrow(axis, (left + 1.55, middle), (left + 1.55, height - 0.13), ORANGE)
            sign(axis, left + 1.55, height, "+", BLUE)


def _formula(axis: Any, left: float, formula: str, products: int) -> None:
    """What the layer computes, and how many products of a matrix with x that takes."""
    words(axis, left + 0.9, 0.5, formula, size=9)
    words(axis, left + 0.9, 0.18, label("lora_products").format(count=products), FAINT, size=8)
