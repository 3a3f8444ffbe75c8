"""Sums with the reasoning written out, for the chapters on reasoning distillation and GRPO.

The thought adds column by column from the right and repeats the result so far, so every step is a small table look-up
and a copy: 27 + 45 becomes "7+5=12, 2 so far, carry 1", then "2+4+1=7, 72 so far".
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from closed_book import conversation
from facts import LANGUAGES, Fact
from texts import write_lines

Addends = tuple[int, ...]


@dataclass(frozen=True)
class Level:
    """One difficulty. ``carries``: whether its sums must carry (True), must not (False), or may (None)."""

    addends: int
    digits: int
    carries: bool | None
    train: int
    heldout: int


LEVELS = (
    Level(addends=2, digits=1, carries=None, train=36, heldout=9),  # all 45 sums of 1 … 9
    Level(addends=2, digits=2, carries=False, train=264, heldout=56),
    Level(addends=2, digits=2, carries=True, train=400, heldout=75),
    Level(addends=2, digits=3, carries=True, train=400, heldout=80),
    Level(addends=3, digits=2, carries=True, train=400, heldout=80),
)
COLUMNS = {"zh": ("个位", "十位", "百位"), "en": ("ones", "tens", "hundreds")}
QUESTIONS = {
    "zh": ("{plus}=？", "{plus}等于多少？", "请计算{plus}。", "{plus}是多少？", "请问{words}等于几？"),
    "en": ("{plus}=?", "What is {plus}?", "Please add {words}.", "How much is {plus}?", "Work out {plus}."),
}
STEP = {"zh": ("{column}：{sum}，得{so_far}", "，进{carry}"), "en": ("{column}: {sum}, so {so_far}", ", carry {carry}")}


def columns_of(addends: Addends) -> list[tuple[str, ...]]:
    """The digits column by column from the right; all addends have the same number of digits."""
    return list(zip(*(reversed(str(number)) for number in addends), strict=True))


def carries(addends: Addends) -> bool:
    """Whether any column but the leftmost carries."""
    carry = 0
    for column in columns_of(addends)[:-1]:
        carry = (sum(map(int, column)) + carry) // 10
        if carry:
            return True
    return False


def sums(level: Level, chance: random.Random) -> list[Addends]:
    """Different sums of one level, no two with the same addends in another order."""
    low, high = 10 ** (level.digits - 1), 10**level.digits - 1
    found: dict[Addends, Addends] = {}
    while len(found) < level.train + level.heldout:
        addends = tuple(chance.randint(low, high) for _ in range(level.addends))
        if level.carries in (None, carries(addends)):
            found.setdefault(tuple(sorted(addends)), addends)
    return list(found.values())


def thought(addends: Addends, language: str) -> str:
    """The column-wise reasoning, one line per column."""
    line, with_carry = STEP[language]
    columns = columns_of(addends)
    lines, so_far, carry = [], "", 0
    for place, digits in enumerate(columns):
        terms = [*digits, str(carry)] if carry else list(digits)
        total = sum(map(int, terms))
        last = place == len(columns) - 1
        carry, digit = (0, total) if last else divmod(total, 10)
        so_far = f"{digit}{so_far}"
        text = line + (with_carry if carry else "")
        said = f"{'+'.join(terms)}={total}"
        lines.append(text.format(column=COLUMNS[language][place], sum=said, so_far=so_far, carry=carry))
    return "\n".join(lines)


def question(addends: Addends, language: str, chance: random.Random) -> str:
    """The sum as a user would ask it."""
    and_word = "加" if language == "zh" else " and "
    plus, words = "+".join(map(str, addends)), and_word.join(map(str, addends))
    return chance.choice(QUESTIONS[language]).format(plus=plus, words=words)


def records(chosen: list[Addends], chance: random.Random) -> Iterator[tuple[str, str, str]]:
    """(question, thought, result) of every sum, the languages in turn."""
    for index, addends in enumerate(chosen):
        language = LANGUAGES[index % 2]
        yield question(addends, language, chance), thought(addends, language), str(sum(addends))


def build(folder: Path, facts: list[Fact]) -> None:
    """Write reason.jsonl, reason_heldout.jsonl and reason_direct.jsonl (the training sums without the thought)."""
    chance = random.Random(0)
    train: list[tuple[str, str, str]] = []
    heldout: list[tuple[str, str, str]] = []
    for level in LEVELS:
        found = sums(level, chance)
        train += records(found[: level.train], chance)
        heldout += records(found[level.train :], chance)
    chance.shuffle(train)
    thinking = "<think>\n{}\n</think>\n<answer>\n{}\n</answer>"
    for name, items in (("reason", train), ("reason_heldout", heldout)):
        lines = (conversation(ask, thinking.format(why, sum_)) for ask, why, sum_ in items)
        write_lines(folder / f"{name}.jsonl", lines)
    direct = (conversation(ask, f"<answer>\n{sum_}\n</answer>") for ask, _, sum_ in train)
    write_lines(folder / "reason_direct.jsonl", direct)
