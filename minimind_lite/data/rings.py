"""Rings of held-out fact questions: how far each must be from every question that is trained on.

The folder ``facts_rings`` holds ``RING/LANGUAGE.jsonl`` and is held out from ``chat/``, as far as that asks for facts:
forwards, backwards, in follow-ups, and about things that do not exist. A near copy of a question as short as
"法国的首都？" has no long run in common with it, so ``compare`` of check.py cannot see it; here characters are counted.
Only the last user turn of a ring's record is the question: a follow-up repeats a trained one on purpose. Its field
``given`` says which name the question contains.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from minimind_lite.data.records import DataError, Kind, read_records
from minimind_lite.files import parse_json

RINGS = "facts_rings"
TRAINING = ("chat/facts_*.jsonl", "chat/backwards_*.jsonl", "chat/follow_*.jsonl", "chat/unknown_*.jsonl")
BACKWARDS = "chat/backwards_*.jsonl"
RUN_LENGTH = 8  # tokens in a row
_TOKEN = re.compile(r"[\u4e00-\u9fff+*/×÷=<>−-]|[^\W\u4e00-\u9fff]+")  # 3+4 and 3-4 are not the same question
_CONVERSATION: Kind = "conversation"


@dataclass(frozen=True)
class Rule:
    """What a ring must keep from the questions of training."""

    chinese: int  # least edit distance, in characters
    english: int
    runs: bool = False  # whether no RUN_LENGTH tokens in a row may be shared, beyond the given name
    unseen: bool = False  # whether no backward question of training may contain the given name


RULES = {
    "near": Rule(3, 8),
    "known": Rule(3, 8),
    "far": Rule(6, 20, runs=True),
    "backwards_trained": Rule(5, 16),
    "backwards": Rule(5, 16, unseen=True),
}


@dataclass(frozen=True)
class Asked:
    """A question as it is compared: its tokens, their text, and which pairs of characters are in it, as bits."""

    question: str
    given: str
    tokens: tuple[str, ...]
    chinese: bool  # by most of its tokens
    text: str
    pairs: int

    @cached_property
    def places(self) -> dict[str, int]:
        """Where each character of the text stands, as bits."""
        return _places(self.text)


def tokens_of(text: str) -> list[str]:
    """Latin words, numbers, arithmetic signs and single Chinese characters; case, width and punctuation are ignored."""
    return _TOKEN.findall(unicodedata.normalize("NFKC", text).casefold())


def edit_distance(first: Sequence[str], second: Sequence[str]) -> int:
    """How many characters (or tokens, in lists of them) must be inserted, deleted or replaced.

    >>> edit_distance("kitten", "sitting")
    3
    """
    return _distance(_places(first), len(first), second, len(first) + len(second))


def _places(text: Sequence[str]) -> dict[str, int]:
    """Where each character stands, as bits."""
    places: dict[str, int] = {}
    for place, character in enumerate(text):
        places[character] = places.get(character, 0) | 1 << place
    return places


def _distance(places: dict[str, int], length: int, second: Sequence[str], enough: int) -> int:
    """The edit distance between the text of ``places``, ``length`` long, and another; some number above ``enough`` if
    it is larger than that, which is mostly seen after a few characters.

    Source: Myers 1999, in the bits of Hyyrö 2001.
    """
    if not length:
        return len(second)
    everything, last = (1 << length) - 1, 1 << length - 1
    more, less, distance = everything, 0, length  # where a column of the table rises, and where it falls
    most = enough + len(second)  # each character that is left can take away one
    for character in second:
        equal = places.get(character, 0)
        zero = (((equal & more) + more) ^ more) | equal | less
        rises, falls = less | ~(zero | more), zero & more
        distance += bool(rises & last) - bool(falls & last)
        most -= 1
        if distance > most:
            return enough + 1
        rises, falls = rises << 1 | 1, falls << 1
        more, less = (falls | ~(zero | rises)) & everything, rises & zero & everything
    return distance


def check_rings(folder: Path) -> list[str]:
    """What is wrong with the rings under ``folder``; nothing where there are none.

    Lines that are no records are left out: ``check_folder`` names them.
    """
    files = sorted((folder / RINGS).rglob("*.jsonl"))
    if not files:
        return []
    bits: dict[str, int] = {}
    trained = list(_training(folder, TRAINING, bits))
    backwards = " \n ".join(("", *(" ".join(asked.tokens) for asked in _training(folder, (BACKWARDS,), bits)), ""))
    runs = {run for asked in trained for run in _runs(asked.tokens)}
    problems = []
    for file in files:
        ring, language = file.parent.name, file.stem
        if ring not in RULES or language not in ("zh", "en"):
            problems.append(f"{file}: no such ring; it must be RING/zh.jsonl or RING/en.jsonl, of {', '.join(RULES)}")
            continue
        found = [why for asked in _ring(file, bits) if (why := _wrong(asked, ring, language, trained, backwards, runs))]
        if found:
            problems.append(f"{file}: {len(found)} questions are not held out; reword them. The first: {found[0]}")
    return problems


def _wrong(
    asked: Asked, ring: str, language: str, trained: list[Asked], backwards: str, runs: set[tuple[str, ...]]
) -> str:
    """Why a question is not held out; "" if nothing is wrong."""
    rule = RULES[ring]
    least = rule.chinese if language == "zh" else rule.english
    for known in (known for known in trained if known.chinese == asked.chinese):
        if f" {known.text} " in f" {asked.text} " if language == "en" else known.text in asked.text:
            return f"{asked.question!r} contains the training question {known.question!r}"
        if asked.text in known.text:
            return f"{asked.question!r} is contained in the training question {known.question!r}"
        if _nearer(asked, known, least):
            return f"{asked.question!r} is fewer than {least} edits from the training question {known.question!r}"
    name = f" {' '.join(tokens_of(asked.given))} "
    unnamed = tuple(f" {' '.join(asked.tokens)} ".replace(name, " … ").split())
    shared = [run for run in _runs(unnamed) if run in runs]
    if rule.runs and shared:
        return f"{asked.question!r} shares the run {' '.join(shared[0])!r} with training"
    if rule.unseen and name in backwards:
        return f"{asked.question!r}: {asked.given!r} is in the backward questions of training"
    return ""


def _nearer(first: Asked, second: Asked, least: int) -> bool:
    """Whether fewer than ``least`` edits lead from one to the other; cheap bounds first. An edit changes two pairs."""
    if abs(len(first.text) - len(second.text)) >= least:
        return False
    if (first.pairs & ~second.pairs).bit_count() > 2 * (least - 1):
        return False
    if (second.pairs & ~first.pairs).bit_count() > 2 * (least - 1):
        return False
    return _distance(first.places, len(first.text), second.text, least - 1) < least


def _runs(words: tuple[str, ...]) -> list[tuple[str, ...]]:
    return [words[start : start + RUN_LENGTH] for start in range(len(words) - RUN_LENGTH + 1)]


def _asked(question: str, given: str, bits: dict[str, int]) -> Asked:
    words = tokens_of(question)
    chinese = sum("\u4e00" <= word <= "\u9fff" for word in words) * 2 > len(words)
    text = ("" if chinese else " ").join(words)
    pairs = 0
    for pair in {text[start : start + 2] for start in range(len(text) - 1)}:
        pairs |= 1 << bits.setdefault(pair, len(bits))
    return Asked(question, given, tuple(words), chinese, text, pairs)


def _training(folder: Path, patterns: Iterable[str], bits: dict[str, int]) -> Iterator[Asked]:
    """Every different question of training: all that users say."""
    seen: dict[str, None] = {}
    for file in (file for pattern in patterns for file in sorted(folder.glob(pattern))):
        try:
            for record in read_records(file, _CONVERSATION, max_bad_share=1):
                turns: list[dict[str, Any]] = record.messages
                seen |= dict.fromkeys(turn["content"] for turn in turns if turn["role"] == "user")
        except DataError:
            continue  # a file that cannot be read at all; check_folder says so
    yield from (_asked(question, "", bits) for question in seen)


def _ring(file: Path, bits: dict[str, int]) -> Iterator[Asked]:
    """The questions of a ring's records: the last user turn of each."""
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        record = parse_json(line, f"{file}, line {number}")
        turns = record.get("conversations") if isinstance(record, dict) else None
        if turns:
            asked = [turn["content"] for turn in turns if turn.get("role") == "user"]
            yield _asked(asked[-1], str(record.get("given", "")), bits)
