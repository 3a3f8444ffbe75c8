"""A chat template that came with a model from elsewhere: rendered as its authors wrote it, and written back unchanged.

A model was trained on what its own template writes: a default system turn, tools, an empty think block. So a folder
whose template is not ours keeps it. Jinja makes one string of control tokens and contents; which is which can be told
afterwards only if contents cannot look like control tokens. Before rendering, a character that stands nowhere else is
put behind every character of a content that could begin a control token; afterwards it is taken out of the text again.

What is trained follows from the tokens: what stands between the header of an assistant's turn and its end, and the end.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from minimind_lite.tokenizer.chat_template import ASSISTANT_TAGS, Message, Piece, messages_and_tools
from minimind_lite.tokenizer.foreign_template import render_foreign

CONFIG, TEMPLATE = "tokenizer_config.json", "chat_template.jinja"
FILES = ("tokenizer.json", CONFIG, TEMPLATE, "special_tokens_map.json")  # what is written back as it was
_HEADER = "assistant\n"
_PRIVATE = range(0xE000, 0xF8FF)  # characters without a meaning; one that is not used anywhere marks contents


@dataclass(frozen=True)
class KeptTemplate:
    """A template of others, the files it came in, and the texts of the tokens around a turn."""

    template: str
    files: Mapping[str, str]  # name → text
    turn_start: str
    turn_end: str
    controls: tuple[str, ...]  # every control token and tag of the tokenizer

    def pieces(
        self,
        messages: Sequence[Message],
        add_generation_prompt: bool = False,
        thinking: bool | None = None,
        continue_final_message: bool = False,
        default_system: str | None = None,
        tools: Sequence[Mapping[str, Any]] | str | None = None,
    ) -> list[Piece]:
        """As ``chat_template.conversation_pieces``. Raises ValueError, also for what the template itself refuses."""
        messages, functions = messages_and_tools(messages, default_system, tools)
        if continue_final_message and (add_generation_prompt or messages[-1]["role"] != "assistant"):
            raise ValueError("continue_final_message needs an assistant's message at the end and no generation prompt")
        mark = self._unused_character(messages, functions)
        arguments: dict[str, Any] = {
            "messages": [self._escaped_message(message, mark) for message in messages],
            "add_generation_prompt": add_generation_prompt,
        }
        if functions:
            arguments["tools"] = _each_text(functions, lambda text: self._escaped(text, mark))
        pieces = list(self._trained(self._split(self._rendered(arguments, thinking), mark)))
        if any(message["role"] == "assistant" for message in messages) and not any(one.trained for one in pieces):
            raise ValueError(f"the chat template does not write an assistant's turn between {self.turn_start}assistant "
                             f"and {self.turn_end}: what is to be learned cannot be told")  # fmt: skip
        if continue_final_message:
            last = max(place for place, piece in enumerate(pieces) if piece.text == self.turn_end and piece.control)
            del pieces[last:]
        return pieces

    @cached_property
    def identity(self) -> str:
        """What a store of tokens made with this template has to record."""
        return json.dumps([self.template, self.turn_start, self.turn_end])

    @cached_property
    def _given(self) -> list[Piece]:
        """What the template itself writes at the start of an answer, such as v3's empty think block: not learned."""
        question = [{"role": "user", "content": "?"}]
        text = self._rendered({"messages": question, "add_generation_prompt": True}, None)
        return self._split(text.rpartition(f"{self.turn_start}assistant\n")[2], chr(_PRIVATE[0]))

    def _rendered(self, arguments: dict[str, Any], thinking: bool | None) -> str:
        if thinking is not None:  # the words of Qwen3's templates, and of MiniMind v3's
            arguments |= {"enable_thinking": thinking, "open_thinking": thinking}
        values: dict[str, Any] = json.loads(self.files.get(CONFIG, "{}"))
        for name in ("bos_token", "eos_token", "pad_token", "unk_token"):
            token = values.get(name)
            arguments[name] = token.get("content") if isinstance(token, dict) else token
        try:
            return render_foreign(self.template, arguments)
        except ValueError as error:
            raise ValueError(f"the model's chat template cannot be rendered: {error}") from error

    def _unused_character(self, *values: Any) -> str:
        used = set(self.template + json.dumps(values, ensure_ascii=False))
        return next(chr(code) for code in _PRIVATE if chr(code) not in used)

    @cached_property
    def _beginnings(self) -> str:
        """A class of characters, for a pattern: those with which a control token begins."""
        return "[" + "".join(map(re.escape, sorted({token[0] for token in (*self.controls, *ASSISTANT_TAGS)}))) + "]"

    def _escaped(self, text: str, mark: str, allowed: Sequence[str] = ()) -> str:
        """``text`` with a mark after each character that could begin a control token, except the allowed ones."""
        kept = "".join(f"(?!{re.escape(token)})" for token in allowed)
        return re.sub(kept + self._beginnings, lambda hit: hit[0] + mark, text)

    def _escaped_message(self, message: Message, mark: str) -> Message:
        escaped = {
            name: value if name == "role" else _each_text(value, lambda text: self._escaped(text, mark))
            for name, value in message.items()
        }
        if message["role"] == "assistant" and isinstance(message.get("content"), str):
            escaped["content"] = self._escaped(message["content"], mark, ASSISTANT_TAGS)
        return escaped

    def _split(self, text: str, mark: str) -> list[Piece]:
        """The rendered text as control tokens and plain text, the marks taken out.

        A tag that the tokenizer has no token for is a piece of its own too, so that it is always the same tokens.
        """
        apart = sorted({*self.controls, *ASSISTANT_TAGS}, key=len, reverse=True)
        pattern = "(" + "|".join(map(re.escape, apart)) + ")"
        parts = enumerate(re.split(pattern, text))
        return [Piece(part.replace(mark, ""), control=bool(place % 2)) for place, part in parts if part]

    def _trained(self, pieces: Sequence[Piece]) -> Iterator[Piece]:
        """The pieces, an assistant's turns as targets: all but the header and what the template itself puts before."""
        waiting = list(pieces)
        while waiting:
            piece = waiting.pop(0)
            yield piece
            if not (piece.control and piece.text == self.turn_start and waiting):
                continue
            if waiting[0].control or not waiting[0].text.startswith(_HEADER):
                continue
            yield Piece(_HEADER)
            rest = waiting.pop(0).text.removeprefix(_HEADER)
            waiting = [Piece(rest), *waiting] if rest else waiting
            end = next((n for n, one in enumerate(waiting) if one.control and one.text == self.turn_end), None)
            turn = waiting[:end] if end is not None else waiting
            yield from _without_given(turn, self._given)
            if end is not None:
                yield waiting[end]._replace(trained=True)
            del waiting[: len(turn) + (end is not None)]


def _without_given(turn: Sequence[Piece], given: Sequence[Piece]) -> Iterator[Piece]:
    """An assistant's turn as targets, without the pieces of ``given`` if it begins with all of them."""
    last = len(given) - 1
    begins = (
        0 <= last < len(turn)
        and list(turn[:last]) == list(given[:last])
        and turn[last].control == given[last].control
        and turn[last].text.startswith(given[last].text)
    )
    if begins:
        yield from given
        rest = turn[len(given) - 1].text.removeprefix(given[-1].text)
        turn = [Piece(rest)] * bool(rest) + list(turn[len(given) :])
    for piece in turn:
        yield piece._replace(trained=True)


def _each_text(value: Any, change: Callable[[str], str]) -> Any:
    """A JSON value with every text in it changed, names of fields too."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {change(name): _each_text(one, change) for name, one in value.items()}
    return [_each_text(one, change) for one in value] if isinstance(value, list | tuple) else value
