"""Fact questions: what is trained on in chat/, and what is held out in facts_rings/, nearer and farther from it.

Wordings stand in facts/rings_*.toml. Each relation has plain ones ("What is the capital of …?"), framed ones ("I forgot
what the capital of … is.") and indirect ones, in which a situation leads to the question, two values are to choose from
or the name is in the other language; a fact is asked in a few of each, and the next fact in the next few. Of the
questions asked backwards (from the value to the subject), every second subject of a relation has some in training and
the others have none. ``minimind data check`` holds the distances.
"""

import itertools
import random
import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from closed_book import SYSTEM, conversation, relation_of
from facts import FOLDER, LANGUAGES, Fact, load_relations, read_table
from texts import write_lines

PLAIN, FRAMED, INDIRECT = 3, 2, 2  # wordings in which each fact is asked
ALONE = 3  # of these, asked alone; the others are asked in conversations about two or three facts
CLAUSES = 2  # of a relation, in each frame
BACKWARDS, BACK_ALONE = 5, 2  # wordings of each subject that is asked backwards in training; of these, asked alone
SYSTEM_SHARE = 0.05  # of the training conversations
SIZES = {"near": 200, "far": 200, "known": 140, "backwards_trained": 110, "backwards": 110}  # in each language
OPENINGS = ("What", "Which", "Who", "Where", "How", "On", "In")  # of English questions that a frame can introduce
FOREIGN = {"zh": "{en}", "en": "{zh}"}  # the slot of a name in the other language
ENTITIES = (  # relations about countries, people and works: of such things others do not exist
    "country_capital", "country_continent", "country_currency", "province_capital", "province_short", "state_capital",
    "poet_dynasty", "poet_courtesy", "work_author", "discoverer",
)  # fmt: skip


@cache
def wordings(language: str) -> dict[str, dict[str, Any]]:
    """The wordings of facts/rings_LANGUAGE.toml by relation."""
    return tomllib.loads((FOLDER / f"rings_{language}.toml").read_text(encoding="utf-8"))


def wording_of(fact: Fact) -> dict[str, Any]:
    """The wordings of the fact's relation."""
    return wordings(fact.language)[fact.relation]


@cache
def plain(language: str, name: str) -> tuple[str, ...]:
    """The questions of a relation that stand alone, as templates, in a mixed order."""
    found = [*load_relations()[language, name].questions, *wordings(language)[name]["more"]]
    return tuple(random.Random(name).sample(found, len(found)))


@cache
def framed(language: str, name: str) -> tuple[str, ...]:
    """The questions of a relation inside the language's frames, as templates, in a mixed order."""
    frames, clauses = wordings(language)["frames"], wordings(language)[name]["clauses"]
    asked = [one for one in load_relations()[language, name].questions if one.split()[0] in OPENINGS]
    found = []
    for step in range(CLAUSES):
        for number, frame in enumerate(frames["clauses"]):
            found.append(frame.replace("{c}", clauses[(number + step) % len(clauses)]))
        for number, frame in enumerate(frames.get("questions", ())):
            question = asked[(number + step) % len(asked)]
            found.append(frame.replace("{q}", question[0].lower() + question[1:]).replace("{Q}", question))
    found = [one for one in dict.fromkeys(found) if one not in plain(language, name)]
    return tuple(random.Random(name).sample(found, len(found)))


@cache
def indirect(language: str, name: str) -> tuple[str, ...]:
    """The indirect questions of a relation that training has, as templates, in a mixed order."""
    found = wordings(language)[name]["indirect"]
    return tuple(random.Random(name).sample(found, len(found)))


def trained(language: str, name: str) -> tuple[str, ...]:
    """The plain and framed questions of a relation that may be trained on, as templates."""
    return plain(language, name) + framed(language, name)


def filled(fact: Fact, template: str, chance: random.Random) -> str:
    """The template with a wrong value for {other}, in either order, and with a foreign name that has no article."""
    if "{other}" in template:
        if chance.random() < 0.5:
            template = template.replace("{value}", "{-}").replace("{other}", "{value}").replace("{-}", "{other}")
        template = template.replace("{other}", chance.choice(fact.pool))
    if "{en}" in template:
        template = template.replace("{en}", dict(fact.columns)["en"].removeprefix("the "))
    return fact.render(template)


def asked_so(facts: list[Fact]) -> Iterator[tuple[Fact, list[str]]]:
    """Each fact with the templates in which it is asked: all of a relation as often as any other."""
    seen: Counter[str] = Counter()
    for fact in facts:
        place, key = seen[fact.relation], (fact.language, fact.relation)
        seen[fact.relation] += 1
        lists = ((plain(*key), PLAIN), (framed(*key), FRAMED), (indirect(*key), INDIRECT))
        yield fact, [some[(place * count + step) % len(some)] for some, count in lists for step in range(count)]


def training(facts: list[Fact], chance: random.Random) -> Iterator[dict[str, Any]]:
    """Each fact in several wordings: alone, a few of them after a system turn, and in rounds of two or three facts."""
    rounds: list[list[list[str]]] = [[] for _ in range(PLAIN + FRAMED + INDIRECT - ALONE)]
    for fact, templates in asked_so(facts):
        chance.shuffle(templates)
        for template in templates[:ALONE]:
            system = chance.choice(SYSTEM[fact.language]) if chance.random() < SYSTEM_SHARE else None
            yield conversation(*exchange(fact, filled(fact, template, chance)), system=system)
        for some, template in zip(rounds, templates[ALONE:], strict=True):
            some.append(exchange(fact, filled(fact, template, chance)))
    yield from conversations(rounds, chance)


def conversations(rounds: list[list[list[str]]], chance: random.Random) -> Iterator[dict[str, Any]]:
    """Two or three exchanges of the same round in a conversation, as chance has them."""
    for some in rounds:
        chance.shuffle(some)
        while some:
            together = [some.pop() for _ in range(min(len(some), chance.choice((2, 2, 3))))]
            yield conversation(*itertools.chain.from_iterable(together))


def exchange(fact: Fact, question: str) -> list[str]:
    """A question about the fact and its answer."""
    return [question, fact.render(relation_of(fact).answer)]


def reversible(facts: list[Fact]) -> list[Fact]:
    """The facts that can be asked backwards: one subject alone has the value."""
    counts = Counter((fact.language, fact.relation, fact.value) for fact in facts)
    once = [fact for fact in facts if counts[fact.language, fact.relation, fact.value] == 1]
    return [fact for fact in once if "back" in wording_of(fact)]


def backwards(facts: list[Fact], chance: random.Random) -> Iterator[dict[str, Any]]:
    """Training questions from the value to the subject: each fact in several wordings, some alone, some in rounds."""
    seen: Counter[str] = Counter()
    rounds: list[list[list[str]]] = [[] for _ in range(BACKWARDS - BACK_ALONE)]
    for fact in facts:
        templates, answer = wording_of(fact)["back"], fact.render(wording_of(fact)["back_answer"])
        first = seen[fact.relation] * BACKWARDS
        seen[fact.relation] += 1
        questions = [fact.render(templates[(first + step) % len(templates)]) for step in range(BACKWARDS)]
        chance.shuffle(questions)
        for question in questions[:BACK_ALONE]:
            yield conversation(question, answer)
        for some, question in zip(rounds, questions[BACK_ALONE:], strict=True):
            some.append([question, answer])
    yield from conversations(rounds, chance)


def row_of(fact: Fact) -> int:
    """Where the fact stands in its table: the same in both languages, so that none teaches what the other holds out."""
    return read_table(relation_of(fact).table).index(dict(fact.columns))


def names(value: str, facts: list[Fact]) -> bool:
    """Whether some value of the facts contains the value as a word, as 乌鲁木齐 contains 鲁."""
    word = re.compile(rf"(?<![A-Za-z0-9]){re.escape(value)}(?![A-Za-z0-9])", re.IGNORECASE)
    return any(word.search(fact.value) for fact in facts)


def item(fact: Fact, given: str, value: str, *turns: str, **more: str) -> dict[str, Any]:
    """A held-out record. given: what the question names; value: what a right answer has to name."""
    return conversation(*turns) | {"relation": fact.relation, "given": given, "value": value} | more


def spread(facts: list[Fact], count: int) -> list[Fact]:
    """``count`` of the facts (or all), evenly from first to last."""
    count = min(count, len(facts))
    return [facts[index * len(facts) // count] for index in range(count)]


def near(facts: list[Fact], size: int, turn: int) -> Iterator[dict[str, Any]]:
    """Other wordings of the same question; of each fact one, the one that ``turn`` (0 or 1) says."""
    for fact in spread(facts, size):
        first = len(fact.subject + fact.value) % 2  # the same for a fact in every ring
        question = fact.render(wording_of(fact)["near"][(first + turn) % 2])
        yield item(fact, fact.subject, fact.value, question, fact.render(relation_of(fact).answer))


def far(facts: list[Fact], size: int, chance: random.Random) -> Iterator[dict[str, Any]]:
    """Frames that training lacks, in turn: other plans, choices, names in the other language, follow-ups."""
    seen: Counter[str] = Counter()
    for fact in spread(facts, size):
        known = wording_of(fact)
        before = first_round(fact, facts, chance) if "follow" in known else []
        templates = [*known["far"][:1], *(known["follow"] if before else ()), *known["far"][1:]]
        template = templates[(seen[fact.relation] + len(fact.relation)) % len(templates)]  # not all from the first
        seen[fact.relation] += 1
        follows = template not in known["far"]
        foreign = FOREIGN[fact.language]
        frames = {"follow": follows, "choice": "{other}" in template, "foreign": foreign in template, "indirect": True}
        frame = next(name for name, fits in frames.items() if fits)
        given = dict(fact.columns)[foreign[1:-1]].removeprefix("the ") if frame == "foreign" else fact.subject
        question, answer = filled(fact, template, chance), fact.render(relation_of(fact).answer)
        yield item(fact, given, fact.value, *(before if follows else []), question, answer, frame=frame)


def first_round(fact: Fact, facts: list[Fact], chance: random.Random) -> list[str]:
    """A trained question about the same subject, and its answer."""
    others = [one for one in facts if one.subject == fact.subject and one.relation != fact.relation]
    if not others:
        return []
    other = chance.choice(others)
    return exchange(other, other.render(chance.choice(trained(other.language, other.relation))))


def asked_backwards(facts: list[Fact], size: int) -> Iterator[dict[str, Any]]:
    """Held-out wordings from the value to the subject."""
    for index, fact in enumerate(spread(facts, size)):
        question = fact.render(wording_of(fact)["back_new"][index % 2])
        yield item(fact, fact.value, fact.subject, question, fact.render(wording_of(fact)["back_answer"]))


def build(folder: Path, facts: list[Fact]) -> None:
    """Write chat/facts_*, chat/backwards_* and facts_rings/*."""
    back = reversible(facts)
    asked_back = [fact for fact in back if row_of(fact) % 2 == 0]
    for language in LANGUAGES:
        chance = random.Random(language)
        mine = [fact for fact in facts if fact.language == language]
        taught = [fact for fact in asked_back if fact.language == language]
        new = [fact for fact in back if fact in mine and fact not in taught and not names(fact.value, asked_back)]
        entities = [fact for fact in mine if fact.relation in ENTITIES]
        train = {
            "facts": list(training(mine, chance)),
            "backwards": list(backwards(taught, random.Random(f"{language} backwards"))),
        }
        for name, records in train.items():
            chance.shuffle(records)
            write_lines(folder / "chat" / f"{name}_{language}.jsonl", records)
        rings = {
            "near": near(mine, SIZES["near"], 0),
            "far": far(mine, SIZES["far"], chance),
            "known": near(entities, SIZES["known"], 1),
            "backwards_trained": asked_backwards(taught, SIZES["backwards_trained"]),
            "backwards": asked_backwards(new, SIZES["backwards"]),
        }
        for name, records_of in rings.items():
            write_lines(folder / "facts_rings" / name / f"{language}.jsonl", records_of)
