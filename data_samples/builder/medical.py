"""General advice in a medical style, for LoRA's vertical domain; every answer ends with a fixed sentence."""

import random
import re
import tomllib
from pathlib import Path

from closed_book import conversation
from facts import Fact
from texts import write_lines

SOURCE = Path(__file__).parent / "written" / "medical.toml"
_AMBULANCE = re.compile("120|ambulance")


def advice(topic: dict[str, str], written: dict[str, dict[str, str]]) -> str:
    """The whole answer. Where an ambulance must be called, "see a doctor if you are worried" would weaken it."""
    closing = "urgent" if _AMBULANCE.search(topic["answer"]) else "disclaimer"
    joint = "" if topic["language"] == "zh" else " "
    return joint.join((topic["answer"], written[closing][topic["language"]]))


def build(folder: Path, facts: list[Fact]) -> None:
    """Write lora_medical.jsonl and lora_medical_heldout.jsonl (phrasings not in training)."""
    written = tomllib.loads(SOURCE.read_text(encoding="utf-8"))
    splits: dict[str, list[dict[str, object]]] = {"questions": [], "heldout": []}
    for topic in written["topic"]:
        answer = advice(topic, written)
        for split, records in splits.items():
            records += [conversation(question, answer) for question in topic[split]]
    random.Random(0).shuffle(splits["questions"])
    write_lines(folder / "lora_medical.jsonl", splits["questions"])
    write_lines(folder / "lora_medical_heldout.jsonl", splits["heldout"])
