"""Questions answered with a visible thought: right or wrong, tags well-formed or not, and how long the thought was."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from minimind_lite.data.reasoning import Reasoning, parse_reasoning
from minimind_lite.evaluation.closed_book import Answer, ExactMatch
from minimind_lite.generation.engine import generate
from minimind_lite.model.transformer import Transformer
from minimind_lite.tokenizer import Message, Tokenizer


@dataclass(frozen=True)
class ReasonedAnswer(Answer):
    """One question; ``expected`` is without tags, ``given`` with them and with what the thinking switch wrote."""

    tokens: int  # written by the model, including its end token

    @property
    def parsed(self) -> Reasoning:
        """The parts of what was said."""
        return parse_reasoning(self.given)

    @property
    def right(self) -> bool:
        """The only answer block holds the expected answer."""
        return self.parsed.answer == self.expected


@dataclass(frozen=True)
class ReasonedAnswers(ExactMatch):
    """The answers to many questions; ``share`` and ``interval`` refer to the right ones."""

    answers: Sequence[ReasonedAnswer]

    @property
    def well_formed(self) -> float:
        """The share whose tags are well-formed (see ``data.reasoning.Reasoning``)."""
        return sum(answer.parsed.well_formed for answer in self.answers) / len(self.answers)

    def grouped(self, key: Callable[[ReasonedAnswer], Any]) -> dict[Any, "ReasonedAnswers"]:
        """The answers sorted into groups by ``key``, in the key's order."""
        keys = sorted({key(answer) for answer in self.answers})
        return {one: ReasonedAnswers([answer for answer in self.answers if key(answer) == one]) for one in keys}


def answer_questions(
    model: Transformer,
    tokenizer: Tokenizer,
    conversations: Sequence[list[Message]],
    *,
    thinking: bool | None = None,
    max_new_tokens: int = 96,
    batch_size: int = 64,
) -> ReasonedAnswers:
    """Let the model generate the last assistant turn of every conversation greedily.

    thinking: the template's switch; what it writes (an open or an empty think block) counts as part of the answer.
    Raises ValueError when a conversation does not end with an answer block, or if there are no conversations.
    """
    expected = [parse_reasoning(messages[-1]["content"]).answer for messages in conversations]
    if not expected or None in expected:
        raise ValueError("give at least one conversation, each ending with the assistant's <answer> block")
    prompts = [tokenizer.render(one[:-1], add_generation_prompt=True, thinking=thinking).ids for one in conversations]
    bare = len(tokenizer.render(conversations[0][:-1], add_generation_prompt=True).ids)
    opening = tokenizer.decode(prompts[0][bare:])  # the same for every question
    said = generate(model, tokenizer, prompts, max_new_tokens=max_new_tokens, batch_size=batch_size)
    return ReasonedAnswers([
        ReasonedAnswer(turns[-2]["content"], wanted or "", opening + one.text, len(one.ids))
        for turns, wanted, one in zip(conversations, expected, said, strict=True)
    ])  # fmt: skip
