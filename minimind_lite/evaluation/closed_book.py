"""Closed-book questions: is the answer, word for word, the expected one?"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from minimind_lite.generation.engine import generate
from minimind_lite.model.transformer import Transformer
from minimind_lite.tokenizer import Message, Tokenizer


@dataclass(frozen=True)
class Answer:
    """One question: what was asked, expected and said."""

    question: str
    expected: str
    given: str

    @property
    def right(self) -> bool:
        """Equal, ignoring white space at the ends."""
        return self.given.strip() == self.expected.strip()


class Judged(Protocol):
    """An answer that is right or not."""

    @property
    def right(self) -> bool:
        """Whether it is right."""
        ...


@dataclass(frozen=True)
class ShareRight:
    """The share of right answers with its 95 % confidence interval."""

    answers: Sequence[Judged]
    right_means: ClassVar[str] = ""  # is said behind the share

    @property
    def share(self) -> float:
        """The share of answers that are right."""
        return sum(answer.right for answer in self.answers) / len(self.answers)

    @property
    def interval(self) -> tuple[float, float]:
        """The share's 95 % confidence interval (Wilson)."""
        return wilson_interval(sum(answer.right for answer in self.answers), len(self.answers))

    def __str__(self) -> str:
        low, high = self.interval
        share = f"{self.share:.1%} {self.right_means}".rstrip()
        return f"{share} ({low:.1%} to {high:.1%}, {len(self.answers)} questions)"


@dataclass(frozen=True)
class ExactMatch(ShareRight):
    """The share of answers that are exactly right."""

    answers: Sequence[Answer]
    right_means: ClassVar[str] = "exact"

    def share_ending(self, characters: int) -> float:
        """The share of answers with the last ``characters`` characters of the expected one: a fixed closing phrase."""
        ends = [answer.expected.strip()[-characters:] for answer in self.answers]
        return sum(one.given.strip().endswith(end) for one, end in zip(self.answers, ends, strict=True)) / len(ends)


def exact_match(
    model: Transformer,
    tokenizer: Tokenizer,
    conversations: Sequence[list[Message]],
    *,
    max_new_tokens: int = 64,
    batch_size: int = 64,
) -> ExactMatch:
    """Generate the last assistant turn of every conversation greedily and compare it with the given one.

    Raises ValueError for a conversation that does not end with the assistant, or if there are no conversations.
    """
    for number, messages in enumerate(conversations):
        if messages[-1]["role"] != "assistant":
            raise ValueError(f"conversation {number} ends with the {messages[-1]['role']}: there is no expected answer")
    if not conversations:
        raise ValueError("there are no conversations to measure")
    prompts = [tokenizer.render(messages[:-1], add_generation_prompt=True).ids for messages in conversations]
    said = generate(model, tokenizer, prompts, max_new_tokens=max_new_tokens, batch_size=batch_size)
    pairs = zip(conversations, said, strict=True)
    return ExactMatch([Answer(turns[-2]["content"], turns[-1]["content"], one.text) for turns, one in pairs])


def wilson_interval(right: float, total: int, z: float = 1.96) -> tuple[float, float]:
    """95 % interval for a share: honest near 0 and 1, where p ± z·sqrt(p(1 − p)/n) has no width. Wilson 1927.

    >>> tuple(round(limit, 3) for limit in wilson_interval(10, 10))
    (0.722, 1.0)
    """
    p, weight = right / total, z * z / total
    centre = (p + weight / 2) / (1 + weight)
    half = z * math.sqrt(p * (1 - p) / total + weight / (4 * total)) / (1 + weight)
    return max(0.0, centre - half), min(1.0, centre + half)
