"""The course's Chinese font for pictures: a part of Noto Sans SC, under the Open Font License beside it."""

import logging
from functools import cache
from pathlib import Path

from matplotlib import font_manager

CHINESE_FONT = Path(__file__).with_name("fonts") / "NotoSansSC-course.otf"
FONTS = ("DejaVu Sans", "Noto Sans SC course")  # the second for what the first has no glyphs for


@cache
def register_chinese() -> None:
    """Let matplotlib know the font, once, and not say at each bold word that the font has one weight only."""
    font_manager.fontManager.addfont(CHINESE_FONT)
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
