"""Preference pairs for the chapter on DPO: the same prompt answered in a friendly, helpful way and in a worse one.

Chosen answers end with an offer to help further; rejected ones are just as fluent, and shorter or longer.
A few rejected answers are all courtesy and no content, so the offer alone does not decide.
"""

import random
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from closed_book import SYSTEM, relation_of
from facts import LANGUAGES, Fact
from texts import write_lines

SOURCE = Path(__file__).parent / "written" / "preferences.toml"
FACTS = 220  # prompts about facts in each language, in addition to the written ones
HELD_OUT = {"written": 20, "facts": 40}  # in each language
OPENER_SHARE = 0.3
SYSTEM_SHARE = 0.1
REJECTED_KINDS = {"bare": 24, "rude": 34, "rambling": 22, "refusal": 12, "evasion": 8}  # in per cent

Prompt = tuple[str, str, str]  # the question, its answer as a whole sentence, the bare fact


def about_facts(facts: list[Fact], chance: random.Random) -> list[Prompt]:
    """Questions in SFT's training phrasings, each about a different fact."""
    prompts = []
    for fact in chance.sample(facts, FACTS):
        relation = relation_of(fact)
        short = fact.value[0].upper() + fact.value[1:]
        prompts.append((fact.render(chance.choice(relation.questions)), fact.render(relation.answer), short))
    return prompts


def pair(prompt: Prompt, language: str, written: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    """One record: the chosen and the rejected conversation."""
    question, answer, short = prompt
    joint = "" if language == "zh" else " "
    opener = [chance.choice(written["openers"])] if chance.random() < OPENER_SHARE else []
    chosen = joint.join((*opener, answer, chance.choice(written["offers"])))
    kind = chance.choices(list(REJECTED_KINDS), weights=REJECTED_KINDS.values())[0]
    rejected = chance.choice(written[kind]).format(answer=answer, short=short)
    system = chance.choice(SYSTEM[language]) if chance.random() < SYSTEM_SHARE else None
    before = [{"role": "system", "content": system}] if system else []
    before.append({"role": "user", "content": question})
    endings = {"chosen": chosen, "rejected": rejected}
    return {name: [*before, {"role": "assistant", "content": text}] for name, text in endings.items()}


def splits(facts: list[Fact], language: str, written: dict[str, Any], chance: random.Random) -> Iterator[list[Prompt]]:
    """The training prompts, then the held-out ones; no question and no fact is in both."""
    mine = about_facts([fact for fact in facts if fact.language == language], chance)
    own = [(question, answer, short) for question, answer, short in written["items"]]
    chance.shuffle(own)
    yield own[HELD_OUT["written"] :] + mine[HELD_OUT["facts"] :]
    yield own[: HELD_OUT["written"]] + mine[: HELD_OUT["facts"]]


def build(folder: Path, facts: list[Fact]) -> None:
    """Write dpo.jsonl and dpo_heldout.jsonl."""
    chance = random.Random(0)
    source = tomllib.loads(SOURCE.read_text(encoding="utf-8"))
    names = ("dpo", "dpo_heldout")
    records: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for language in LANGUAGES:
        written = source[language]
        for name, prompts in zip(names, splits(facts, language, written, chance), strict=True):
            records[name] += [pair(prompt, language, written, chance) for prompt in prompts]
    for name in names:
        chance.shuffle(records[name])
        write_lines(folder / f"{name}.jsonl", records[name])
