"""Dialogues in which the user tells a value (a colour, a name, a number) and asks for it later.

Of the closed lists every value and every wording is trained, but not every pair of them: the held-out pairs are
``(value + wording) % PAIRS == 0``. Of the open ones (names, pets, numbers) the held-out values are never trained.
"""

import itertools
import random
import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from closed_book import conversation

PAIRS = 5  # one pair of a value and a wording in five is held out
SHORT_TELLS = 3  # the first wordings of a kind are short enough to tell two values in one message
FORMS = {"plain": 9, "distractor": 5, "two": 5, "both": 4, "correction": 6, "untold": 3, "other": 3}  # weights
HELDOUT_FORMS = ("plain", "distractor", "plain", "two", "plain", "correction")
TRIES = 100  # for each dialogue that is wanted, until it is another one
CLOSED_SHARE = 0.6  # of the training dialogues
Record = dict[str, Any]
T = TypeVar("T", bound=Hashable)


@dataclass(frozen=True)
class Kind:
    """What can be told: the values that this split may use and the wordings. ``shown`` is a value as a short reply."""

    name: str
    values: tuple[str, ...]
    is_open: bool
    tell: list[str]
    ask: list[str]
    answer: str
    shown: str


@dataclass(frozen=True)
class Told:
    """One value told to the assistant."""

    kind: Kind
    value: str

    def fill(self, wording: str) -> str:
        """A wording about the value as a sentence: with a capital letter."""
        text = wording.format(v=self.value)
        return text[0].upper() + text[1:]

    @property
    def shown(self) -> str:
        """The value as it is said in a reply."""
        return self.kind.shown.format(v=self.value)


def values_of(block: dict[str, Any], held_out: bool) -> tuple[str, ...]:
    """The values of a kind's block in one split: written down, composed of parts, or numbers of a range."""
    prefix = "heldout_" if held_out and block.get("open") else ""
    if "numbers" in block:
        low, high = block["numbers"]
        return tuple(str(number) for number in range(low, high + 1) if is_held_out(number) == held_out)
    composed = ["".join(parts) for parts in itertools.product(*block.get(f"{prefix}parts", []))]
    written = block.get(f"{prefix}values", []) + block.get(f"{prefix}extra", [])
    return tuple(([] if composed == [""] else composed) + written)


def is_held_out(number: int) -> bool:
    """Whether a number is never trained: about every fourth, in no order that its digits show."""
    return number * 37 % 101 % 4 == 0


def load_kinds(words: dict[str, Any], held_out: bool) -> list[Kind]:
    """The kinds of one language in the order of their file."""
    return [
        Kind(
            name,
            values_of(block, held_out),
            block.get("open", False),
            block["tell"],
            block["ask"],
            block["answer"],
            block.get("shown", "{v}"),
        )
        for name, block in words["kinds"].items()
    ]


class Teller:
    """Composes dialogues of one language and one split. Each form returns the turns and what was asked last."""

    def __init__(self, words: dict[str, Any], held_out: bool, chance: random.Random) -> None:
        self.words, self.held_out, self.chance = words, held_out, chance
        self.kinds = load_kinds(words, held_out)
        self.used = Counter[Hashable]()

    def choose(self, options: Iterable[T]) -> T:
        """A random one of those that were chosen least often so far: everything comes up, and equally often."""
        listed = list(options)
        least = min(self.used[one] for one in listed)
        chosen = self.chance.choice([one for one in listed if self.used[one] == least])
        self.used[chosen] += 1
        return chosen

    def fitting(self, told: Told, wordings: list[str]) -> list[str]:
        """The wordings that may be paired with a value in this split."""
        if told.kind.is_open:
            return wordings
        place = told.kind.values.index(told.value)
        return [one for index, one in enumerate(wordings) if ((place + index) % PAIRS == 0) == self.held_out]

    def draw(self, kind: Kind, *, but: str = "") -> Told:
        """A value of a kind, another one than ``but``."""
        _, value = self.choose((kind.name, value) for value in kind.values if value != but)
        return Told(kind, value)

    def other(self, kind: Kind) -> Kind:
        """A random kind other than this one."""
        return self.chance.choice([one for one in self.kinds if one != kind])

    def tell(self, told: Told) -> list[str]:
        """The user tells a value; the assistant acknowledges it, in half of the cases by repeating it."""
        wording = self.choose(self.fitting(told, told.kind.tell))
        return [told.fill(wording), self.acknowledge(told, "echo", "plain")]

    def acknowledge(self, told: Told, echo: str, plain: str) -> str:
        """A short reply that repeats the value in half of the cases."""
        wording = self.choose(self.words[self.choose((echo, plain))])
        return Told(told.kind, told.shown).fill(wording)

    def ask(self, told: Told) -> list[str]:
        """The user asks for the value and gets it."""
        return [self.choose(told.kind.ask), told.fill(told.kind.answer)]

    def plain(self, kind: Kind) -> tuple[list[str], Told]:
        """Told, then asked."""
        told = self.draw(kind)
        return self.tell(told) + self.ask(told), told

    def distractor(self, kind: Kind) -> tuple[list[str], Told]:
        """Something else is said between telling and asking."""
        told = self.draw(kind)
        return self.tell(told) + self.distraction() + self.ask(told), told

    def distraction(self) -> list[str]:
        """Something that has nothing to do with it, and a reply."""
        return list(self.choose(map(tuple, self.words["distractors"])))

    def two(self, kind: Kind) -> tuple[list[str], Told]:
        """Two values are told, and one of them is asked for."""
        told, said = self.draw(kind), list[str]()
        others = [value for value in kind.values if value != told.value]
        while not said or any(value in said[0] for value in others):  # "I have a rabbit" beside a favourite animal
            said = self.tell(self.draw(self.other(kind)))
        first, second = self.chance.sample((self.tell(told), said), 2)
        return first + second + self.ask(told), told

    def both(self, kind: Kind) -> tuple[list[str], Told]:
        """Two values are told in one message, and both are asked for."""
        pair = [self.draw(self.other(kind)), self.draw(kind)]
        said = []
        for told in pair:
            wordings = [one for one in self.fitting(told, told.kind.tell) if one in told.kind.tell[:SHORT_TELLS]]
            if not wordings:
                return self.two(kind)
            said.append(told.fill(self.choose(wordings)).rstrip("。."))
        second = said[1] if said[1].startswith(("I ", "I'")) else said[1][0].lower() + said[1][1:]
        text = self.words["both"].format(first=said[0], second=second)
        asked = self.chance.sample(pair, 2)
        acknowledged = self.chance.choice(self.words["plain"])
        return [text, acknowledged, *self.ask(asked[0]), *self.ask(asked[1])], asked[1]

    def correction(self, kind: Kind) -> tuple[list[str], Told]:
        """The user takes the first value back."""
        wrong = self.draw(kind)
        told = self.draw(kind, but=wrong.value)
        wording = self.choose(self.fitting(told, self.words["corrections"]))
        corrected = Told(kind, told.shown).fill(wording)
        reply = self.acknowledge(told, "corrected_echo", "corrected_plain")
        return [*self.tell(wrong), corrected, reply, *self.ask(told)], told

    def untold(self, kind: Kind) -> tuple[list[str], Told]:
        """Asked before anything is told, and again after."""
        told = self.draw(kind)
        return [self.choose(kind.ask), self.words["untold"], *self.tell(told), *self.ask(told)], told

    def other_asked(self, kind: Kind) -> tuple[list[str], Told]:
        """Something is told, and something else is asked for."""
        told = self.draw(kind)
        question = self.choose(self.other(kind).ask)
        return [*self.tell(told), question, self.words["untold"]], Told(Kind("untold", (), False, [], [], "", ""), "")

    def record(self, kind: Kind, form: str) -> Record:
        """One dialogue; a held-out one also says which value a right answer names."""
        forms: dict[str, Callable[[Kind], tuple[list[str], Told]]] = {
            "plain": self.plain, "distractor": self.distractor, "two": self.two, "both": self.both,
            "correction": self.correction, "untold": self.untold, "other": self.other_asked,
        }  # fmt: skip
        turns, told = forms[form](kind)
        labels = {"kind": told.kind.name} | ({"form": form, "value": told.value} if self.held_out else {})
        return conversation(*turns) | labels


def questions(record: Record) -> tuple[str, ...]:
    """Everything that the user says: two dialogues with the same turns of the user are one."""
    return tuple(turn["content"] for turn in record["conversations"] if turn["role"] == "user")


def bare(question: str) -> str:
    """A question without case, spaces and punctuation, as ``minimind data check`` compares it."""
    return re.sub(r"\W", "", question).casefold()


def different(records: Iterator[Record], count: int) -> list[Record]:
    """The first ``count`` records in which the user does not say the same. Raises ValueError if there are fewer."""
    found: dict[tuple[str, ...], Record] = {}
    for record in itertools.islice(records, TRIES * count):
        found.setdefault(questions(record), record)
        if len(found) == count:
            return list(found.values())
    raise ValueError(f"the words suffice for {len(found)} different dialogues, not {count}; give more wordings")


def training(words: dict[str, Any], language: str, count: int) -> list[Record]:
    """Dialogues of every form; CLOSED_SHARE of them about the closed lists."""
    teller = Teller(words, False, random.Random(f"{language} recall"))
    chance = teller.chance

    def endless() -> Iterator[Record]:
        for number in itertools.count():
            wanted = int((number + 1) * CLOSED_SHARE) == int(number * CLOSED_SHARE)
            name = teller.choose(one.name for one in teller.kinds if one.is_open == wanted)
            kind = next(one for one in teller.kinds if one.name == name)
            yield teller.record(kind, chance.choices(list(FORMS), list(FORMS.values()))[0])

    return different(endless(), count)


def heldout(words: dict[str, Any], language: str, counts: dict[str, int]) -> tuple[list[Record], list[Record]]:
    """Held-out dialogues about the closed lists and about open values; ``counts`` says how many of a kind.

    The closed ones end with what was never told, where "you have not told me" is right.
    """
    teller = Teller(words, True, random.Random(f"{language} recall held out"))
    split: tuple[list[Record], list[Record]] = ([], [])
    for kind in teller.kinds:
        forms = itertools.cycle(HELDOUT_FORMS)
        records = (teller.record(kind, form) for form in forms)
        split[kind.is_open].extend(different(records, counts.get(kind.name, counts["closed"])))
    closed = [kind for kind in teller.kinds if not kind.is_open]
    untold = (teller.record(kind, "other") for kind in itertools.cycle(closed))
    split[0].extend(different(untold, counts["untold"]))
    return split
