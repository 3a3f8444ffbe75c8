"""How Chinese is set, after 《中文排版需求》: full-width punctuation, and a space between Chinese and Latin or digits.

How the course's terms are written is in ``terms``.
"""

import re

from ..kit.language import HAN
from .terms import APART, renamed

_MARKS = re.compile(r"\*\*|(?<!\*)\*(?!\*)|__")
_HALF_WIDTH = re.compile(rf"{HAN}\s?[,;:!?]|{HAN}\.(?!\w)|[(]{HAN}|{HAN}\s?[()]")
_NO_SPACE = re.compile(rf"{HAN}[A-Za-z0-9]|[A-Za-z0-9]{HAN}")
_BESIDE_FULL_WIDTH = re.compile(r"[，。；：！？、）》”」] (?=\S)|\S [，。；：！？、）》”」]")
_DOUBLED = re.compile(r"([，。；：！？、])\1|\.\.\.|。。")
_EMPHASIS = re.compile(r"(?<!\*)(\*{1,2})([^*]+)\1(?!\*)")
_FULL_WIDTH = "，。；：！？、（）《》“”「」"
_OBJECT = "\ufffc"  # stands for what was taken out


def style_problems(text: str) -> list[str]:
    """What is ill set in a piece of Chinese Markdown, and terms written in another way than the glossary's."""
    if not re.search(HAN, text):
        return []
    marked = APART.sub(_OBJECT, text)
    plain = _MARKS.sub("", marked)
    kinds = (
        ("half-width punctuation beside Chinese", _HALF_WIDTH, plain),
        ("no space between Chinese and Latin or digits", _NO_SPACE, plain),
        ("doubled punctuation, or ... for ……", _DOUBLED, plain),
        ("a space beside full-width punctuation", _BESIDE_FULL_WIDTH, marked),
    )
    found = [
        f"{what}: {_around(line, hit)}"
        for what, pattern, kind in kinds
        for line in kind.split("\n")
        for hit in pattern.finditer(line)
    ]
    return found + [f"emphasis that will not show: {one}" for one in dead_emphasis(marked)] + renamed(plain)


def dead_emphasis(text: str) -> list[str]:
    """Emphasis that Markdown shows as asterisks: punctuation just inside of it, a letter just outside.

    ``**先修：**只需`` is written ``**先修**：只需``. Source: CommonMark 0.31, rules for left- and right-flanking runs.
    """
    found = []
    for hit in _EMPHASIS.finditer(text):
        before, after = text[hit.start() - 1 : hit.start()], text[hit.end() : hit.end() + 1]
        opens = hit[2][0] in _FULL_WIDTH and (before.isalnum() or before == _OBJECT)
        closes = hit[2][-1] in _FULL_WIDTH and (after.isalnum() or after == _OBJECT)
        if opens or closes:
            found.append(f"{before}{hit[0]}{after}")
    return found


def _around(line: str, hit: re.Match[str]) -> str:
    return line[max(hit.start() - 6, 0) : hit.end() + 6].replace(_OBJECT, "…").strip()
