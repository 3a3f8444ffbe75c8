"""The course's Chinese font for pictures: a part of Noto Sans SC, under the Open Font License beside it."""

import re
from dataclasses import replace
from functools import cache
from pathlib import Path

from matplotlib import font_manager

CHINESE_FONT = Path(__file__).with_name("fonts") / "NotoSansSC-course.otf"
CHINESE = re.compile(r"[\u3000-\u9fff\uff00-\uffef]")  # characters and full-width punctuation
FONTS = ("DejaVu Sans", "Noto Sans SC course")  # the second for what the first has no glyphs for


@cache
def register_chinese() -> None:
    """Let matplotlib know the font, once; it has one weight, which stands for the bold one as well."""
    known = font_manager.fontManager
    known.addfont(CHINESE_FONT)
    known.ttflist.append(replace(known.ttflist[-1], weight=700))
