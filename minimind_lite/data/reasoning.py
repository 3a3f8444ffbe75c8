"""Visible reasoning: ``<think>…</think><answer>…</answer>``, parsed and checked.

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
    """The parts of a tagged answer; white space around thought and answer is stripped."""

    thought: str | None  # None if there is no think block, or if the form is wrong
    answer: str | None  # of the only answer block, even if the rest is wrong; None if there is none, or several
    well_formed: bool  # every tag at most once, in order, a non-empty answer, and no words outside the blocks


def parse_reasoning(text: str) -> Reasoning:
    """Parse an assistant's text. The think block may be missing (a direct answer); the answer block may not."""
    form = _FORM.fullmatch(text.strip())
    if form and form[2].strip() and all(text.count(tag) <= 1 for tag in REASONING_TAGS):
        return Reasoning(None if form[1] is None else form[1].strip(), form[2].strip(), True)
    answers = _ANSWER.findall(text)
    return Reasoning(None, answers[0].strip() if len(answers) == 1 else None, False)


def is_tagged(text: str) -> bool:
    """Whether the text carries any of the reasoning tags; without them it is an ordinary answer."""
    return any(tag in text for tag in REASONING_TAGS)


def final_answer(text: str) -> str:
    """What counts as the answer: the only answer block; a text without tags as it stands; "" for broken tags.

    >>> final_answer("<think>8+7=15</think><answer>15</answer>"), final_answer(" 15 "), final_answer("<answer>15")
    ('15', '15', '')
    """
    return (parse_reasoning(text).answer or "") if is_tagged(text) else text.strip()


def check_reasoning(turns: Sequence[dict[str, Any]]) -> None:
    """Raise ValueError for the first assistant turn that has tags and is not well-formed, saying what is wrong."""
    for index, turn in enumerate(turns):
        text = turn["content"]
        if turn["role"] != "assistant" or not is_tagged(text) or parse_reasoning(text).well_formed:
            continue
        counts = ", ".join(f"{text.count(tag)} {tag}" for tag in REASONING_TAGS)
        missing = "there is no <answer> block: " if "<answer>" not in text else ""
        raise ValueError(f"turn {index}: {missing}expected <think>…</think><answer>…</answer> with an answer in it and "
                         f"no words outside (the think block may be missing); found {counts}")  # fmt: skip


def without_thoughts(turns: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Well-formed turns reduced to their answer blocks, marked as answered with thinking switched off.

    ``reasoning_content=""`` makes the chat template write an empty think block, which is given and not learned.
    """
    return [
        turn | {"content": _answer_block(turn["content"]), "reasoning_content": ""}
        if turn["role"] == "assistant"
        else turn
        for turn in turns
    ]


def _answer_block(text: str) -> str:
    """From the answer tag on; all of a text without tags."""
    return "<answer>" + text.partition("<answer>")[2].rstrip() if is_tagged(text) else text
