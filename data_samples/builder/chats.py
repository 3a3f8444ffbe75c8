"""The handwritten conversations, in a format that is easy to write and read (chats/*.txt)."""

from pathlib import Path
from typing import Any

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
