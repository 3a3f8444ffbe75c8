"""Corrections to the packages' Chinese texts: what a reader found (written/mended.toml), and three old spellings."""

import re
import tomllib
from collections import Counter
from pathlib import Path

SOURCE = Path(__file__).parent / "written" / "mended.toml"
_TABLE = tomllib.loads(SOURCE.read_text(encoding="utf-8"))
_USED: set[str] = set()
# Simplified Chinese writes 沉 着 余 只, but for surnames and for 著 in the sense of "to write" and "to be known".
_SPELLINGS = (
    (re.compile("沈(?![郎约宋侯腰家园谢同犹])"), "沉"),
    (re.compile("(?<![章名显昭])著(?![作书述录名句论])(?!花未)"), "着"),
    (re.compile("(?<!朱庆)馀"), "余"),
    (re.compile("祗(?![承奉役命])"), "只"),
)
_SEGMENT = re.compile("[^，。？！；：、“”‘’《》\n]+")
_ADDRESS = ("君不见", "君不闻")  # stands outside the metre


def corrected(text: str) -> str | None:
    """``text`` with every correction that it needs; None if it must be left out."""
    for phrase in filter(text.__contains__, _TABLE["drop"]):
        _USED.add(phrase)
        return None
    for wrong, right in _TABLE["wrong"].items():
        if wrong in text:
            _USED.add(wrong)
            text = text.replace(wrong, right)
    return text


def corrected_poem(text: str) -> str | None:
    """A poem ("title, dynasty·author, lines") corrected and spelt as today; None if it must be left out."""
    mended = corrected(text)
    if mended is None:
        return None
    title, author, verse = mended.split("\n", 2)
    for opening, (right_title, dynasty, name) in _TABLE["attributed"].items():
        if verse.startswith(opening):
            _USED.add(opening)
            title, author = right_title, f"{dynasty}·{name}"
    for pattern, spelling in _SPELLINGS:
        verse = pattern.sub(spelling, verse)
    return f"{title}\n{author}\n{verse}"


def loses_a_character(verse: str) -> bool:
    """Whether lines of five or seven characters stand beside one of an even number: a character was lost or added."""
    segments = _SEGMENT.findall(verse)
    lengths = Counter(map(len, segments))
    if lengths[5] + lengths[7] < 0.6 * len(segments):
        return False  # another metre, or free verse
    return any(len(segment) % 2 == 0 and not segment.startswith(_ADDRESS) for segment in segments)


def check_all_used() -> None:
    """Raise ValueError if a correction matched nothing, for then the package or the phrase has changed."""
    phrases = {*_TABLE["drop"], *_TABLE["wrong"], *_TABLE["attributed"]}
    if unused := sorted(phrases - _USED):
        raise ValueError(f"{SOURCE.name}: matches nothing in the packages: {', '.join(unused)}; correct or delete it")
