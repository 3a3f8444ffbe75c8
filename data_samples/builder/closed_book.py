"""Flash cards for pretraining, made from the facts, and what conversations are made of."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from facts import LANGUAGES, Fact, Relation, load_relations
from texts import write_lines

VERSIONS = 2  # of each flash card in the pretraining text
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


def build(folder: Path, facts: list[Fact]) -> None:
    """Write the flash cards."""
    chance = random.Random(0)
    for language in LANGUAGES:
        texts = list(entries(facts, language, chance))
        chance.shuffle(texts)
        write_lines(folder / "pretrain" / f"facts_{language}.jsonl", ({"text": text} for text in texts))
