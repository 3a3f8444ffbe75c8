"""Drills for pretraining: a new name, new words or a number is said and said again in a small natural frame.

A small model does not learn to copy what it has never seen from dialogues alone. No held-out name or number of
the dialogues is in a drill.
"""

import random
from collections.abc import Iterator
from typing import Any

from recall import load_kinds

DRILLS = 2  # in one text


class Driller:
    """Draws what is repeated, in one language."""

    def __init__(self, words: dict[str, Any], language: str) -> None:
        self.words, self.language = words["copies"], language
        self.chance = random.Random(f"{language} copies")
        self.forbidden = {value for kind in load_kinds(words["recall"], True) if kind.is_open for value in kind.values}
        self.taken = (*self.forbidden, *self.words["frames"])  # "Come" is a name by its syllables

    def name(self) -> str:
        """A name of two or three characters, or of one or two syllables, which no held-out name contains."""
        while True:
            if self.language == "zh":
                name = "".join(self.chance.sample(self.words["given"], self.chance.choice((2, 2, 3))))
            else:
                name = "".join(self.chance.choice(part) for part in self.words["syllables"])
            if not any(name in text for text in self.taken):
                return name

    def number(self) -> str:
        """A number of two to four digits that is not held out."""
        while True:
            number = str(self.chance.randrange(10, 10 ** self.chance.choice((2, 3, 3, 4))))
            if number not in self.forbidden:
                return number

    def sequence(self) -> str:
        """Two to five words."""
        return ("、" if self.language == "zh" else ", ").join(
            self.chance.sample(self.words["words"], self.chance.randint(2, 5))
        )

    def drill(self) -> str:
        """One drill."""
        frame = self.chance.choice(self.words["frames"])
        return frame.format(n=self.name(), n2=self.name(), w=self.sequence(), d=self.number(), d2=self.number())

    def texts(self) -> Iterator[str]:
        """Texts without end."""
        while True:
            yield ("" if self.language == "zh" else " ").join(self.drill() for _ in range(DRILLS))
