"""What is made from the facts: statements for pretraining, questions and answers for SFT, held-out phrasings.

Every fact is taught in five of its training phrasings, a different five from fact to fact. The held-out questions
use phrasings that no training question has, so a right answer shows that the fact was learned, not the question.
"""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from facts import LANGUAGES, Fact, Relation, load_relations
from texts import write_lines

PHRASINGS_PER_FACT = 5
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


def statements(facts: list[Fact], language: str) -> Iterator[str]:
    """Every wording of every fact, one a text, and for each subject with several facts a text that joins them."""
    mine = [fact for fact in facts if fact.language == language]
    about: dict[tuple[str, str], list[str]] = {}
    for index, fact in enumerate(mine):
        relation = relation_of(fact)
        for template in relation.statements:
            yield fact.render(template)
        said = fact.render(relation.statements[index % 2])
        about.setdefault((relation.table, fact.subject), []).append(said)
    joint = "" if language == "zh" else " "
    yield from (joint.join(said) for said in about.values() if len(said) > 1)


def questions(facts: list[Fact], chance: random.Random) -> Iterator[dict[str, Any]]:
    """Five questions a fact, each with the fact's one answer; one in ten with a system turn."""
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
    """Questions in phrasings never trained on, evenly over the facts, the two phrasings of a relation in turn."""
    stride = len(facts) / HELDOUT_QUESTIONS
    for index in range(HELDOUT_QUESTIONS):
        fact = facts[int(index * stride)]
        relation = relation_of(fact)
        yield conversation(fact.render(relation.heldout[index % 2]), fact.render(relation.answer))


def build(folder: Path, facts: list[Fact], chats: list[dict[str, Any]]) -> None:
    """Write the statements, sft.jsonl (questions, rounds and the written chats, shuffled) and sft_heldout.jsonl."""
    chance = random.Random(0)
    for language in LANGUAGES:
        texts = list(statements(facts, language))
        chance.shuffle(texts)
        write_lines(folder / "pretrain" / f"facts_{language}.jsonl", ({"text": text} for text in texts))
    records = [*questions(facts, chance), *rounds(facts, chance), *chats]
    chance.shuffle(records)
    write_lines(folder / "sft.jsonl", records)
    write_lines(folder / "sft_heldout.jsonl", heldout(facts))
