"""System turns that change an answer so that one can see it: the other language, one word, a fixed ending, a persona.

The texts stand in talk/*.toml. Held out are texts, and pairs of an intent (or a place) with a system turn that no
training record has: ring "text" has a trained pair in new words under a new text, ring "pair" a new pair. Of an
untrained pair with a persona only the mark can be expected (its Meow), so the record names it.
"""

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from closed_book import conversation, relation_of
from facts import LANGUAGES, Fact
from talk import Intent, Record, clash, load_talk, plain, refuse
from texts import write_lines

OTHER = {"zh": "en", "en": "zh"}
WORDINGS = {"persona": 3, "language": 2, "ending": 2, "word": 2}  # of each trained pair
TRAINED_PAIRS = {"persona": 8, "language": 12, "ending": 12, "word": 8}  # asked again in the held-out file
ONE_WORD = ("country_capital", "country_continent")  # the facts that one word answers
HELD_OUT_FACT = 5  # every fifth is never asked for in one word


class Exchange(NamedTuple):
    """A question in several wordings, and what it is to be answered under the system turn."""

    intent: str
    train: tuple[str, ...]
    heldout: tuple[str, ...]
    answer: str


@dataclass(frozen=True)
class SystemTurn:
    """A system turn in all its wordings, with the exchanges that are trained under it and those that are not."""

    kind: str
    train: tuple[str, ...]
    heldout: tuple[str, ...]
    trained: tuple[Exchange, ...] = ()
    new: tuple[Exchange, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()  # further fields of its records

    @property
    def fields(self) -> Record:
        """The fields that say what a record tests."""
        return {"kind": self.kind, **dict(self.labels)}


def asked(intents: dict[str, Intent], answers: dict[str, str]) -> list[Exchange]:
    """The intents that have an answer in ``answers``, with it."""
    return [Exchange(name, intents[name].train, intents[name].heldout, answer) for name, answer in answers.items()]


def system_turn(kind: str, block: dict[str, Any], exchanges: list[Exchange], **labels: str) -> SystemTurn:
    """A block of the source file with its exchanges, the held-out ones apart."""
    kept = block.get("heldout_intents", ())
    trained = tuple(one for one in exchanges if one.intent not in kept)
    new = tuple(one for one in exchanges if one.intent in kept)
    return SystemTurn(kind, tuple(block["train"]), tuple(block["heldout"]), trained, new, tuple(labels.items()))


def one_word(facts: list[Fact], language: str, block: dict[str, Any]) -> SystemTurn:
    """Places asked for in one word. Every fifth fact is new; an answer of two words is left out."""
    known = [fact for fact in facts if fact.language == language and fact.relation in ONE_WORD]
    turn = system_turn("word", block, [])
    for number, fact in enumerate(fact for fact in known if " " not in fact.value):
        relation = relation_of(fact)
        wordings = [tuple(map(fact.render, templates)) for templates in (relation.questions, relation.heldout)]
        one = Exchange(fact.relation, *wordings, fact.value)
        is_new = number % HELD_OUT_FACT == HELD_OUT_FACT // 2
        turn = replace(turn, new=(*turn.new, one)) if is_new else replace(turn, trained=(*turn.trained, one))
    return turn


def system_turns(facts: list[Fact], language: str) -> list[SystemTurn]:
    """All system turns of one language."""
    intents, source = load_talk(language)
    system = source["system"]
    others = load_talk(OTHER[language])[0]
    foreign = {name: others[name].answer for name in intents if name != "joke_other"}  # another joke in each language
    joint = "" if language == "zh" else " "
    ended = {name: f"{intent.answer}{joint}{system['ending']['sentence']}" for name, intent in intents.items()}
    turns = [
        system_turn("language", system["language"], asked(intents, foreign)),
        one_word(facts, language, system["word"]),
        system_turn("ending", system["ending"], asked(intents, ended), sentence=system["ending"]["sentence"]),
    ]
    for name, block in source["personas"].items():
        exchanges = asked(intents, block["answers"])
        turns.append(system_turn("persona", block, exchanges, persona=name, mark=block["mark"]))
    return turns


def problems(turns: list[SystemTurn], language: str) -> Iterator[str]:
    """Held-out system texts that are too near to a training text, and answers of a persona without its mark."""
    trained = [text for turn in turns for text in turn.train]
    for turn in turns:
        for text in turn.heldout:
            for other in trained:
                if reason := clash(plain(text, language), plain(other, language), language):
                    yield f"held-out system text {text!r} and {other!r}: {reason}"
        mark = turn.fields.get("mark", "")
        yield from (f"{one.answer!r} lacks {mark!r}" for one in (*turn.trained, *turn.new) if mark not in one.answer)


def training(turn: SystemTurn, chance: random.Random) -> Iterator[Record]:
    """Conversations of one to three exchanges under one system text, each text as often as any other.

    A record's ``intent`` is that of its last exchange.
    """
    texts = itertools.cycle(chance.sample(turn.train, len(turn.train)))
    count = WORDINGS[turn.kind]
    pairs = [(one, text) for one in turn.trained for text in chance.sample(one.train, count)]
    chance.shuffle(pairs)
    while pairs:
        rounds = [pairs.pop() for _ in range(min(len(pairs), chance.choice((1, 2, 3))))]
        turns = [content for one, text in rounds for content in (text, one.answer)]
        yield conversation(*turns, system=next(texts)) | turn.fields | {"intent": rounds[-1][0].intent}


def heldout(turn: SystemTurn, chance: random.Random) -> Iterator[Record]:
    """One exchange a record: trained pairs under new texts, then new pairs."""
    again = chance.sample(turn.trained, TRAINED_PAIRS[turn.kind])
    for ring, exchanges, texts in (("text", again, turn.heldout), ("pair", turn.new, turn.train)):
        for one in exchanges:
            record = conversation(chance.choice(one.heldout), one.answer, system=chance.choice(texts))
            yield record | turn.fields | {"intent": one.intent, "ring": ring}


def build(folder: Path, facts: list[Fact]) -> None:
    """Write chat/system_LANGUAGE.jsonl and chat_heldout/system_LANGUAGE.jsonl."""
    for language in LANGUAGES:
        turns, chance = system_turns(facts, language), random.Random(f"system {language}")
        refuse(problems(turns, language), language)
        train = [record for turn in turns for record in training(turn, chance)]
        chance.shuffle(train)
        write_lines(folder / "chat" / f"system_{language}.jsonl", train)
        kept = [record for turn in turns for record in heldout(turn, chance)]
        write_lines(folder / "chat_heldout" / f"system_{language}.jsonl", kept)
