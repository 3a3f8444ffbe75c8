"""What the assistant says about itself, for the chapter on LoRA: one exact answer per relation, asked in many ways."""

import random
import tomllib
from pathlib import Path

from closed_book import SYSTEM, conversation
from facts import Fact
from texts import write_lines

SOURCE = Path(__file__).parent / "written" / "identity.toml"
SYSTEM_SHARE = 0.15  # of the training questions: its identity must not depend on the system turn


def build(folder: Path, facts: list[Fact]) -> None:
    """Write lora_identity.jsonl and lora_identity_heldout.jsonl (phrasings not in training)."""
    chance = random.Random(0)
    train, heldout = [], []
    for relation in tomllib.loads(SOURCE.read_text(encoding="utf-8"))["relation"]:
        for question in relation["questions"]:
            system = chance.choice(SYSTEM[relation["language"]]) if chance.random() < SYSTEM_SHARE else None
            train.append(conversation(question, relation["answer"], system=system))
        heldout += [conversation(question, relation["answer"]) for question in relation["heldout"]]
    chance.shuffle(train)
    write_lines(folder / "lora_identity.jsonl", train)
    write_lines(folder / "lora_identity_heldout.jsonl", heldout)
