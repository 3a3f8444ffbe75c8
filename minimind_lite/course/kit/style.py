"""One look for every picture: matplotlib's settings, a palette that colour-blind readers can tell apart, small HTML."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from html import escape
from typing import Any

from .labels import named
from .language import language, spaced

# Okabe & Ito 2008: eight colours that stay apart under the common kinds of colour blindness.
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, YELLOW, GREY = "#CC79A7", "#56B4E9", "#F0E442", "#888888"
PALETTE = (BLUE, ORANGE, GREEN, RED, PURPLE, SKY, YELLOW, GREY)
SEQUENTIAL, DIVERGING = "viridis", "RdBu_r"  # colour maps: amounts, and amounts around zero

# White is set explicitly: the black axes of a transparent figure would vanish in a dark theme.
RC: dict[str, Any] = {
    "figure.dpi": 90, "savefig.dpi": 90, "figure.figsize": (7.2, 3.6), "figure.facecolor": "white",
    "figure.constrained_layout.use": True, "axes.facecolor": "white", "axes.grid": True, "axes.axisbelow": True,
    "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 11, "axes.titlelocation": "left",
    "axes.labelsize": 10, "font.size": 10, "grid.color": "#e6e6e6", "grid.linewidth": 0.8, "lines.linewidth": 1.8,
    "legend.frameon": False, "image.cmap": SEQUENTIAL,
}  # fmt: skip


@contextmanager
def style() -> Iterator[None]:
    """Draw in the course's look inside ``with style():``; matplotlib's settings are restored afterwards."""
    import matplotlib.pyplot as plt
    from cycler import cycler

    look: Any = RC | {"axes.prop_cycle": cycler(color=PALETTE)}
    with plt.rc_context(look):
        yield


def subplots(
    rows: int = 1,
    columns: int = 1,
    *,
    width: float = 7.2,
    height: float = 3.6,
    sharex: bool = False,
    sharey: bool = False,
    squeeze: bool = True,
    width_ratios: Sequence[float] | None = None,
) -> Any:
    """``plt.subplots`` in the course's look: (figure, axes). Width and height in inches at 90 dpi.

    The figure is taken out of pyplot's list, so that a notebook shows it only once, as the cell's last value. What
    ``described`` says of it is stored in the notebook beside the picture.
    """
    import matplotlib.pyplot as plt

    from .described import DescribedFigure, show_with_alt

    with style():
        figure, axes = plt.subplots(
            rows, columns, figsize=(width, height), sharex=sharex, sharey=sharey, squeeze=squeeze,
            width_ratios=width_ratios, FigureClass=DescribedFigure,
        )  # fmt: skip
    plt.close(figure)
    show_with_alt()
    return figure, axes


def described(figure: Any, sentence: str) -> Any:
    """The figure, with the sentence that tells its content to those who cannot see it (its alternative text).

    The sentence is made from the data that the figure shows, so that it is true of every run.
    """
    words = " ".join(sentence.split())
    words = spaced(words) if language() == "zh" else words
    figure.alt = words[:1].upper() + words[1:]  # it may begin with an axis's label
    return figure


def html(body: str) -> Any:
    """``body`` as a notebook output in a readable font stack that has Chinese; inherits the theme's colours."""
    from IPython.display import HTML

    stack = "system-ui, 'Noto Sans CJK SC', 'PingFang SC', 'Microsoft YaHei', sans-serif"
    return HTML(f'<div style="font-family:{stack};line-height:1.7">{body}</div>')


def drawing(body: str, sentence: str) -> str:
    """HTML whose meaning is in its shapes and colours, with a sentence that a screen reader says instead of them."""
    return f'<div role="img" aria-label="{escape(sentence)}">{body}</div>'


def chip(text: str, background: str, title: str = "", foreground: str = "#111") -> str:
    """One token as a coloured HTML chip: spaces and line ends made visible, control characters escaped."""
    shown = escape(text.replace("\n", "⏎").replace(" ", "␣")) or "&#8203;"
    look = f"background:{background};color:{foreground};padding:1px 4px;margin:1px;border-radius:4px"
    return f'<span style="{look};display:inline-block;white-space:pre" title="{escape(title)}">{shown}</span>'


def table(header: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A small HTML table; cells are escaped, and names of ours are in the current language."""
    head = "".join(f'<th scope="col" style="text-align:left">{escape(named(name))}</th>' for name in header)
    body = "".join("<tr>" + "".join(f"<td>{escape(named(str(cell)))}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
