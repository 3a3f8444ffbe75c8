"""A conversation with branches: every turn knows the turn before it, and a turn may be followed by several others.

Editing a question or asking again for an answer adds a sibling; nothing is overwritten. The path that is shown goes
from the first turn along the chosen children. ``records`` writes paths as supervised fine-tuning reads them.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from minimind_lite.data.records import ConversationRecord

ROOT = -1  # the place before the first turn
COMPLETE = ("stop", "tool_calls")  # how an answer ends that came to its end


@dataclass
class Turn:
    """What one side said, or what a function returned."""

    role: Literal["user", "assistant", "tool"]
    content: str = ""
    parent: int = ROOT
    reasoning: str = ""  # what the model thought before it answered
    calls: list[dict[str, Any]] = field(default_factory=list)  # OpenAI's tool_calls
    call_id: str = ""  # of a tool's turn: the call it answers
    tokens: list[dict[str, Any]] = field(default_factory=list)  # OpenAI's entries of logprobs, for the content
    model: str = ""
    ended: str = ""  # OpenAI's finish_reason, "stopped" or "failed"; empty while the answer is being made
    error: str = ""
    seconds: float = 0.0

    @property
    def failed(self) -> bool:
        """Whether there is no answer to go on from."""
        return self.role == "assistant" and self.ended == "failed"

    @property
    def message(self) -> dict[str, Any]:
        """The turn as OpenAI's message."""
        made: dict[str, Any] = {"role": self.role, "content": self.content}
        if self.reasoning:
            made["reasoning_content"] = self.reasoning
        if self.calls:
            made["tool_calls"] = self.calls
        if self.role == "tool":
            made["tool_call_id"] = self.call_id
        return made


class Conversation:
    """The turns of one conversation, by number."""

    def __init__(self) -> None:
        self.turns: list[Turn] = []
        self._chosen: dict[int, int] = {}  # of each turn, the child that is shown

    def add(self, turn: Turn) -> int:
        """Append a turn behind its parent, and show it; returns its number."""
        self.turns.append(turn)
        self._chosen[turn.parent] = len(self.turns) - 1
        return len(self.turns) - 1

    def choose(self, number: int) -> None:
        """Show this turn instead of its siblings."""
        self._chosen[self.turns[number].parent] = number

    def versions(self, number: int) -> list[int]:
        """The turn and its siblings of the same role, oldest first."""
        one = self.turns[number]
        alike = [(index, turn) for index, turn in enumerate(self.turns) if turn.parent == one.parent]
        return [index for index, turn in alike if turn.role == one.role]

    def path(self) -> list[int]:
        """The turns that are shown."""
        found, at = [], ROOT
        while at in self._chosen:
            at = self._chosen[at]
            found.append(at)
        return found

    def before(self, number: int) -> list[Turn]:
        """The turns that lead to this one, which is not among them."""
        found, at = [], self.turns[number].parent
        while at != ROOT:
            found.append(self.turns[at])
            at = found[-1].parent
        return found[::-1]

    def next_parent(self) -> int:
        """Behind which turn the next question stands: a question whose answer failed is replaced, not repeated."""
        path = self.path()
        if path and self.turns[path[-1]].failed:
            return self.turns[self.turns[path[-1]].parent].parent
        return path[-1] if path else ROOT

    def unanswered_calls(self) -> list[dict[str, Any]]:
        """The calls at the end of the path that no function has answered yet."""
        path = [self.turns[number] for number in self.path()]
        answered = set()
        while path and path[-1].role == "tool":
            answered.add(path.pop().call_id)
        if not path or path[-1].ended != "tool_calls":
            return []
        return [call for call in path[-1].calls if call["id"] not in answered]

    def records(self, system: str = "", tools: Sequence[Any] = (), *, every_branch: bool = False) -> list[str]:
        """The conversation as lines of JSON Lines, one for each path that ends with a complete answer.

        An answer that was stopped, cut or failed is left out with all that follows it: a model that learned from it
        would learn to break off. Raises pydantic's ValidationError for a text that no model could be trained on.
        """
        parents = {turn.parent for turn in self.turns}
        ends = (
            [number for number in range(len(self.turns)) if number not in parents] if every_branch else self.path()[-1:]
        )
        head = _system(system, tools)
        found: dict[str, None] = {}
        for number in ends:
            turns = _complete([*self.before(number), self.turns[number]])
            if turns:
                conversations = [*head, *map(_recorded, turns)]
                ConversationRecord.model_validate({"conversations": conversations})
                found[json.dumps({"conversations": conversations}, ensure_ascii=False)] = None
        return list(found)


def _complete(turns: Sequence[Turn]) -> list[Turn]:
    """The turns up to the last complete answer before the first one that is not."""
    kept, size = [], 0
    for turn in turns:
        if turn.role == "assistant" and (turn.ended not in COMPLETE or not (turn.content.strip() or turn.calls)):
            break
        kept.append(turn)
        if turn.role == "assistant":
            size = len(kept)
    return kept[:size]


def _system(system: str, tools: Sequence[Any]) -> list[dict[str, Any]]:
    made = {"role": "system", "content": system}
    if tools:
        made["tools"] = json.dumps(tools, ensure_ascii=False)
    return [made] if system or tools else []


def _recorded(turn: Turn) -> dict[str, Any]:
    """A turn as the data's format has it: calls as JSON text, without the ids that tie them to their results."""
    made: dict[str, Any] = {"role": turn.role, "content": turn.content}
    if turn.reasoning:
        made["reasoning_content"] = turn.reasoning
    if turn.calls:
        calls = [
            {"name": call["function"]["name"], "arguments": json.loads(call["function"]["arguments"])}
            for call in turn.calls
        ]
        made["tool_calls"] = json.dumps(calls, ensure_ascii=False)
    return made
