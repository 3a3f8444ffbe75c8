"""One side of the page: a model, the conversation with it, and the answer being made. Two can stand side by side."""

from dataclasses import dataclass, field
from typing import Any

from minimind_lite.serving.page.client import Answer, Drawing, Endpoint
from minimind_lite.serving.page.conversation import Conversation, Turn


@dataclass(frozen=True)
class Asking:
    """What every request of a visitor has in common."""

    drawing: Drawing = field(default_factory=Drawing)
    system: str = ""
    tools: tuple[Any, ...] = ()


@dataclass
class Lane:
    """A conversation with one model."""

    endpoint: Endpoint | None = None
    model: str = ""
    conversation: Conversation = field(default_factory=Conversation)
    answer: Answer | None = None
    editing: int | None = None  # the question that is being changed
    drawn: int = 0  # how many things the last run of the script drew here

    @property
    def running(self) -> bool:
        """Whether an answer is being made."""
        return self.answer is not None and not self.answer.done

    def stop(self) -> None:
        """Break off the answer; what is there stays."""
        if self.answer is not None:
            self.answer.stop()

    def say(self, text: str, asking: Asking) -> None:
        """Ask a question at the end of what is shown."""
        number = self.conversation.add(Turn("user", text, self.conversation.next_parent()))
        self._answer(number, asking)

    def edit(self, number: int, text: str, asking: Asking) -> None:
        """Ask another question instead; the old one and what followed stay as a branch."""
        self.editing = None
        self._answer(self.conversation.add(Turn("user", text, self.conversation.turns[number].parent)), asking)

    def again(self, number: int, asking: Asking) -> None:
        """Ask for another answer beside the one with this number."""
        self.stop()
        self._answer(self.conversation.turns[number].parent, asking)

    def give(self, call_id: str, result: str, asking: Asking) -> None:
        """Tell the model what a function returned; once every call has its result, it goes on."""
        number = self.conversation.add(Turn("tool", result, self.conversation.path()[-1], call_id=call_id))
        if not self.conversation.unanswered_calls():
            self._answer(number, asking)

    def forget(self) -> None:
        """Begin a new conversation."""
        self.stop()
        self.conversation, self.answer, self.editing = Conversation(), None, None

    def _answer(self, parent: int, asking: Asking) -> None:
        """Ask for the turn that follows ``parent``."""
        if self.endpoint is None:
            return
        turn = Turn("assistant", parent=parent, model=self.model)
        number = self.conversation.add(turn)
        before = self.conversation.before(number)
        system = [{"role": "system", "content": asking.system}] if asking.system else []
        messages = [*system, *(one.message for one in before)]
        self.answer = Answer(self.endpoint, turn, messages, asking.drawing, asking.tools)
