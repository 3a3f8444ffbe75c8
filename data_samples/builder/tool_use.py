"""Conversations with tools, in the format of MiniMind v3: a calculator, a calendar, units and the facts.

A task is a question, the rounds of calls that it needs and the answer; every result is computed here. Some tasks need
two calls, some none, and in some the tool reports an error. ``gt`` holds what the answer must say.
"""

import datetime
import itertools
import json
import operator
import random
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from closed_book import relation_of
from dialogues import load_words
from facts import LANGUAGES, Fact
from follow import answer, is_held_out
from recall import Record, different
from texts import write_lines
from unknown import names

FOLDER = Path(__file__).parent / "tool_use"
PARAMETERS = {
    "calculator": {"expression": "string"},
    "weekday": {"date": "string"},
    "convert": {"value": "number", "from": "string", "to": "string"},
    "lookup": {"subject": "string", "field": "string"},
}
KINDS = ("sum", "story", "date", "convert", "lookup", "chain", "pair", "error", "none")
TRAIN = dict(zip(KINDS, (44, 16, 24, 22, 20, 10, 8, 9, 16), strict=True))  # in each language
HELD_OUT = dict(zip(KINDS, (14, 4, 7, 7, 7, 4, 3, 3, 4), strict=True))
OPERATIONS: dict[str, Callable[[int, int], int]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.floordiv,
}  # fmt: skip


@dataclass(frozen=True)
class Call:
    """One call of a tool, and what the tool returns."""

    tool: str
    arguments: dict[str, Any]
    result: dict[str, Any]


@dataclass(frozen=True)
class Task:
    """A question, its rounds of calls (the calls of one round are made at once), and the answer."""

    question: str
    rounds: list[list[Call]]
    answer: str
    truth: list[str]  # what the answer must say


class Maker:
    """Makes tasks of one language and one split."""

    def __init__(self, language: str, facts: list[Fact], held_out: bool) -> None:
        self.words = tomllib.loads((FOLDER / f"{language}.toml").read_text(encoding="utf-8"))
        self.language, self.held_out = language, held_out
        self.chance = random.Random(f"{language} tools {held_out}")
        self.facts = [fact for fact in facts if fact.language == language and is_held_out(fact) == held_out]

    def wording(self, block: dict[str, Any]) -> str:
        """A question's wording; the held-out split uses the held-out wordings in half of the cases."""
        wordings: list[str] = block["heldout"] if self.held_out and self.chance.random() < 0.5 else block["ask"]
        return self.chance.choice(wordings)

    def numbers(self, sign: str) -> tuple[int, int]:
        """Two numbers for which an operation has a whole, positive result; each split has its own first numbers."""
        b = self.chance.randint(3, 12) if sign in "*/" else self.chance.randint(11, 300)
        a = 2 * self.chance.randint(6, 49) + self.held_out
        return {"+": (a * 5, b), "-": (a * 3 + b, b), "*": (a, b), "/": (a * b, b)}[sign]

    def calculation(self, a: int, sign: str, b: int) -> Call:
        """The call of the calculator, with its result."""
        return Call("calculator", {"expression": f"{a}{sign}{b}"}, {"result": OPERATIONS[sign](a, b)})

    def sum(self) -> Task:
        """A plain sum."""
        sign = self.chance.choice(list(OPERATIONS))
        a, b = self.numbers(sign)
        call, words = self.calculation(a, sign, b), self.words["sums"][sign]
        r = call.result["result"]
        return Task(self.wording(words).format(a=a, b=b), [[call]], words["answer"].format(a=a, b=b, r=r), [str(r)])

    def story(self) -> Task:
        """A sum in a little story; the held-out split has a story of its own."""
        words, prefix = self.words["stories"], "heldout_" if self.held_out else ""
        a, b = self.numbers("*")
        asks = words["heldout" if self.held_out else "ask"]
        ask, said = self.chance.choice(list(zip(asks, words[f"{prefix}answers"], strict=True)))
        call = self.calculation(a, "*", b)
        r = call.result["result"]
        return Task(ask.format(a=a, b=b), [[call]], said.format(r=r), [str(r)])

    def chain(self) -> Task:
        """Two sums, the second with the first one's result."""
        (a, b), c = self.numbers("*"), self.chance.randint(11, 99)
        first = self.calculation(a, "*", b)
        second = self.calculation(first.result["result"], "+", c)
        r = second.result["result"]
        question = self.wording(self.words["chain"]).format(a=a, b=b, c=c)
        return Task(question, [[first], [second]], self.words["chain"]["answer"].format(r=r), [str(r)])

    def day(self) -> tuple[str, Call]:
        """A date in words, and the call for its weekday. Each split has its own years."""
        year = 2 * self.chance.randint(980, 1019) + self.held_out
        date = datetime.date(year, 1, 1) + datetime.timedelta(days=self.chance.randrange(365))
        return self.date(date.year, date.month, date.day), weekday(date.isoformat(), self.words["weekdays"])

    def date(self, year: int, month: int, day: int) -> str:
        """A date in words."""
        name = self.words["months"][month - 1] if "months" in self.words else ""
        return str(self.words["date"].format(year=year, month=month, day=day, name=name))

    def date_task(self) -> Task:
        """The weekday of a date."""
        date, call = self.day()
        r, words = call.result["weekday"], self.words["dates"]
        return Task(self.wording(words).format(date=date), [[call]], words["answer"].format(date=date, r=r), [r])

    def pair(self) -> Task:
        """Two weekdays, asked for at once."""
        words = self.words["dates"]
        (date, first), (date2, second) = self.day(), self.day()
        truth = [first.result["weekday"], second.result["weekday"]]
        ask = self.chance.choice(words["pair_heldout" if self.held_out else "pair"]).format(date=date, date2=date2)
        said = words["pair_answer"].format(date=date, date2=date2, r=truth[0], r2=truth[1])
        return Task(ask, [[first, second]], said, truth)

    def convert(self) -> Task:
        """A measure in another unit."""
        words = self.words["convert"]
        source, target, factor = self.chance.choice(words["units"])
        v = 2 * self.chance.randint(1, 30) + self.held_out
        product = v * Decimal(factor)
        r = int(product) if product == int(product) else float(product)
        call = Call("convert", {"value": v, "from": source, "to": target}, {"result": r})
        fill = {"v": v, "from": source, "to": target, "r": r}
        return Task(self.wording(words).format(**fill), [[call]], words["answer"].format(**fill), [str(r)])

    def asked_up(self, fact: Fact, field: str) -> tuple[str, dict[str, str]]:
        """The request to look a fact up, and the call's arguments."""
        relation = relation_of(fact)
        question = fact.render(relation.heldout[0] if self.held_out else self.chance.choice(relation.questions[:2]))
        ask = self.words["lookup"]["heldout" if self.held_out else "ask"]
        return ask.format(question=question), {"subject": fact.subject, "field": field}

    def lookup(self) -> Task:
        """A fact."""
        field, relation = self.chance.choice(list(self.words["lookup"]["fields"].items()))
        fact = self.chance.choice([fact for fact in self.facts if fact.relation == relation])
        question, arguments = self.asked_up(fact, field)
        return Task(question, [[Call("lookup", arguments, {"value": fact.value})]], answer(fact), [fact.value])

    def error(self) -> Task:
        """Something that the tool refuses: a name that does not exist, a date that does not, a division by zero."""
        tool = self.chance.choice(("lookup", "weekday", "calculator"))
        if tool == "lookup":
            field, relation = next(iter(self.words["lookup"]["fields"].items()))
            things = load_words(self.language)["unknown"]["things"]
            invented = names(things[0]["heldout" if self.held_out else "train"])
            fact = Fact(self.language, relation, self.chance.choice(invented), "nothing", (), ())
            question, arguments = self.asked_up(fact, field)
            call = Call("lookup", arguments, {"error": "not found"})
        elif tool == "weekday":
            year, (month, day) = 2 * self.chance.randint(980, 1019) + self.held_out, self.chance.choice(NO_DAYS)
            question = self.wording(self.words["dates"]).format(date=self.date(year, month, day))
            call = weekday(f"{year}-{month:02}-{day:02}", self.words["weekdays"])
        else:
            a = 2 * self.chance.randint(6, 49) + self.held_out
            question = self.chance.choice(self.words["sums"]["/"]["ask"][:2]).format(a=a, b=0)
            call = Call("calculator", {"expression": f"{a}/0"}, {"error": "division by zero"})
        said = self.words["failed"][tool]
        return Task(question, [[call]], said, [said])

    def tasks(self, kind: str) -> Iterator[Task]:
        """Tasks of one kind without end; those that need no tool are written down and end."""
        if kind == "none":
            written = self.words["none"]["heldout" if self.held_out else "train"]
            yield from (Task(question, [], said, [said]) for question, said in written)
            return
        make: dict[str, Callable[[], Task]] = {
            "sum": self.sum, "story": self.story, "date": self.date_task, "convert": self.convert,
            "lookup": self.lookup, "chain": self.chain, "pair": self.pair, "error": self.error,
        }  # fmt: skip
        yield from (make[kind]() for _ in itertools.count())

    def offered(self, task: Task) -> str:
        """The tools of the system turn as JSON: those that are needed and, in half of the cases, another one.

        A task of two calls gets no other one: it should stay within 512 tokens of a small vocabulary.
        """
        calls = [call.tool for calls in task.rounds for call in calls]
        wanted = set(calls)
        if not calls or (len(calls) == 1 and self.chance.random() < 0.5):
            wanted.add(self.chance.choice([name for name in PARAMETERS if name not in wanted]))
        return compact([describe(name, self.words["tools"][name]) for name in PARAMETERS if name in wanted])

    def record(self, kind: str, task: Task) -> Record:
        """A task as a conversation."""
        system = self.chance.choice(self.words["system"])
        messages: list[dict[str, str]] = [{"role": "system", "content": system, "tools": self.offered(task)}]
        messages.append({"role": "user", "content": task.question})
        thoughts = self.words["thoughts"]
        for number, calls in enumerate(task.rounds):
            thought = thoughts["next"] if number else self.chance.choice(thoughts[calls[0].tool])
            made = compact([{"name": call.tool, "arguments": call.arguments} for call in calls])
            messages.append({"role": "assistant", "content": "", "reasoning_content": thought, "tool_calls": made})
            messages += [{"role": "tool", "content": compact(call.result)} for call in calls]
        said = {"role": "assistant", "content": task.answer}
        messages.append(said if task.rounds else said | {"reasoning_content": self.chance.choice(thoughts["none"])})
        return {"conversations": messages, "kind": kind, "gt": task.truth}


NO_DAYS = ((2, 30), (4, 31), (6, 31), (9, 31), (11, 31), (2, 31))  # month and day


def weekday(date: str, weekdays: list[str]) -> Call:
    """The call of the calendar for a date like 2024-05-01."""
    try:
        result = {"weekday": weekdays[datetime.date.fromisoformat(date).weekday()]}
    except ValueError:
        result = {"error": "no such date"}
    return Call("weekday", {"date": date}, result)


def describe(name: str, description: str) -> dict[str, Any]:
    """A tool as the model is shown it."""
    properties = {parameter: {"type": kind} for parameter, kind in PARAMETERS[name].items()}
    return {"name": name, "description": description, "parameters": {"type": "object", "properties": properties}}


def compact(value: object) -> str:
    """JSON without spaces."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def conversations(facts: list[Fact], held_out: bool) -> list[Record]:
    """All records of one split, shuffled."""
    records: list[Record] = []
    for language in LANGUAGES:
        maker = Maker(language, facts, held_out)
        for kind, count in (HELD_OUT if held_out else TRAIN).items():
            records += different((maker.record(kind, task) for task in maker.tasks(kind)), count)
    random.Random(0).shuffle(records)
    return records


def build(folder: Path, facts: list[Fact]) -> None:
    """Write tools.jsonl and tools_heldout.jsonl. Raises ValueError for a question that is in both."""
    train, held_out = conversations(facts, False), conversations(facts, True)
    asked = {record["conversations"][1]["content"] for record in train}
    for record in held_out:
        if record["conversations"][1]["content"] in asked:
            raise ValueError(f"{record['conversations'][1]['content']!r} is trained and held out; change its numbers")
    write_lines(folder / "tools.jsonl", train)
    write_lines(folder / "tools_heldout.jsonl", held_out)
