"""The handwritten conversations, in a format that is easy to write and read (chats/*.txt)."""

import re
from pathlib import Path
from typing import Any

STOCK_OFFERS = (
    "欢迎随时告诉我。",
    "讲得细一些。",
    "尽管问我。",
    "随时来问。",
    "explain more if you like.",
    "feel free to ask.",
    "welcome to ask again.",
    "else I can do for you.",
)
ROLES = {"S": "system", "U": "user", "A": "assistant"}


def read_chats(folder: Path) -> list[dict[str, Any]]:
    """All conversations of the folder's text files: blocks of ``U: …`` and ``A: …`` lines between blank lines."""
    records = []
    for path in sorted(folder.glob("*.txt")):
        for block in path.read_text(encoding="utf-8").split("\n\n"):
            lines = [line for line in block.strip().splitlines() if not line.startswith("#")]
            if lines:
                records.append({"conversations": read_block(lines)})
    return records


def read_block(lines: list[str]) -> list[dict[str, str]]:
    """One conversation's messages; a line that names no role continues the one before."""
    messages: list[dict[str, str]] = []
    for line in lines:
        letter, colon, content = line.partition(": ")
        if colon and letter in ROLES:
            messages.append({"role": ROLES[letter], "content": content})
        else:
            messages[-1]["content"] += "\n" + line
    return messages


def check_answers(chats: list[dict[str, Any]]) -> None:
    """Raise ValueError if a first question has two answers, or an answer ends in a stock offer of more help.

    A system turn may ask for another answer, so it counts as a part of the question.
    """
    known: dict[tuple[str, ...], str] = {}
    for turns in (chat["conversations"] for chat in chats):
        start = next(index for index, turn in enumerate(turns) if turn["role"] == "assistant")
        question = tuple(re.sub(r"\W", "", turn["content"]).casefold() for turn in turns[:start])
        answer = turns[start]["content"]
        if known.setdefault(question, answer) != answer:
            raise ValueError(
                f"{turns[start - 1]['content']!r} has two answers: {known[question]!r}, {answer!r}; keep one"
            )
        for turn in turns:
            if turn["role"] == "assistant" and turn["content"].endswith(STOCK_OFFERS):
                raise ValueError(f"{turn['content']!r} ends in a stock offer; say only what answers")
