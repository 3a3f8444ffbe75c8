"""The course's Chinese font for pictures: a part of Noto Sans SC, under the Open Font License beside it."""

from functools import cache
from pathlib import Path

from matplotlib import font_manager

CHINESE_FONT = Path(__file__).with_name("fonts") / "NotoSansSC-course.otf"
FONTS = ("DejaVu Sans", "Noto Sans SC course")  # the second for what the first has no glyphs for


@cache
def register_chinese() -> None:
    """Let matplotlib know the font, once."""
    font_manager.fontManager.addfont(CHINESE_FONT)
