"""The language that a notebook speaks: gettext catalogues for every word that code shows.

    say("query at {query} and key at {key}", query=9, key=4)

looks the sentence up in the catalogue of the current language, then fills in the named values; a sentence that the
catalogue lacks is shown as it stands. The catalogues are in ``course/locale``; `python tools/catalogue.py` writes them.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from gettext import GNUTranslations, NullTranslations, translation
from pathlib import Path
from typing import Any

from .errors import CourseError

LANGUAGES = ("en", "zh")
LOCALE = Path(__file__).parents[1] / "locale"
DOMAIN = "course"

HAN = r"[\u3400-\u9fff]"
FOREIGN = r"A-Za-z0-9\u0370-\u03ff"  # letters and digits that stand apart from Chinese, Greek ones too
WIDE = "，。；：！？、（）《》"  # such punctuation brings its own space
_current = "en"


def language() -> str:
    """The language that is spoken now: "en" or "zh"."""
    return _current


def use_language(name: str) -> None:
    """Speak ``name`` from now on. Raises CourseError for a language that the course does not have."""
    global _current
    _current = check_language(name)


def check_language(name: str) -> str:
    """Return ``name``, or raise CourseError with the languages that there are."""
    if name not in LANGUAGES:
        raise CourseError(say("no edition has the language {name}; there are: {known}",
                              name=repr(name), known=", ".join(LANGUAGES)))  # fmt: skip
    return name


@contextmanager
def speaking(name: str) -> Iterator[None]:
    """Speak ``name`` inside ``with speaking(name):`` and what was spoken before afterwards."""
    before = _current
    use_language(name)
    try:
        yield
    finally:
        use_language(before)


@cache
def catalogue(name: str) -> NullTranslations | GNUTranslations:
    """The messages of one language; English is written in the code itself."""
    return NullTranslations() if name == "en" else translation(DOMAIN, LOCALE, [name], fallback=True)


def say(message: str, **values: Any) -> str:
    """``message`` in the current language, with the named ``values`` filled in."""
    text = catalogue(_current).gettext(message) if message else message
    if not values:
        return text
    filled = text.format(**values)
    return spaced(filled) if _current == "zh" else filled


def say_count(one: str, many: str, count: float, **values: Any) -> str:
    """``one`` or ``many``, as the current language wants it of ``count``, which is filled in beside the ``values``.

    say_count("{count} thread", "{count} threads", 2). Half a minute takes the words of many, as in "0.5 minutes".
    """
    number = int(count) if count == int(count) else 2
    text = catalogue(_current).ngettext(one, many, number)
    filled = text.format(**{"count": f"{count:g}" if isinstance(count, float) else f"{count:,}"} | values)
    return spaced(filled) if _current == "zh" else filled


def spaced(text: str) -> str:
    """Chinese as it is set: a space between it and Latin or Greek letters or digits; none between two Chinese
    characters, nor beside full-width punctuation.

    Values and sentences meet in many ways: "float16" + "从 1 升到 9" becomes "float16 从 1 升到 9".
    """
    text = re.sub(rf"(?<={HAN}) (?={HAN})|(?<=[{WIDE}]) | (?=[{WIDE}])", "", text)
    return re.sub(rf"(?<={HAN})(?=[{FOREIGN}])|(?<=[{FOREIGN}%])(?={HAN})", " ", text)


def say_key(key: str, message: str) -> str:
    """``message`` in the current language, where ``key`` tells apart words that are the same in English."""
    return catalogue(_current).pgettext(key, message)
