"""Pieces of drawings: a sheet, rounded boxes, boxes with words, arrows, squares, words, all in an axis's own units."""

from collections.abc import Sequence
from typing import Any

from .style import subplots

INK, FAINT = "#333333", "#888888"  # words, and what is beside the point
PAPER, PALE_BLUE, PALE_ORANGE, PALE_GREEN, PALE_PURPLE = "#e8e8e8", "#b9dcf0", "#f8dfa8", "#b5e3d3", "#efd3e1"
PALES = (PALE_BLUE, PALE_ORANGE, PALE_GREEN, PALE_PURPLE, "#f3f0ad", "#dadada", "#fcc9b0", "#d5d3ee")


def sheet(width: float, height: float) -> Any:
    """(figure, axis) of an empty sheet: no frame, one unit to the inch, (0, 0) at the lower left corner."""
    figure, axis = subplots(width=width, height=height)
    figure.set_layout_engine("none")
    axis.set_position((0, 0, 1, 1))
    axis.set(xlim=(0, width), ylim=(0, height))
    axis.axis("off")
    return figure, axis


def rounded(x: float, y: float, width: float, height: float, colour: str, line: str = "-") -> Any:
    """A rectangle with round corners, its lower left corner at (x, y), to be added to an axis."""
    from matplotlib.patches import FancyBboxPatch

    look: Any = {
        "boxstyle": "round,pad=0,rounding_size=0.08",
        "facecolor": colour,
        "edgecolor": "#888",
        "linestyle": line,
    }
    return FancyBboxPatch((x, y), width, height, **look)


def box(axis: Any, left: float, middle: float, width: float, text: str, colour: str, height: float = 0.66) -> None:
    """A rounded box with ``text`` in it; ``middle`` is its height on the axis."""
    axis.add_patch(rounded(left, middle - height / 2, width, height, colour))
    axis.text(left + width / 2, middle, text, ha="center", va="center", fontsize=8.5)


def arrow(axis: Any, start: tuple[float, float], end: tuple[float, float], colour: str) -> None:
    """A straight arrow from ``start`` to ``end``."""
    axis.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": 1.6})


def words(axis: Any, x: float, y: float, text: str, colour: str = INK, align: str = "center", size: float = 9) -> None:
    """``text`` at (x, y); ``align`` says which part of it is there: left, center or right."""
    axis.text(x, y, text, ha=align, va="center", color=colour, fontsize=size)


def sign(axis: Any, x: float, y: float, symbol: str, colour: str) -> None:
    """A small circle with + or × in it: where two values meet."""
    circle = {"boxstyle": "circle", "facecolor": "white", "edgecolor": colour}
    axis.text(x, y, symbol, ha="center", va="center", fontsize=11, bbox=circle)


def squares(
    axis: Any, left: float, top: float, rows: Sequence[Sequence[str]], side: float = 0.24, texts: Any = None
) -> None:
    """A grid of squares, a colour each ("" leaves a gap); ``texts`` has what is written in them, in the same shape."""
    from matplotlib.patches import Rectangle

    for i, row in enumerate(rows):
        for j, colour in enumerate(row):
            if not colour:
                continue
            corner = (left + j * side, top - (i + 1) * side)
            axis.add_patch(Rectangle(corner, side, side, facecolor=colour, edgecolor="white", linewidth=1))
            if texts is not None:
                words(axis, corner[0] + side / 2, corner[1] + side / 2, str(texts[i][j]), size=8)
