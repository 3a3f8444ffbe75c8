"""Dialogues that need memory, follow-ups and "I do not know", with drills in copying; their words: dialogues/*.toml.

chat/ and chat_heldout/ get recall, follow and unknown in each language, pretrain/ gets copies.jsonl, and
chat/words.json what a measurement has to know: the values, the answers' frames, and how the assistant does not know.
"""

import itertools
import json
import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import copies
import follow
import recall
import unknown
from facts import LANGUAGES, Fact
from recall import Record, bare, questions
from texts import write_lines

FOLDER = Path(__file__).parent / "dialogues"
# In each language. The folder's limit of 8 MB decides; the words suffice for twice as many.
TRAIN = {"recall": 620, "follow": 120, "unknown": 330}
HELD_OUT = {"follow": 50, "unknown": 80}
HELD_OUT_RECALL = {"closed": 16, "untold": 16, "name": 20, "pet": 20, "age": 10, "number": 10}
COPIES = 175  # texts of two drills


def load_words(language: str) -> dict[str, Any]:
    """Read dialogues/zh.toml or dialogues/en.toml."""
    return tomllib.loads((FOLDER / f"{language}.toml").read_text(encoding="utf-8"))


def compose(
    words: dict[str, Any], facts: list[Fact], language: str, taught: Collection[str] = ()
) -> dict[str, list[Record]]:
    """All files of one language by their path without the language. taught: the questions of other training files."""
    closed, opened = recall.heldout(words["recall"], language, HELD_OUT_RECALL)
    files = {
        "chat/recall": recall.training(words["recall"], language, TRAIN["recall"]),
        "chat_heldout/recall": closed,
        "chat_heldout/recall_open": opened,
    }
    for name, module in (("follow", follow), ("unknown", unknown)):
        files[f"chat/{name}"] = module.dialogues(words[name], facts, language, False, TRAIN[name])
    trained = [record for path, records in files.items() if path.startswith("chat/") for record in records]
    asked = map(questions, trained)
    known = set(map(bare, itertools.chain(taught, itertools.chain.from_iterable(asked))))
    follows = follow.dialogues(words["follow"], facts, language, True, HELD_OUT["follow"], known)
    files["chat_heldout/follow"] = follows
    files["chat_heldout/unknown"] = unknown.dialogues(words["unknown"], facts, language, True, HELD_OUT["unknown"])
    return files


def taught_questions(folder: Path, language: str) -> set[str]:
    """What users say in the other conversations, which ``rings`` and ``system_turns`` have written."""
    paths = [folder / "chat" / f"{name}_{language}.jsonl" for name in ("facts", "backwards", "system")]
    lines = [line for path in paths for line in path.read_text(encoding="utf-8").splitlines()]
    return set(itertools.chain.from_iterable(questions(json.loads(line)) for line in lines))


def refuse_copies(files: dict[str, list[Record]]) -> None:
    """Raise ValueError for a held-out dialogue of which the user says everything in training too."""
    split: dict[str, list[tuple[str, ...]]] = {"chat": [], "chat_heldout": []}
    for path, records in files.items():
        split[path.split("/")[0]] += map(questions, records)
    trained = set(itertools.chain.from_iterable(split["chat"]))
    for said in split["chat_heldout"]:
        if trained.issuperset(said):
            raise ValueError(f"the held-out dialogue {' / '.join(said)!r} is also in training; change its words")


def summary(words: dict[str, Any]) -> dict[str, Any]:
    """What measurements need to know of one language."""
    kinds = {kind.name: kind for kind in recall.load_kinds(words["recall"], True)}
    return {
        "kinds": {
            name: {"values": kind.values, "answer": kind.answer, "open": kind.is_open} for name, kind in kinds.items()
        },
        "untold": words["recall"]["untold"],
        "unknown": list(words["unknown"]["answers"].values()),
    }


def build(folder: Path, facts: list[Fact]) -> None:
    """Write the dialogues, words.json and the drills."""
    words = {language: load_words(language) for language in LANGUAGES}
    drills: list[list[str]] = []
    for language in LANGUAGES:
        files = compose(words[language], facts, language, taught_questions(folder, language))
        refuse_copies(files)
        for path, records in files.items():
            write_lines(folder / f"{path}_{language}.jsonl", records)
        drills.append(list(itertools.islice(copies.Driller(words[language], language).texts(), COPIES)))
    mixed = itertools.chain.from_iterable(zip(*drills, strict=True))
    write_lines(folder / "pretrain" / "copies.jsonl", ({"text": text} for text in mixed))
    text = json.dumps({language: summary(words[language]) for language in LANGUAGES}, ensure_ascii=False)
    (folder / "chat" / "words.json").write_bytes((text + "\n").encode("utf-8"))
