"""Visible reasoning: ``<think>…</think><answer>…</answer>``, taken apart and put together.

>>> parse_reasoning("<think>\\n2+3=5\\n</think>\\n<answer>\\n5\\n</answer>")
Reasoning(thought='2+3=5', answer='5', well_formed=True)
"""

import re
from typing import NamedTuple

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


def reasoning_fault(text: str) -> str | None:
    """What keeps ``text`` from being well-formed, in words; None where nothing does."""
    if parse_reasoning(text).well_formed:
        return None
    for tag in REASONING_TAGS[::2]:
        opened, closed = text.count(tag), text.count(tag.replace("<", "</"))
        if opened != closed:
            return f"{tag} is opened {opened} times and closed {closed} times"
        if opened > 1:
            return f"there are {opened} {tag} blocks; an answer has one"
    if "<answer>" not in text:
        return "there is no <answer> block"
    return "expected <think>, </think>, <answer>, an answer and </answer> in this order, and no words outside them"


def format_reasoning(thought: str | None, answer: str) -> str:
    """The layout of MiniMind's reasoning data; without a thought the answer block stands alone."""
    block = "" if thought is None else f"<think>\n{thought}\n</think>\n"
    return f"{block}<answer>\n{answer}\n</answer>"
