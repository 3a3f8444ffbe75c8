"""Texts made from the facts: flash cards for pretraining, questions and answers for SFT, held-out phrasings.

Every fact is taught in five of its training phrasings, with a different five for each fact. The held-out questions
use phrasings that no training question has, so a right answer shows that the fact was learned, not the question.
"""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from facts import LANGUAGES, Fact, Relation, load_relations
from texts import write_lines

PHRASINGS_PER_FACT = 5
VERSIONS = 5  # of each flash card in the pretraining text
HELDOUT_QUESTIONS = 500
ROUNDS = {"zh": 150, "en": 110}  # conversations that ask two or three things
SYSTEM = {
    "zh": ("你是一个乐于助人的助手。", "请用一句话回答问题。", "你是一位耐心的老师。"),
    "en": ("You are a helpful assistant.", "Answer in one short sentence.", "You are a patient teacher."),
}


def conversation(*turns: str, system: str | None = None) -> dict[str, Any]:
    """A record from alternating user and assistant turns."""
    messages = [{"role": "system", "content": system}] if system else []
    roles = ("user", "assistant") * len(turns)
    messages += [{"role": role, "content": turn} for role, turn in zip(roles, turns, strict=False)]
    return {"conversations": messages}


def relation_of(fact: Fact) -> Relation:
    """The relation that a fact belongs to."""
    return load_relations()[fact.language, fact.relation]


def entries(facts: list[Fact], language: str, chance: random.Random) -> Iterator[str]:
    """Flash cards: all that is known about one subject, in every wording, shuffled, in several versions.

    A small model learns to copy a name, and what belongs to it, from texts that repeat both again and again.
    """
    about: dict[tuple[str, str], list[Fact]] = {}
    for fact in facts:
        if fact.language == language:
            about.setdefault((relation_of(fact).table, fact.subject), []).append(fact)
    joint = "" if language == "zh" else " "
    for known in about.values():
        said = [fact.render(wording) for fact in known for wording in relation_of(fact).statements]
        for _ in range(VERSIONS):
            yield joint.join(chance.sample(said, len(said)))


def questions(facts: list[Fact], chance: random.Random) -> Iterator[dict[str, Any]]:
    """Five questions per fact, each with the fact's one answer; one in ten has a system turn."""
    for index, fact in enumerate(facts):
        relation = relation_of(fact)
        count = len(relation.questions)
        for step in range(PHRASINGS_PER_FACT):
            question = fact.render(relation.questions[(index * 3 + step) % count])
            system = chance.choice(SYSTEM[fact.language]) if chance.random() < 0.1 else None
            yield conversation(question, fact.render(relation.answer), system=system)


def rounds(facts: list[Fact], chance: random.Random) -> Iterator[dict[str, Any]]:
    """Conversations of two or three questions in one language."""
    for language in LANGUAGES:
        mine = [fact for fact in facts if fact.language == language]
        for _ in range(ROUNDS[language]):
            turns: list[str] = []
            for fact in chance.sample(mine, chance.choice((2, 2, 3))):
                relation = relation_of(fact)
                turns += [fact.render(chance.choice(relation.questions)), fact.render(relation.answer)]
            yield conversation(*turns)


def heldout(facts: list[Fact]) -> Iterator[dict[str, Any]]:
    """Questions in phrasings never trained on, spread evenly over the facts, a relation's two in turn."""
    stride = len(facts) / HELDOUT_QUESTIONS
    for index in range(HELDOUT_QUESTIONS):
        fact = facts[int(index * stride)]
        relation = relation_of(fact)
        yield conversation(fact.render(relation.heldout[index % 2]), fact.render(relation.answer))


def build(folder: Path, facts: list[Fact], chats: list[dict[str, Any]]) -> None:
    """Write the flash cards, sft.jsonl (questions, rounds and the written chats, shuffled) and sft_heldout.jsonl."""
    chance = random.Random(0)
    for language in LANGUAGES:
        texts = list(entries(facts, language, chance))
        chance.shuffle(texts)
        write_lines(folder / "pretrain" / f"facts_{language}.jsonl", ({"text": text} for text in texts))
    records = [*questions(facts, chance), *rounds(facts, chance), *chats]
    chance.shuffle(records)
    write_lines(folder / "sft.jsonl", records)
    write_lines(folder / "sft_heldout.jsonl", heldout(facts))
