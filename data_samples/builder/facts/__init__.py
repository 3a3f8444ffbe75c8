"""The curated facts: tables of checked facts, and, for each relation, sentences that state, ask and answer it."""

import csv
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent
LANGUAGES = ("zh", "en")


@dataclass(frozen=True)
class Relation:
    """One kind of fact in one language, and how to word it. Templates take {subject}, {value} and column names."""

    name: str
    language: str
    table: str
    subject: str  # the column that is asked about
    value: str  # the column that answers
    answer: str
    statements: tuple[str, ...]
    questions: tuple[str, ...]  # trained on
    heldout: tuple[str, ...]  # never trained on with any subject


@dataclass(frozen=True)
class Fact:
    """One true fact with exactly one right answer inside its relation."""

    language: str  # "zh" or "en"
    relation: str
    subject: str
    value: str
    pool: tuple[str, ...]  # the relation's other values, all wrong here: distractors come from it
    columns: tuple[tuple[str, str], ...]  # the whole row, for templates

    def render(self, template: str) -> str:
        """Fill a template; an English sentence gets its capital letter and never ends in two full stops."""
        row = dict(self.columns)
        words = {"a_value": with_article(self.value), "a_subject": with_article(self.subject)}
        text = template.format(**{**row, **words, "subject": self.subject, "value": self.value})
        if self.language == "en":
            text = text[0].upper() + text[1:].replace("..", ".")
        return text


def with_article(noun: str) -> str:
    """Put a or an before an English noun (by its first letter, which works for every noun in the tables)."""
    return f"{'an' if noun[0] in 'aeio' else 'a'} {noun}"


@cache
def load_relations() -> dict[tuple[str, str], Relation]:
    """All relations by (language, name), in the files' order."""
    relations = {}
    for language in LANGUAGES:
        text = (FOLDER / f"relations_{language}.toml").read_text(encoding="utf-8")
        for block in tomllib.loads(text)["relation"]:
            block |= {key: tuple(block[key]) for key in ("statements", "questions", "heldout")}
            relations[language, block["name"]] = Relation(language=language, **block)
    return relations


@cache
def load_facts() -> list[Fact]:
    """All facts, relation by relation in a fixed order. An empty cell is skipped."""
    facts = []
    for relation in load_relations().values():
        rows = [row for row in read_table(relation.table) if row[relation.subject] and row[relation.value]]
        values = list(dict.fromkeys(row[relation.value] for row in rows))
        for row in rows:
            value = row[relation.value]
            pool = tuple(other for other in values if other != value)
            columns = tuple(row.items())
            facts.append(Fact(relation.language, relation.name, row[relation.subject], value, pool, columns))
    return facts


def read_table(name: str) -> list[dict[str, str]]:
    """The rows of tables/NAME.csv."""
    with (FOLDER / "tables" / f"{name}.csv").open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))
