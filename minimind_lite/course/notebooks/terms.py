"""The course's terms, as ``docs/glossary.toml`` writes them: how each is called, and the chapter that explains it.

Held in both editions: the chapter uses the term, and the Chinese one has the English in brackets at its first mention,
词元（token）. Headings do not count as a mention, and the opening cell, which only announces, may go without.
"""

import re
import tomllib
from functools import cache
from typing import Any

from minimind_lite.files import repository_root

# What is set by other rules: code, formulas, addresses of links, HTML tags.
APART = re.compile(r"```.*?```|`[^`]*`|\$\$.*?\$\$|\$[^$\n]*\$|\]\([^)\s]*\)|<[^>\n]+>|https?://\S+", re.DOTALL)
_ITALIC = re.compile(r"(?<!\*)\*(?!\*)[^*]+\*(?!\*)")  # among other things the titles of papers, spelt as they are
_HEADING = re.compile(r"^#+ .*$", re.MULTILINE)
_FILE = "docs/glossary.toml"


@cache
def glossary() -> tuple[dict[str, Any], ...]:
    """The terms: ``term``, ``zh``, ``chapter``; ``en`` where the English chapter has other words for it; what is not
    ours in ``instead_of`` (Chinese) and ``en_instead_of``."""
    path = repository_root() / "docs" / "glossary.toml"
    return tuple(tomllib.loads(path.read_text(encoding="utf-8"))["terms"])


def renamed(text: str) -> list[str]:
    """Terms that a Chinese text writes in another way than the glossary."""
    return [
        f"the glossary calls {entry['term']} {entry['zh']}, not {other}"
        for entry in glossary()
        for other in entry.get("instead_of", [])
        if other in text
    ]


def renamed_in_english(text: str) -> list[str]:
    """Terms that an English text writes in another way than the glossary; titles in italics are left alone."""
    plain = " ".join(_ITALIC.sub(" ", APART.sub(" ", text).replace("**", "")).split())
    return [
        f"the glossary writes {_bare(entry)}, not {other}"
        for entry in glossary()
        for other in entry.get("en_instead_of", [])
        if re.search(rf"\b(?i:{other[0]}){re.escape(other[1:])}", plain)
    ]


def unused_in_english(number: str, texts: list[str]) -> list[str]:
    """Terms of this chapter that its English text never uses, with the way out."""
    plain = _flat(" ".join(APART.sub(" ", text) for text in texts))
    return [
        f"{_bare(entry)}: {_FILE} says that this chapter explains it, but it is not used here; "
        f"write it, name another chapter there, or list under `en` the words that stand for it here"
        for entry in glossary()
        if entry["chapter"] == number and not _any_form(entry).search(plain)
    ]


def unexplained(number: str, texts: list[tuple[str, str]]) -> list[str]:
    """Terms of this chapter that its Chinese text never uses, or first mentions without the English in brackets.

    ``texts``: (name, source) of the Markdown cells in order; the first is the opening cell.
    """
    pieces = [(name, _HEADING.sub("", APART.sub(" ", source)).replace("*", "")) for name, source in texts]
    found = []
    for entry in (one for one in glossary() if one["chapter"] == number):
        first, later = _first(entry, pieces), _first(entry, pieces[1:])
        if first is None and not any(entry["zh"] in source for _, source in texts):
            found.append(f"{entry['zh']} ({_bare(entry)}): {_FILE} says that this chapter explains it, but it is not "
                         "used here; write it, or name another chapter there")  # fmt: skip
        elif not any(_in_brackets(entry, mention[1]) for mention in (first, later) if mention):
            cell, words = later or first or (texts[0][0], "")
            found.append(f"{cell}: the first mention of {entry['zh']} goes without its English; write "
                         f"{entry['zh']}（{_bare(entry)}）: {words[:20].strip()}")  # fmt: skip
    return found


def _first(entry: dict[str, Any], pieces: list[tuple[str, str]]) -> tuple[str, str] | None:
    """(cell, the text from the mention on); a longer term that holds this one is no mention: 注意力 in 注意力头."""
    longer = [one["zh"] for one in glossary() if entry["zh"] in one["zh"] and one["zh"] != entry["zh"]]
    for name, text in pieces:
        for other in longer:
            text = text.replace(other, "〇" * len(other))
        at = text.find(entry["zh"])
        if at >= 0:
            return name, text[at:]
    return None


def _in_brackets(entry: dict[str, Any], mention: str) -> bool:
    """Whether the English follows the term: 词元（token）."""
    inside = re.match(rf"{re.escape(entry['zh'])}[”」]?（([^）]*)）", mention)
    return bool(inside and _any_form(entry).search(_flat(inside[1])))


def _any_form(entry: dict[str, Any]) -> re.Pattern[str]:
    forms = (re.escape(_flat(form)) for form in (_bare(entry), *entry.get("en", [])))
    return re.compile(rf"\b({'|'.join(forms)})", re.IGNORECASE)


def _bare(entry: dict[str, Any]) -> str:
    """The English term without the remark behind it: weight (of a layer)."""
    return str(entry["term"].partition(" (")[0])


def _flat(text: str) -> str:
    """Without emphasis, on one line, hyphens as spaces: "held-out texts" uses the term "held out"."""
    return re.sub(r"[\s-]+", " ", text.replace("*", ""))
