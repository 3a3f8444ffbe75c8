"""Four-way exams made from the facts, in the file formats of C-Eval, CMMLU and OpenBookQA.

Each fact is asked once over all exams; wrong choices are other values of its relation; each split balances the letters.
No question gives its answer away by a shared character, and no flash card answers one word for word.
"""

import csv
import json
import random
import re
import shutil
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from closed_book import relation_of
from facts import Fact
from texts import write_lines

SOURCE = Path(__file__).parent / "written" / "exam.toml"
LETTERS = "ABCD"
SPLITS = {
    "ceval": {"dev": 5, "val": 15, "test": 25},
    "cmmlu": {"dev": 5, "test": 25},
    "openbookqa": {"train": 5, "test": 50},
}
TURNED_SHARE = 0.25  # questions that give the value and ask for the subject


@dataclass(frozen=True)
class Question:
    """One question before its choices get their letters."""

    text: str
    given: str  # what the question names
    right: str
    wrong: list[str]
    explanation: str


def gives_away(given: str, answer: str) -> bool:
    """Whether a name gives its answer away, as 埃及 shows 埃及镑 and Indiana shows Indianapolis."""
    name, value = given.casefold(), answer.casefold()
    size = max(3, min(len(name), 4)) if name.isascii() else 1  # the symbol C gives nothing away
    return any(name[start : start + size] in value for start in range(len(name) - size + 1))


def named(fact: Fact, wording: dict[str, str]) -> str | None:
    """What the question names: the subject, or, if that gave the answer away, the column of the wording "around"."""
    if not gives_away(fact.subject, fact.value):
        return fact.subject
    other = dict(fact.columns).get(wording.get("by", ""), "")
    return other if other and not gives_away(other, fact.value) else None


def chosen_facts(facts: list[Fact], subject: dict[str, Any], count: int, chance: random.Random) -> list[Fact]:
    """``count`` facts of a subject, its relations in turn. Raises ValueError if there are not so many."""
    pools = []
    for name, wording in subject["relations"].items():
        pool = [fact for fact in facts if (fact.language, fact.relation) == (subject["language"], name)]
        pool = chance.sample(pool, len(pool))
        pools.append([fact for fact in pool if named(fact, wording)])
    in_turn = [fact for row in zip_longest(*pools) for fact in row if fact]
    if len(in_turn) < count:
        raise ValueError(f"exam.toml, subject {subject['name']}: {len(in_turn)} facts for {count} questions; add some")
    return in_turn[:count]


def questions(
    facts: list[Fact], subject: dict[str, Any], chosen: list[Fact], chance: random.Random
) -> Iterator[Question]:
    """The questions of one subject about the chosen facts, in a fixed but mixed order."""
    chance.shuffle(chosen)
    for fact in chosen:
        wording = subject["relations"][fact.relation]
        explanation = fact.render(relation_of(fact).answer)
        family = [other for other in facts if (other.language, other.relation) == (fact.language, fact.relation)]
        unique = Counter(other.value for other in family)[fact.value] == 1
        given = named(fact, wording) or ""
        if given == fact.subject and unique and "turned" in wording and chance.random() < TURNED_SHARE:
            others = [other.subject for other in family if other.value != fact.value]
            yield Question(
                fact.render(wording["turned"]), fact.value, fact.subject, chance.sample(others, 3), explanation
            )
        else:
            others = [value for value in fact.pool if value != fact.subject]  # June does not come after June
            text = fact.render(wording["ask" if given == fact.subject else "around"])
            yield Question(text, given, fact.value, chance.sample(others, 3), explanation)


def bare(text: str) -> str:
    """Letters and digits alone, in lower case."""
    return re.sub(r"[\W_]", "", text).casefold()


def check_questions(items: list[Question], facts: list[Fact]) -> None:
    """Raise ValueError if a question gives its answer away, or if a flash card or an answer has it word for word."""
    cards = {
        bare(fact.render(said)) for fact in facts for said in (*relation_of(fact).statements, relation_of(fact).answer)
    }
    everything = "\n".join(cards)
    for item in items:
        filled = item.text.replace("____", item.right) if "____" in item.text else f"{item.text} {item.right}"
        if gives_away(item.given, item.right):
            raise ValueError(f"exam.toml: {item.text!r} gives away {item.right!r}; leave the fact out or ask around it")
        if bare(filled) in everything:
            raise ValueError(f"exam.toml: a flash card answers {filled!r} word for word; ask it in other words")


def letters(count: int, chance: random.Random) -> list[str]:
    """The right letters of a split: each of the four equally often, to within one, in random order."""
    spread = (LETTERS * (count // 4 + 1))[:count]
    return chance.sample(spread, count)


def rows(items: list[Question], chance: random.Random) -> Iterator[tuple[str, list[str], str, str]]:
    """(question, choices in order, right letter, explanation)."""
    for item, letter in zip(items, letters(len(items), chance), strict=True):
        choices = list(item.wrong)
        choices.insert(LETTERS.index(letter), item.right)
        yield item.text, choices, letter, item.explanation


def write_split(path: Path, layout: str, items: list[Question], chance: random.Random) -> None:
    """Write one CSV file; only C-Eval's dev split explains its answers, as in the original."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        if layout == "ceval":
            table.writerow(["id", "question", *LETTERS, "answer", "explanation"])
        else:
            table.writerow(["", "Question", *LETTERS, "Answer"])
        for number, (text, choices, letter, explanation) in enumerate(rows(items, chance)):
            extra = [explanation if path.parent.name == "dev" else ""] if layout == "ceval" else []
            table.writerow([number, text, *choices, letter, *extra])


def write_json(path: Path, items: list[Question], chance: random.Random) -> None:
    """Write one file in the JSON Lines of OpenBookQA's authors: id, question with stem and choices, answerKey."""
    records = []
    for number, (text, choices, letter, _) in enumerate(rows(items, chance)):
        labelled = [{"text": choice, "label": label} for label, choice in zip(LETTERS, choices, strict=True)]
        question = {"stem": text, "choices": labelled}
        records.append({"id": f"{path.stem}-{number}", "question": question, "answerKey": letter})
    write_lines(path, records)


def build(folder: Path, facts: list[Fact]) -> None:
    """Write exam/: ceval/SPLIT/SUBJECT_SPLIT.csv, cmmlu/SPLIT/SUBJECT.csv, openbookqa/SPLIT.jsonl, subjects.json."""
    chance = random.Random(0)
    subjects = tomllib.loads(SOURCE.read_text(encoding="utf-8"))["subject"]
    exam = folder / "exam"
    shutil.rmtree(exam, ignore_errors=True)
    asked: set[Fact] = set()
    for subject in subjects:
        layout, name = subject["layout"], subject["name"]
        splits = SPLITS[layout]
        fresh = [fact for fact in facts if fact not in asked]
        chosen = chosen_facts(fresh, subject, sum(splits.values()), chance)
        asked.update(chosen)
        items = list(questions(facts, subject, chosen, chance))
        check_questions(items, facts)
        for split, count in splits.items():
            part, items = items[:count], items[count:]
            if layout == "openbookqa":
                write_json(exam / layout / f"{split}.jsonl", part, chance)
            else:
                stem = f"{name}_{split}" if layout == "ceval" else name
                write_split(exam / layout / split / f"{stem}.csv", layout, part, chance)
    titles = {subject["name"]: subject["titles"] for subject in subjects}
    text = json.dumps(titles, ensure_ascii=False, indent=1) + "\n"
    (exam / "subjects.json").write_bytes(text.encode("utf-8"))
