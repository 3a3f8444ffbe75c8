"""A figure that knows a sentence about itself, and hands it to the notebook together with its picture."""

import base64
from io import BytesIO
from typing import Any

from IPython import get_ipython
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from .chinese_font import CHINESE, FONTS, register_chinese

PNG = "image/png"
INLINE = "module://matplotlib_inline.backend_inline"


class DescribedFigure(Figure):
    """A matplotlib figure with a sentence for those who cannot see it; "" while nobody has written one."""

    alt: str = ""

    def draw(self, renderer: Any) -> None:
        """Draw the figure; texts with Chinese in them also in the course's own font, as matplotlib's has no glyphs."""
        register_chinese()
        for text in self.findobj(Text):
            if isinstance(text, Text) and (not text.get_text() or CHINESE.search(text.get_text())):  # ticks come later
                # Beside a formula, words have only the first font in which matplotlib finds them
                text.set_fontfamily(FONTS[::-1] if "$" in text.get_text() else FONTS)
        super().draw(renderer)


def _png_with_alt(figure: DescribedFigure) -> Any:
    """The PNG that IPython makes of any figure, with the sentence in its metadata; None where it makes none."""
    try:
        draw = _formatter(get_ipython()).lookup_by_type(Figure)
    except KeyError:
        return None  # the notebook shows no PNG, because it was told to show SVG or nothing
    made = draw(figure)
    picture, metadata = made if isinstance(made, tuple) else (made, {})
    picture = _with_palette(picture)
    metadata = metadata | {"alt": figure.alt} if figure.alt else metadata
    return (picture, metadata) if metadata else picture


def _with_palette(picture: str | bytes) -> str | bytes:
    """The same PNG in at most 256 colours, two fifths of the bytes; in base64 if it came so.

    No eye sees it: in the course's figures at most one pixel in 3,000 changes by more than a tenth of full scale.
    """
    raw = base64.b64decode(picture) if isinstance(picture, str) else picture
    made = BytesIO()
    few = Image.open(BytesIO(raw)).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    few.save(made, "PNG", optimize=True)
    return base64.b64encode(made.getvalue()).decode("ascii") if isinstance(picture, str) else made.getvalue()


def _formatter(shell: Any) -> Any:
    return shell.display_formatter.formatters[PNG]


def show_with_alt() -> None:
    """Let this notebook store a figure's sentence beside its PNG; outside of IPython, nothing happens.

    Registered for our class only: IPython prefers it to what matplotlib registers for every figure, however often that
    is registered anew.
    """
    shell = get_ipython()
    if shell is not None:
        _show_inline(shell)
        _formatter(shell).for_type(DescribedFigure, _png_with_alt)


def _show_inline(shell: Any) -> None:
    """Let a kernel show pictures at all where MPLBACKEND chose a backend without a screen for it (a server's shell)."""
    if hasattr(shell, "kernel") and not any(Figure in one.type_printers for one in _formatters(shell)):
        shell.enable_matplotlib("inline")


def _formatters(shell: Any) -> Any:
    return shell.display_formatter.formatters.values()
