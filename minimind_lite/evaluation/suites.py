"""From a benchmark's questions to what is scored: prompts, few-shot examples, and the choices as continuations.

A four-way question can be scored in two ways. By letter: the choices are listed, and the model must find "B" likelier
than "A", which takes knowing what a letter stands for. By answer: no choice is listed, and the model must find the
right answer's own words likeliest; long answers are less likely for being long, so their score is divided by a length.

A text is scored whole. Where the model answers in its own words, its answer is compared with the expected one.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from minimind_lite.data.benchmarks import LETTERS, Benchmark, Question, read_questions, subject_names
from minimind_lite.data.records import DataError
from minimind_lite.evaluation.likelihood import Request
from minimind_lite.settings import ConfigError

Scoring = Literal["letter", "answer", "pairs", "cloze", "text", "exact", "sums"]


@dataclass(frozen=True)
class Item:
    """One question, ready to be scored: a request for each choice. choices: their words, for their lengths.

    turns: the conversation that the model answers in its own words; then there are no requests, and the only choice is
    the expected answer.
    """

    id: str
    group: str
    requests: tuple[Request, ...]
    choices: tuple[str, ...]
    answer: int
    turns: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Suite:
    """A benchmark's items under one way of scoring."""

    name: str
    title: str
    scoring: Scoring
    shots: int
    items: Sequence[Item]

    @property
    def key(self) -> str:
        """What tables and files call it: "ceval/letter"."""
        return f"{self.name}/{self.scoring}"

    @property
    def chance(self) -> float | None:
        """The expected share of right answers when guessing; of answers in the model's own words, the share that the
        most frequent answer would get if it were always given. None for texts.
        """
        if self.scoring == "text":
            return None
        if self.scoring == "cloze":
            return 0.0
        if self.scoring in ("exact", "sums"):
            expected = Counter(item.choices[0].strip() for item in self.items)
            return expected.most_common(1)[0][1] / len(self.items)
        return sum(1 / len(item.requests) for item in self.items) / len(self.items)

    @property
    def digest(self) -> str:
        """Hex SHA-256 of everything that is scored, to the letter: prompts, examples, choices and answers."""
        said = [
            [item.id, item.group, item.requests, item.choices, item.answer, *([item.turns] if item.turns else [])]
            for item in self.items
        ]
        return hashlib.sha256(json.dumps([self.key, said], ensure_ascii=False).encode("utf-8")).hexdigest()


def make_suites(
    benchmark: Benchmark, folder: Path, *, scoring: str = "default", shots: int = 0, limit: int | None = None
) -> list[Suite]:
    """The suites of a benchmark: one, or two with ``scoring="both"``.

    scoring: letter, answer, both, or default (what the benchmark is usually scored by); only multiple choice has one.
    shots: examples before each question, the first ones of the example split, of its own subject if there are subjects.
    limit: at most so many questions, spread evenly over the split.
    Raises DataError for files that do not fit or too few examples, ConfigError for a setting that does not.
    """
    ways = _ways(benchmark, scoring)
    if shots and not benchmark.examples:
        raise ConfigError(f"{benchmark.name} has no examples to show: leave shots at 0")
    questions = read_questions(benchmark, folder)
    examples = _examples(benchmark, folder, {one.group for one in questions}, shots) if shots else {}
    subjects = subject_names(folder) if benchmark.letters_first else {}
    kept = _spread(questions, limit)
    return [
        Suite(
            benchmark.name, benchmark.title, way, shots,
            [_item(benchmark, way, one, examples.get(one.group, []), subjects) for one in kept],
        )
        for way in ways
    ]  # fmt: skip


def _ways(benchmark: Benchmark, scoring: str) -> list[Scoring]:
    if scoring not in ("default", "letter", "answer", "both"):
        raise ConfigError(f"scoring must be letter, answer, both or default, not {scoring!r}")
    if benchmark.kind != "choice":
        return [benchmark.kind]
    usual: Scoring = "letter" if benchmark.letters_first else "answer"
    ways: dict[str, list[Scoring]] = {"default": [usual], "letter": ["letter"], "answer": ["answer"]}
    return ways.get(scoring, ["letter", "answer"])


def _spread(questions: Sequence[Question], limit: int | None) -> list[Question]:
    """``limit`` questions at equal distances: the first ones would all be of one subject."""
    if limit is None or limit >= len(questions):
        return list(questions)
    if limit < 1:
        raise ConfigError(f"limit must be at least 1, not {limit}")
    return [questions[index * len(questions) // limit] for index in range(limit)]


def _examples(benchmark: Benchmark, folder: Path, groups: set[str], shots: int) -> dict[str, list[Question]]:
    """The first ``shots`` examples of each group."""
    found: dict[str, list[Question]] = {group: [] for group in groups}
    for one in read_questions(benchmark, folder, examples=True):
        if one.group in found and len(found[one.group]) < shots:
            found[one.group].append(one)
    short = [group for group in sorted(found) if len(found[group]) < shots]
    if short:
        raise DataError(
            f"{folder}: {shots} examples were asked for, and {short[0]} has {len(found[short[0]])} in the split "
            f"{' or '.join(benchmark.examples)}; use fewer shots"
        )
    return found


def _item(
    benchmark: Benchmark, way: Scoring, question: Question, examples: list[Question], subjects: dict[str, str]
) -> Item:
    if way in ("exact", "sums"):
        return Item(question.id, question.group, (), question.choices, question.answer, question.turns)
    if way in ("pairs", "cloze", "text"):
        gap = " " if way == "cloze" else ""
        requests = tuple(Request(question.text, gap + one) for one in question.choices)
        return Item(question.id, question.group, requests, question.choices, question.answer)
    shown = [_prompt(benchmark, way, one) + _continuations(benchmark, way, one)[one.answer] for one in examples]
    context = "\n\n".join([*shown, _prompt(benchmark, way, question)])
    if way == "letter" and benchmark.letters_first:
        context = introduction(subjects.get(question.group)) + context
    choices = question.choices if way == "answer" else tuple(LETTERS[: len(question.choices)])
    requests = tuple(Request(context, one) for one in _continuations(benchmark, way, question))
    return Item(question.id, question.group, requests, choices, question.answer)


def introduction(subject: str | None) -> str:
    """The sentence before a Chinese exam, as C-Eval has it. subject: its Chinese name, where it is known."""
    return f"以下是{f'中国关于{subject}的' if subject else ''}单项选择题，请选出其中的正确答案。\n\n"


def _prompt(benchmark: Benchmark, way: Scoring, question: Question) -> str:
    if way == "answer":
        return benchmark.prompt.format(text=question.text, passage=question.passage)
    listed = "".join(f"\n{letter}. {one}" for letter, one in zip(LETTERS, question.choices, strict=False))
    passage = f"{question.passage}\n" if question.passage else ""
    return f"{passage}{question.text}{listed}\n{'答案：' if benchmark.language == 'zh' else 'Answer:'}"


def _continuations(benchmark: Benchmark, way: Scoring, question: Question) -> tuple[str, ...]:
    """The choices as they follow the prompt: a letter after a space (as lm-eval writes it), Chinese answers without."""
    gap = "" if way == "answer" and benchmark.language == "zh" else " "
    words = question.choices if way == "answer" else LETTERS[: len(question.choices)]
    return tuple(gap + one for one in words)
