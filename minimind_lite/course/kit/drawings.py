"""Pieces of drawings: rounded boxes, boxes with words, arrows, all in an axis's own units."""

from typing import Any


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


def box(axis: Any, left: float, middle: float, width: float, text: str, colour: str) -> None:
    """A rounded box with ``text`` in it; ``middle`` is its height on the axis."""
    axis.add_patch(rounded(left, middle - 0.33, width, 0.66, colour))
    axis.text(left + width / 2, middle, text, ha="center", va="center", fontsize=8.5)


def arrow(axis: Any, start: tuple[float, float], end: tuple[float, float], colour: str) -> None:
    """A straight arrow from ``start`` to ``end``."""
    axis.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": 1.6})
