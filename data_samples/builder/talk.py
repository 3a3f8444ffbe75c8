"""Small talk: everyday intents, each with one answer and many wordings (talk/zh.toml, talk/en.toml).

An intent has the same name in both languages. A third of the training wordings are asked alone, the others in
conversations of two or three rounds. Held out are wordings in two rings: near ones say it in other everyday words, far
ones in a roundabout way. The builder refuses a held-out wording that is too near to a training wording of any intent,
and a wording that two intents have.
"""

import itertools
import random
import re
import tomllib
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from closed_book import conversation
from facts import LANGUAGES
from texts import write_lines

FOLDER = Path(__file__).parent / "talk"
TRAIN, HELD_OUT = 26, 6  # wordings of an intent, at least
ALONE = 3  # every third wording is asked alone
ROUNDS = (2, 2, 3)  # exchanges of a conversation, in turn
NEAREST = {"zh": 3, "en": 6}  # edits (characters) between a held-out wording and any training wording, at least
_WORD = re.compile(r"\w+")
Record = dict[str, Any]


@dataclass(frozen=True)
class Intent:
    """What somebody may want to say, in all its wordings, and the one answer to it."""

    name: str
    answer: str
    train: tuple[str, ...]
    heldout: tuple[str, ...]
    far: tuple[str, ...]  # held out too: said in an indirect way, with few of the words of the training wordings


def load_talk(language: str) -> tuple[dict[str, Intent], dict[str, Any]]:
    """The intents of one language, and the rest of its file: the system turns."""
    source = tomllib.loads((FOLDER / f"{language}.toml").read_text(encoding="utf-8"))
    intents = {}
    for name, block in source.pop("intents").items():
        wordings = (tuple(block[split].strip().splitlines()) for split in ("train", "heldout", "far"))
        intents[name] = Intent(name, block["answer"], *wordings)
    return intents, source


def plain(text: str, language: str) -> str:
    """A wording without case, punctuation and, in Chinese, spaces: what a comparison looks at."""
    words = _WORD.findall(unicodedata.normalize("NFKC", text).casefold().replace("'", "").replace("’", ""))
    return ("" if language == "zh" else " ").join(words)


def is_within(part: str, whole: str, language: str) -> bool:
    """Whether one plain wording holds the other; in English as whole words ("hi" is not in "what is this")."""
    return part in whole if language == "zh" else f" {part} " in f" {whole} "


@cache
def letters(text: str) -> Counter[str]:
    """How often a text has each letter."""
    return Counter(text)


def nearer_than(first: str, second: str, limit: int) -> bool:
    """Whether fewer than ``limit`` edits of one character turn one text into the other (Levenshtein 1966)."""
    if abs(len(first) - len(second)) >= limit or (letters(first) - letters(second)).total() >= limit:
        return False  # one edit takes one letter away at most
    row = list(range(len(second) + 1))
    for index, letter in enumerate(first, start=1):
        before, row[0] = row[0], index
        for column, other in enumerate(second, start=1):
            before, row[column] = row[column], min(row[column] + 1, row[column - 1] + 1, before + (letter != other))
        if min(row) >= limit:
            return False
    return row[-1] < limit


def clash(heldout: str, trained: str, language: str) -> str:
    """What makes a held-out wording no new one beside a training wording, both plain; "" if nothing does."""
    if is_within(heldout, trained, language) or is_within(trained, heldout, language):
        return "one contains the other"
    near = nearer_than(heldout, trained, NEAREST[language])
    return f"fewer than {NEAREST[language]} edits apart" if near else ""


def problems(intents: dict[str, Intent], language: str) -> Iterator[str]:
    """Every broken rule of the wordings, with the two that break it."""
    owner: dict[str, str] = {}
    for intent in intents.values():
        if len(intent.train) < TRAIN or len(intent.heldout) < HELD_OUT:
            counts = f"{len(intent.train)} training and {len(intent.heldout)} held-out wordings"
            yield f"{intent.name} has {counts}; it needs {TRAIN} and {HELD_OUT}"
        for wording in (*intent.train, *intent.heldout, *intent.far):
            said = plain(wording, language)
            if said in owner:
                yield f"{wording!r} is a wording of {owner[said]} and of {intent.name}"
            owner[said] = intent.name
    trained = [(one.name, text, plain(text, language)) for one in intents.values() for text in one.train]
    for intent in intents.values():
        for wording in (*intent.heldout, *intent.far):
            said = plain(wording, language)
            for name, text, other in trained:
                if reason := clash(said, other, language):
                    yield f"held-out {wording!r} ({intent.name}) and {text!r} ({name}): {reason}"


def refuse(found: Iterator[str], language: str) -> None:
    """Raise ValueError with the first broken rules, if there are any."""
    first = list(itertools.islice(found, 5))
    if first:
        raise ValueError(f"talk/{language}.toml: " + "; ".join(first))


def rounds(exchanges: list[tuple[Intent, str]], chance: random.Random) -> Iterator[Record]:
    """Conversations of two or three exchanges; a record's ``intent`` is that of its last one."""
    left = chance.sample(exchanges, len(exchanges))
    for count in itertools.cycle(ROUNDS):
        if not left:
            return
        together, left = left[:count], left[count:]
        turns = [content for intent, text in together for content in (text, intent.answer)]
        yield conversation(*turns) | {"intent": together[-1][0].name}


def build(folder: Path, _facts: object) -> None:
    """Write chat/talk_LANGUAGE.jsonl, chat/talk_rounds_LANGUAGE.jsonl and chat_heldout/talk_LANGUAGE.jsonl."""
    for language in LANGUAGES:
        intents, _ = load_talk(language)
        refuse(problems(intents, language), language)
        train, heldout, chance = list[Record](), list[Record](), random.Random(language)
        for intent in intents.values():
            train += [conversation(text, intent.answer) | {"intent": intent.name} for text in intent.train[::ALONE]]
            for ring, wordings in (("near", intent.heldout), ("far", intent.far)):
                keys = {"intent": intent.name, "ring": ring}
                heldout += [conversation(text, intent.answer) | keys for text in wordings]
        chance.shuffle(train)
        write_lines(folder / "chat" / f"talk_{language}.jsonl", train)
        others = [(one, text) for one in intents.values() for at, text in enumerate(one.train) if at % ALONE]
        write_lines(folder / "chat" / f"talk_rounds_{language}.jsonl", rounds(others, chance))
        write_lines(folder / "chat_heldout" / f"talk_{language}.jsonl", heldout)
