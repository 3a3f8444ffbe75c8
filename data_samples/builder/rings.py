"""Fact questions: what is trained on in chat/, and what is held out in facts_rings/, nearer and farther from it.

Wordings stand in facts/rings_*.toml. Of the questions asked backwards (from the value to the subject), every second
subject of a relation has some in training and the others have none. ``minimind data check`` holds the distances.
"""

import random
import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from closed_book import SYSTEM, conversation, relation_of
from facts import FOLDER, LANGUAGES, Fact, read_table
from texts import write_lines

WORDINGS = 2  # of each fact, asked alone; one more is asked in a conversation about two or three facts
BACKWARDS = 2  # wordings, of each subject that is asked backwards in training
SYSTEM_SHARE = 0.05  # of the training conversations
SIZES = {"near": 105, "far": 105, "known": 100, "backwards_trained": 108, "backwards": 108}  # in each language
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


def trained(fact: Fact) -> tuple[str, ...]:
    """All questions that may be trained on, as templates."""
    return (*relation_of(fact).questions, *wording_of(fact)["more"])


def filled(fact: Fact, template: str, chance: random.Random) -> str:
    """The template with a wrong value for {other}, in either order, and with a foreign name that has no article."""
    if "{other}" in template:
        if chance.random() < 0.5:
            template = template.replace("{value}", "{-}").replace("{other}", "{value}").replace("{-}", "{other}")
        template = template.replace("{other}", chance.choice(fact.pool))
    if "{en}" in template:
        template = template.replace("{en}", dict(fact.columns)["en"].removeprefix("the "))
    return fact.render(template)


def training(facts: list[Fact], chance: random.Random) -> Iterator[dict[str, Any]]:
    """Each fact in several wordings: alone, a few of them after a system turn, and in rounds of two or three facts."""
    asked = list(enumerate(facts))
    for index, fact in asked:
        for step in range(WORDINGS):
            system = chance.choice(SYSTEM[fact.language]) if chance.random() < SYSTEM_SHARE else None
            yield conversation(*exchange(fact, index * 5 + step * 3), system=system)
    chance.shuffle(asked)
    while asked:
        count = chance.choice((2, 2, 3))
        together, asked = asked[:count], asked[count:]
        yield conversation(*(turn for index, fact in together for turn in exchange(fact, index * 5 + WORDINGS * 3)))


def exchange(fact: Fact, place: int) -> list[str]:
    """The trained question at ``place`` in the list of them, counted round and round, and its answer."""
    templates = trained(fact)
    return [fact.render(templates[place % len(templates)]), fact.render(relation_of(fact).answer)]


def reversible(facts: list[Fact]) -> list[Fact]:
    """The facts that can be asked backwards: one subject alone has the value."""
    counts = Counter((fact.language, fact.relation, fact.value) for fact in facts)
    once = [fact for fact in facts if counts[fact.language, fact.relation, fact.value] == 1]
    return [fact for fact in once if "back" in wording_of(fact)]


def backwards(facts: list[Fact]) -> Iterator[dict[str, Any]]:
    """Training questions from the value to the subject."""
    for index, fact in enumerate(facts):
        templates = wording_of(fact)["back"]
        for step in range(BACKWARDS):
            question = fact.render(templates[(index + step) % len(templates)])
            yield conversation(question, fact.render(wording_of(fact)["back_answer"]))


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
    """Frames that training lacks, in turn: plans, choices, names in the other language, follow-ups."""
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
    return exchange(chance.choice(others), chance.randrange(99)) if others else []


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
        train = {"facts": list(training(mine, chance)), "backwards": list(backwards(taught))}
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
            write_lines(folder / "facts_rings" / f"{name}_{language}.jsonl", records_of)
