"""Visible reasoning: ``<think>…</think><answer>…</answer>``, taken apart and checked.

>>> parse_reasoning("<think>\\n2+3=5\\n</think>\\n<answer>\\n5\\n</answer>")
Reasoning(thought='2+3=5', answer='5', well_formed=True)
"""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

REASONING_TAGS = ("<think>", "</think>", "<answer>", "</answer>")
_FORM = re.compile(r"(?:<think>(.*)</think>\s*)?<answer>(.*)</answer>", re.DOTALL)
_ANSWER = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)


class Reasoning(NamedTuple):
    """What an answer with tags says; white space at the ends of thought and answer is gone."""

    thought: str | None  # None where there is no think block, or where the form is wrong
    answer: str | None  # of the one answer block, also where the rest is wrong; None for none or several
    well_formed: bool  # every tag once at most, in order, an answer that is not empty, and no word outside the blocks


def parse_reasoning(text: str) -> Reasoning:
    """Take an assistant's text apart. A think block may be missing (a direct answer); an answer block may not."""
    form = _FORM.fullmatch(text.strip())
    if form and form[2].strip() and all(text.count(tag) <= 1 for tag in REASONING_TAGS):
        return Reasoning(None if form[1] is None else form[1].strip(), form[2].strip(), True)
    answers = _ANSWER.findall(text)
    return Reasoning(None, answers[0].strip() if len(answers) == 1 else None, False)


def check_reasoning(turns: Sequence[dict[str, Any]]) -> None:
    """Raise ValueError for the first assistant turn that is not well-formed, with what is wrong with it."""
    for index, turn in enumerate(turns):
        text = turn["content"]
        if turn["role"] != "assistant" or parse_reasoning(text).well_formed:
            continue
        counts = ", ".join(f"{text.count(tag)} {tag}" for tag in REASONING_TAGS)
        missing = "there is no <answer> block: " if "<answer>" not in text else ""
        raise ValueError(f"turn {index}: {missing}expected <think>…</think><answer>…</answer> with an answer in it and "
                         f"no words outside (the think block may be missing); there are {counts}")  # fmt: skip


def without_thoughts(turns: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Well-formed turns with the answer blocks alone, marked as answered with thinking switched off.

    ``reasoning_content=""`` lets the chat template write an empty think block, which is given and not learned.
    """
    return [
        turn | {"content": "<answer>" + turn["content"].partition("<answer>")[2].rstrip(), "reasoning_content": ""}
        if turn["role"] == "assistant"
        else turn
        for turn in turns
    ]
