"""Memory across turns, and knowing what one does not know, measured on the answers' text alone.

A value counts as recalled if the answer names it and no other value of its list: "blue or red" recalls nothing. A
refusal counts only if it is nothing but refusals: an answer that repeats an invented name, rightly or not, is wrong.
The lists, the frames of the answers and the refusals stand in ``data_samples/chat/words.json`` (see ``read_words``).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from minimind_lite.files import read_json

UNTOLD, UNKNOWN = "untold", "unknown"  # the kinds whose right answer is a refusal
_SENTENCE = re.compile(r"[^。！？.!?]+[。！？.!?]*")
_LETTER = r"[^\W_]"


@dataclass(frozen=True)
class ValueKind:
    """What can be told: its values, the frame of the answer ("You live in {v}.") and whether other values may come."""

    values: tuple[str, ...]
    answer: str
    is_open: bool


@dataclass(frozen=True)
class RecallWords:
    """One language's values by kind, and its refusals: for what was not told, and for what does not exist."""

    kinds: Mapping[str, ValueKind]
    untold: tuple[str, ...]
    unknown: tuple[str, ...]


def read_words(path: str | Path, language: str) -> RecallWords:
    """Read one language of ``words.json``; a file that is not one raises ValueError, with file and field."""
    content = read_json(Path(path))
    try:
        found = content[language]
        kinds = {
            name: ValueKind(tuple(kind["values"]), kind["answer"], bool(kind["open"]))
            for name, kind in found["kinds"].items()
        }
        return RecallWords(kinds, (found["untold"],), tuple(found["unknown"]))
    except (KeyError, TypeError, AttributeError) as error:
        said = f"{path}: no dialogue words for {language!r} ({error}); rebuild them: minimind data build"
        raise ValueError(said) from None


def named_values(answer: str, values: Iterable[str]) -> set[str]:
    """The values that an answer names, as whole words, ignoring case; inside a longer value a shorter is not named."""
    longest = sorted({*values}, key=len, reverse=True)
    found = re.findall("|".join(map(_pattern, longest)), answer, flags=re.IGNORECASE) if longest else []
    said = {text.casefold() for text in found}
    return {value for value in longest if value.casefold() in said}


def _pattern(value: str) -> str:
    """A value; a Latin word or a number stands alone, a Chinese word need not."""
    before = r"(?<![0-9A-Za-z])" if value[:1].isascii() else ""
    after = r"(?![0-9A-Za-z])" if value[-1:].isascii() else ""
    return before + re.escape(value) + after


def recalls(answer: str, value: str, kind: ValueKind) -> bool:
    """Whether the answer names ``value`` and no other value of its kind.

    An open value must stand alone or in the answer's frame too: to write 陈小禾苗 is not to know 陈小禾.
    """
    if named_values(answer, {*kind.values, value}) != {value}:
        return False
    if not kind.is_open:
        return True
    before, _, after = (re.escape(part) for part in kind.answer.partition("{v}"))
    left = rf"(?:(?<!{_LETTER})|(?<={before}))" if before else rf"(?<!{_LETTER})"
    right = rf"(?:(?!{_LETTER})|(?={after}))" if after else rf"(?!{_LETTER})"
    return re.search(left + re.escape(value) + right, answer, flags=re.IGNORECASE) is not None


def refuses(answer: str, refusals: Iterable[str]) -> bool:
    """Whether the answer consists of refusals and nothing else, ignoring case and punctuation."""
    wanted = {_bare(refusal) for refusal in refusals}
    said = [bare for sentence in _SENTENCE.findall(answer) if (bare := _bare(sentence))]
    return bool(said) and wanted.issuperset(said)


def _bare(sentence: str) -> str:
    return re.sub(r"[\W_]+", " ", sentence).strip().casefold()


def is_right(answer: str, kind: str, value: str, words: RecallWords) -> bool:
    """Whether an answer is right for one item: a refusal for UNTOLD and UNKNOWN, else the value.

    Raises ValueError for a kind that the words do not have.
    """
    if kind == UNTOLD:
        return refuses(answer, words.untold)
    if kind == UNKNOWN:
        return refuses(answer, words.unknown)
    if kind not in words.kinds:
        raise ValueError(f"unknown kind {kind!r}; the kinds are: {', '.join((*words.kinds, UNTOLD, UNKNOWN))}")
    return recalls(answer, value, words.kinds[kind])
