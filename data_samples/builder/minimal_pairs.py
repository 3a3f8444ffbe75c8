"""Minimal pairs: a good sentence and a bad one that differ in one point of grammar, in the format of BLiMP.

The templates stand in language/*.toml. Every choice of words goes through all of a kind's templates, so that a word
which is right in one pair is wrong in its neighbour: how frequent a word is does not decide. Source of the format:
Warstadt et al. 2020, arXiv 1912.00582.
"""

import itertools
import random
import re
import tomllib
from pathlib import Path
from typing import Any

from texts import write_lines

FOLDER = Path(__file__).parent / "language"
PAIRS = 25  # of each kind
_SLOT = re.compile(r"\{([a-zA-Z_]+)(\d?)\}")
_LAYOUT = ("field", "term", "pairs")


def filled(template: str, words: dict[str, str]) -> str:
    """The template with words in place of its slots: ``{past1}`` is the second form of "went home|gone home"."""
    text = _SLOT.sub(lambda slot: words[slot[1]].split("|")[int(slot[2] or 0)], template)
    return text[0].upper() + text[1:]


def choices(templates: list[list[str]], lists: dict[str, list[str]], chance: random.Random) -> list[dict[str, str]]:
    """All ways to choose words for the slots of a kind, no word twice in one choice, shuffled."""
    names = sorted({slot[0] for pair in templates for text in pair for slot in _SLOT.findall(text)})
    found = [words for words in itertools.product(*(lists[name] for name in names)) if len(set(words)) == len(words)]
    chance.shuffle(found)
    return [dict(zip(names, words, strict=True)) for words in found]


def pairs_of(name: str, kind: dict[str, Any], shared: dict[str, list[str]], language: str) -> list[dict[str, str]]:
    """The pairs of one kind, all different. Raises ValueError if its words do not suffice."""
    chance = random.Random(f"{language} {name}")
    lists = shared | {slot: words for slot, words in kind.items() if slot not in _LAYOUT}
    found: dict[tuple[str, str], None] = {}
    for words in choices(kind["pairs"], lists, chance):
        new = [(filled(good, words), filled(bad, words)) for good, bad in kind["pairs"]]
        if not any(pair in found for pair in new):
            found |= dict.fromkeys(new)
    if len(found) < PAIRS:
        raise ValueError(f"language/{language}.toml, kind {name!r}: only {len(found)} pairs; give its slots more words")
    return [
        {
            "sentence_good": good,
            "sentence_bad": bad,
            "field": kind["field"],
            "linguistics_term": kind["term"],
            "UID": name,
            "pairID": str(number),
            "language": language,
        }
        for number, (good, bad) in enumerate(list(found)[:PAIRS])
    ]


def build(folder: Path, _facts: object) -> None:
    """Write language/zh.jsonl and language/en.jsonl."""
    for language in ("zh", "en"):
        source = tomllib.loads((FOLDER / f"{language}.toml").read_text(encoding="utf-8"))
        kinds = source["kinds"].items()
        records = [pair for name, kind in kinds for pair in pairs_of(name, kind, source["words"], language)]
        write_lines(folder / "language" / f"{language}.jsonl", records)
