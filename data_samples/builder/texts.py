"""What the text sources share: cutting prose at sentence ends, dropping near-duplicates, holding items out."""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

MAX_CHARACTERS = 500
HELD_OUT_EVERY = 25  # one item in 25 is held out: 4 %

_ABBREVIATION = re.compile(r"\b(?:Mr|Mrs|Messrs|Dr|St|Capt|Gen|Col|No|Vol|Hon|Jr|Sr|Gov|Sen|Rep|vs|[A-Z])\.$")
_SENTENCE_END = re.compile(
    r"""(?:(?<=[.!?])|(?<=[.!?]["”’)]))\s+(?=["“‘(]?[A-Z0-9])|(?<=[。！？；])(?![”’』」])|(?<=[。！？][”’])"""
)


def sentences(text: str) -> list[str]:
    """Split prose into sentences, Chinese or English; "Mr. Starbuck" is not an end."""
    parts: list[str] = []
    for piece in _SENTENCE_END.split(text):
        if parts and _ABBREVIATION.search(parts[-1]):
            parts[-1] += f" {piece}"
        elif piece:
            parts.append(piece)
    return parts


def chunks(pieces: Iterable[str], joint: str, limit: int = MAX_CHARACTERS) -> Iterator[str]:
    """Join neighbouring pieces into texts of at most ``limit`` characters; a longer piece is left out."""
    text = ""
    for piece in pieces:
        if text and len(text) + len(joint) + len(piece) > limit:
            yield text
            text = ""
        if len(piece) <= limit:
            text = f"{text}{joint}{piece}" if text else piece
    if text:
        yield text


class NearDuplicates:
    """Remembers character 5-grams of accepted texts and recognises a new text that mostly repeats them."""

    def __init__(self, limit: float = 0.15) -> None:
        self.limit = limit
        self.seen: set[str] = set()

    def add(self, text: str) -> bool:
        """Accept ``text`` (True) unless more than ``limit`` of its 5-grams were seen before."""
        letters = re.sub(r"\W", "", text)
        grams = {letters[i : i + 5] for i in range(len(letters) - 4)}
        if not grams or len(grams & self.seen) > self.limit * len(grams):
            return False
        self.seen |= grams
        return True


def write_lines(path: Path, records: Iterable[object]) -> None:
    """Write records as JSON Lines: UTF-8, one per line, no spaces between fields, the same on every system."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n" for record in records]
    path.write_bytes("".join(lines).encode("utf-8"))


def write_texts(folder: Path, name: str, items: Iterable[list[str]], always: Iterable[list[str]] = ()) -> None:
    """Write one source's documents: whole items (a poem, a chapter, a speech) for training, every 25th held out.

    The items of ``always`` come first, and none of them is held out.
    """
    train = [{"text": text} for item in always for text in item]
    heldout: list[dict[str, str]] = []
    for index, item in enumerate(items):
        split = heldout if index % HELD_OUT_EVERY == HELD_OUT_EVERY // 2 else train
        split.extend({"text": text} for text in item)
    write_lines(folder / "pretrain" / f"{name}.jsonl", train)
    write_lines(folder / "pretrain_heldout" / f"{name}.jsonl", heldout)
