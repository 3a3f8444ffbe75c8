"""Questions about countries, towns, people, works and elements that do not exist; the right answer is not to know them.

The questions are those of the facts. A question that the facts do not ask ("Which country is … in?") comes with
existing things too, or its wording alone would give the answer away. Answers never repeat the name: a model that
repeats it wrongly would have invented a second thing. Training and held-out names are of different kinds of spelling.
"""

import itertools
import random
from typing import Any

from closed_book import conversation
from facts import Fact, load_relations, read_table
from recall import Record
from rings import trained


def names(kinds: list[list[Any]]) -> list[str]:
    """All names of a thing: a kind is a list of names, or lists of parts of which every combination is a name."""
    found: list[str] = []
    for kind in kinds:
        found += ["".join(parts) for parts in itertools.product(*kind)] if isinstance(kind[0], list) else kind
    return found


def spread(kinds: list[list[Any]], chance: random.Random) -> list[str]:
    """All names in an order that takes the kinds of spelling in turn."""
    shuffled = [chance.sample(mine, len(mine)) for mine in (names([kind]) for kind in kinds)]
    turns = itertools.zip_longest(*shuffled)
    return [name for turn in turns for name in turn if name is not None]


def real_names(facts: list[Fact]) -> set[str]:
    """Everything that the tables name."""
    return {cell for fact in facts for _, cell in fact.columns if cell}


def wordings(thing: dict[str, Any], language: str, held_out: bool) -> list[str]:
    """The questions about a thing. Held out: one of the facts' trained wordings, then their held-out ones."""
    if "questions" in thing:
        return thing["heldout_questions"] + thing["questions"][:1] if held_out else thing["questions"]
    found: list[str] = []
    for name in thing["relations"]:
        relation = load_relations()[language, name]
        found += [relation.questions[0], *relation.heldout] if held_out else trained(language, name)
    return found


def ask(thing: dict[str, Any], language: str, wording: str, subject: str) -> str:
    """A question about a name; the columns of a table that the wording needs stand in the thing's block."""
    columns = tuple(thing.get("columns", {}).items())
    return Fact(language, "", subject, "nothing", (), columns).render(wording)


def questions(thing: dict[str, Any], language: str, held_out: bool, count: int, answer: str) -> list[Record]:
    """``count`` questions about names of one thing; a name comes twice only when all have come once."""
    chance = random.Random(f"{language} unknown {thing['train'][0]} {thing.get('relations')} {held_out}")
    asked = wordings(thing, language, held_out)
    pairs = zip(itertools.cycle(spread(thing["heldout" if held_out else "train"], chance)), chance_cycle(asked, chance))
    found = dict.fromkeys(itertools.islice(pairs, 4 * count))
    if len(found) < count:
        which = f"dialogues/{language}.toml, the {thing['answer']} with {asked[0]!r}"
        raise ValueError(f"{which}: only {len(found)} questions, not {count}; give it more names")
    chosen = [ask(thing, language, wording, name) for name, wording in list(found)[:count]]
    return [conversation(question, answer) | {"kind": "unknown"} for question in chosen]


def chance_cycle(items: list[str], chance: random.Random) -> itertools.chain[str]:
    """The items again and again, each round in another order."""
    return itertools.chain.from_iterable(chance.sample(items, len(items)) for _ in itertools.count())


def known(thing: dict[str, Any], language: str, count: int) -> list[Record]:
    """Questions of the same wordings about what exists, with their answers."""
    source = thing["known"]
    rows = [row for row in read_table(source["table"]) if row[source["subject"]] and row[source["value"]]]
    chance = random.Random(f"{language} known {source}")
    records = []
    for row, wording in zip(chance.sample(rows, min(count, len(rows))), itertools.cycle(thing["questions"])):
        subject, value = row[source["subject"]], row[source["value"]]
        answer = source["answer"].format(subject=subject, value=value)
        records.append(conversation(wording.format(subject=subject), answer) | {"kind": "known"})
    return records


def check_names(things: list[dict[str, Any]], facts: list[Fact], language: str) -> None:
    """Raise ValueError for an invented name that exists, or that stands in both splits."""
    real = real_names(facts)
    for thing in things:
        train, held_out = set(names(thing["train"])), set(names(thing["heldout"]))
        for wrong, why in (((train | held_out) & real, "is real"), (train & held_out, "is in both splits")):
            if wrong:
                raise ValueError(f"dialogues/{language}.toml: the invented name {min(wrong)!r} {why}; choose another")


def dialogues(words: dict[str, Any], facts: list[Fact], language: str, held_out: bool, count: int) -> list[Record]:
    """``count`` questions about invented names, and in training those about known ones that balance their wordings."""
    things = words["things"]
    check_names(things, facts, language)
    records: list[Record] = []
    for index, thing in enumerate(things):
        mine = count * (index + 1) // len(things) - count * index // len(things)
        records += questions(thing, language, held_out, mine, words["answers"][thing["answer"]])
        if "known" in thing and not held_out:
            records += known(thing, language, mine)
    return records
