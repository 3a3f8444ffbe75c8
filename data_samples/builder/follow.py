"""Dialogues whose second question stands on the first: "And its currency?", "And Japan?", "Shorter, please.", "Again."

The facts are those of the tables. Held out are entities: every HELD_OUT_EVERY-th row of a table is in no follow-up of
the training split, though its facts are taught elsewhere.
"""

import itertools
import random
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

from closed_book import conversation, relation_of
from facts import Fact, read_table, with_article
from recall import Record, bare, different, questions

HELD_OUT_EVERY = 4
FORMS = ("same", "other", "same", "other", "shorter", "same", "other", "again")


def is_held_out(fact: Fact) -> bool:
    """Whether a fact's row is kept for the held-out dialogues."""
    table = read_table(relation_of(fact).table)
    return table.index(dict(fact.columns)) % HELD_OUT_EVERY == 1


@dataclass(frozen=True)
class Follower:
    """Composes dialogues from the facts of one language and one split."""

    words: dict[str, Any]
    facts: dict[str, dict[str, Fact]]  # by relation and subject
    chance: random.Random

    def question(self, fact: Fact) -> str:
        """A first question in one of the trained wordings."""
        return fact.render(self.chance.choice(relation_of(fact).questions))

    def choose(self, name: str) -> Fact:
        """A random fact of a relation."""
        return self.chance.choice(list(self.facts[name].values()))

    def same(self) -> list[str]:
        """Two things about one entity."""
        pair = self.chance.choice(self.words["same"])
        second = self.facts[pair["second"]]
        first = self.chance.choice([fact for fact in self.facts[pair["first"]].values() if fact.subject in second])
        after = second[first.subject]
        return [self.question(first), answer(first), self.chance.choice(pair["ask"]), answer(after)]

    def other(self) -> list[str]:
        """One thing about two entities."""
        name = self.chance.choice([name for name, facts in self.facts.items() if len(facts) > 1])
        first, second = self.chance.sample(list(self.facts[name].values()), 2)
        shown = self.words["shown"].get(name, "{subject}")
        other = shown.format(subject=second.subject, a_subject=with_article(second.subject))
        ask = self.chance.choice(self.words["others"]).format(other=other)
        return [self.question(first), answer(first), ask, answer(second)]

    def shorter(self) -> list[str]:
        """An introduction of two sentences, then only the first of them."""
        known: dict[str, list[Fact]] = {}
        for names in self.words["introduced"]:
            for subject in self.facts[names[0]]:
                if all(subject in self.facts[name] for name in names):
                    known.setdefault(subject, [self.facts[name][subject] for name in names])
        both = known[self.chance.choice(list(known))]
        joint = " " if both[0].language == "en" else ""
        about = both[0].render(self.chance.choice(self.words["about"]))
        return [about, joint.join(map(answer, both)), self.chance.choice(self.words["shorter"]), answer(both[0])]

    def again(self) -> list[str]:
        """The same answer once more."""
        fact = self.choose(self.chance.choice(list(self.facts)))
        return [self.question(fact), answer(fact), self.chance.choice(self.words["again"]), answer(fact)]

    def records(self) -> Iterator[Record]:
        """Dialogues without end."""
        forms: dict[str, Callable[[], list[str]]] = {
            "same": self.same, "other": self.other, "shorter": self.shorter, "again": self.again,
        }  # fmt: skip
        for form in itertools.cycle(FORMS):
            yield conversation(*forms[form]()) | {"kind": form}


def answer(fact: Fact) -> str:
    """The fact's one answer."""
    return fact.render(relation_of(fact).answer)


def dialogues(
    words: dict[str, Any],
    facts: list[Fact],
    language: str,
    held_out: bool,
    count: int,
    taught: Collection[str] = (),
) -> list[Record]:
    """The dialogues of one language and one split; none that begins with a question that is ``taught`` elsewhere.

    taught: questions without punctuation, see ``bare``; one that holds the question inside a frame teaches it too.
    """
    mine: dict[str, dict[str, Fact]] = {}
    for fact in facts:
        if fact.language == language and is_held_out(fact) == held_out:
            mine.setdefault(fact.relation, {})[fact.subject] = fact
    follower = Follower(words, mine, random.Random(f"{language} follow {held_out}"))
    new = (one for one in follower.records() if not any(bare(questions(one)[0]) in said for said in taught))
    return different(new, count)
