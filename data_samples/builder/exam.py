"""Four-way exams made from the facts, in the file formats of C-Eval and CMMLU.

Each fact is asked once over all exams; wrong choices are other values of its relation; each split balances the letters.
"""

import csv
import json
import random
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

SOURCE = Path(__file__).parent / "written" / "exam.toml"
LETTERS = "ABCD"
SPLITS = {"ceval": {"dev": 5, "val": 15, "test": 25}, "cmmlu": {"dev": 5, "test": 25}}
TURNED_SHARE = 0.25  # questions that give the value and ask for the subject


@dataclass(frozen=True)
class Question:
    """One question before its choices get their letters."""

    text: str
    right: str
    wrong: list[str]
    explanation: str


def gives_away(fact: Fact) -> bool:
    """Whether the question gives the answer away, as 埃及 shows 埃及镑 and Indiana shows Indianapolis."""
    size = 1 if fact.language == "zh" else 4
    subject, value = fact.subject.casefold(), fact.value.casefold()
    return any(subject[start : start + size] in value for start in range(len(subject) - size + 1))


def chosen_facts(facts: list[Fact], subject: dict[str, Any], count: int, chance: random.Random) -> list[Fact]:
    """``count`` facts of a subject, its relations in turn; those that give their answer away come last."""
    pools = []
    for name in subject["relations"]:
        pool = [fact for fact in facts if (fact.language, fact.relation) == (subject["language"], name)]
        pools.append(chance.sample(pool, len(pool)))
    in_turn = [fact for row in zip_longest(*pools) for fact in row if fact]
    return sorted(in_turn, key=gives_away)[:count]


def questions(facts: list[Fact], subject: dict[str, Any], count: int, chance: random.Random) -> Iterator[Question]:
    """The questions of one subject, in a fixed but mixed order."""
    chosen = chosen_facts(facts, subject, count, chance)
    chance.shuffle(chosen)
    for fact in chosen:
        wording = subject["relations"][fact.relation]
        explanation = fact.render(relation_of(fact).answer)
        family = [other for other in facts if (other.language, other.relation) == (fact.language, fact.relation)]
        unique = Counter(other.value for other in family)[fact.value] == 1
        if unique and "turned" in wording and chance.random() < TURNED_SHARE:
            others = [other.subject for other in family if other.value != fact.value]
            yield Question(fact.render(wording["turned"]), fact.subject, chance.sample(others, 3), explanation)
        else:
            others = [value for value in fact.pool if value != fact.subject]  # June does not come after June
            yield Question(fact.render(wording["ask"]), fact.value, chance.sample(others, 3), explanation)


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


def build(folder: Path, facts: list[Fact]) -> None:
    """Write exam/ceval/SPLIT/SUBJECT_SPLIT.csv, exam/cmmlu/SPLIT/SUBJECT.csv and exam/subjects.json."""
    chance = random.Random(0)
    subjects = tomllib.loads(SOURCE.read_text(encoding="utf-8"))["subject"]
    exam = folder / "exam"
    shutil.rmtree(exam, ignore_errors=True)
    for subject in subjects:
        layout, name = subject["layout"], subject["name"]
        splits = SPLITS[layout]
        items = questions(facts, subject, sum(splits.values()), chance)
        for split, count in splits.items():
            stem = f"{name}_{split}" if layout == "ceval" else name
            path = exam / layout / split / f"{stem}.csv"
            write_split(path, layout, [next(items) for _ in range(count)], chance)
    titles = {subject["name"]: subject["titles"] for subject in subjects}
    text = json.dumps(titles, ensure_ascii=False, indent=1) + "\n"
    (exam / "subjects.json").write_bytes(text.encode("utf-8"))
