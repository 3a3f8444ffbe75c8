"""From tokens to the parts of an answer: reasoning, content, calls of functions, log-probabilities.

Only the model's own tag tokens open and close a part. The same characters spelled with ordinary tokens, as when a model
repeats what a user typed, stay text: nobody can call a function by asking for its name to be repeated.
"""

import json
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from minimind_lite.files import UnreadableFile, parse_json
from minimind_lite.generation.continuous import Event
from minimind_lite.generation.engine import TextStream
from minimind_lite.tokenizer import Tokenizer

Section = Literal["reasoning", "content", "call"]
_OPENING: dict[str, Section] = {"<think>": "reasoning", "</think>": "content", "<tool_call>": "call"}
_FIELDS = {"reasoning": "reasoning_content", "content": "content"}
FinishReason = Literal["stop", "length", "tool_calls"]


@dataclass
class Delta:
    """What is new in an answer: texts by field, calls, and the tokens behind its content."""

    texts: dict[str, str] = field(default_factory=dict)  # "content" and "reasoning_content"
    calls: list[dict[str, Any]] = field(default_factory=list)
    logprobs: list[dict[str, Any]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.texts or self.calls or self.logprobs)

    def add(self, other: "Delta") -> None:
        """Append what came later."""
        for name, text in other.texts.items():
            self.texts[name] = self.texts.get(name, "") + text
        self.calls += other.calls
        self.logprobs += other.logprobs


class Reader:
    """Reads one answer token by token.

    functions: the names that may be called; without any, tags of calls are content. tags=False: everything is
    content, as in a plain completion. thinking: the prompt has opened a think block. The line breaks that the chat
    template writes around a think block belong to the layout and are left out, so an answer that is given back renders
    as it was.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        stop: Sequence[str] = (),
        functions: Collection[str] = (),
        *,
        tags: bool = True,
        thinking: bool = False,
    ) -> None:
        self.tokenizer, self.stop, self.functions = tokenizer, stop, functions
        names = [*_OPENING, "</tool_call>"] if functions else ["<think>", "</think>"]
        ids = {tokenizer.control_id(name): name for name in names if tags}
        self._tags = {token: name for token, name in ids.items() if token is not None}
        self._ends = (tokenizer.eos_id, tokenizer.end_of_text_id)
        self.section: Section = "reasoning" if thinking else "content"
        self.called = 0
        self.tokens = 0
        self._text = TextStream(stop)
        self._call = ""
        self._layout = thinking  # the next characters may be the template's line breaks
        self._breaks = ""  # at the end of reasoning so far: the template's, unless more comes

    def push(self, event: Event) -> Delta:
        """What becomes certain with one more token."""
        token, delta = event.token, Delta()
        self.tokens += 1
        if event.candidates is not None and self.section == "content" and token not in (*self._ends, *self._tags):
            delta.logprobs.append(self._likelihood(event))
        if token in self._tags:
            self._turn(self._tags[token], delta)
        elif token not in self._ends:
            self._give(self._text.push(self.tokenizer.token_bytes(token)), delta)
        if event.finish_reason is not None:
            self._give(self._text.finish(), delta)
            if self.section == "call":
                self._end_call(delta, complete=False)
        return delta

    def finish_reason(self, reason: Literal["stop", "length"]) -> FinishReason:
        """The reason in OpenAI's words: an answer that ended by itself with a call says so."""
        return "tool_calls" if self.called and reason == "stop" else reason

    def _turn(self, tag: str, delta: Delta) -> None:
        """Go on in another section."""
        self._give(self._text.finish(), delta)
        self._text, self._breaks = TextStream(self.stop), ""
        if self.section == "call":
            self._end_call(delta, complete=tag == "</tool_call>")
        elif tag == "</tool_call>":
            self._give(tag, delta)
            return
        self.section, self._layout = _OPENING.get(tag, "content"), True

    def _give(self, text: str, delta: Delta) -> None:
        if self.section == "call":
            self._call += text
            return
        if self._layout:
            text = text.lstrip("\n")
            self._layout = not text
        if self.section == "reasoning":
            whole = self._breaks + text
            text = whole.rstrip("\n")
            self._breaks = whole[len(text) :]
        if text:
            delta.add(Delta(texts={_FIELDS[self.section]: text}))

    def _end_call(self, delta: Delta, complete: bool) -> None:
        """A call if it can be read and names a function on offer; else its text is content."""
        text, self._call, self.section = self._call, "", "content"
        name, arguments = _read_call(text)
        if name in self.functions:
            function = {"name": name, "arguments": arguments}
            call_id = f"call_{uuid.uuid4().hex[:24]}"
            delta.calls.append({"index": self.called, "id": call_id, "type": "function", "function": function})
            self.called += 1
        else:
            self._layout = False
            self._give(f"<tool_call>{text}" + ("</tool_call>" if complete else ""), delta)

    def _likelihood(self, event: Event) -> dict[str, Any]:
        """OpenAI's entry for one token of the content."""
        assert event.candidates is not None  # noqa: S101  the caller looked
        one = self._named(event.token, event.candidates.logprob)
        return one | {"top_logprobs": [self._named(token, value) for token, value in event.candidates.likeliest]}

    def _named(self, token: int, logprob: float) -> dict[str, Any]:
        data = self.tokenizer.token_bytes(token)
        text = data.decode("utf-8", errors="replace")
        return {"token": text, "logprob": logprob, "bytes": list(data)}


def _read_call(text: str) -> tuple[str | None, str]:
    """The name in the text of a call and its arguments, a JSON object as text; (None, "") if it is no call."""
    try:
        call = parse_json(text.strip(), "a call")
        arguments = json.dumps(call["arguments"], ensure_ascii=False, allow_nan=False)  # NaN is no JSON
    except (UnreadableFile, TypeError, KeyError, ValueError):
        return None, ""
    good = isinstance(call["name"], str) and isinstance(call["arguments"], dict) if "name" in call else False
    return (call["name"], arguments) if good else (None, "")


def message_of(delta: Delta) -> dict[str, Any]:
    """A whole answer as an assistant's message."""
    message: dict[str, Any] = {"role": "assistant", "content": delta.texts.get("content"), "refusal": None}
    if message["content"] is None and not delta.calls:
        message["content"] = ""
    if "reasoning_content" in delta.texts:
        message["reasoning_content"] = delta.texts["reasoning_content"]
    if delta.calls:
        message["tool_calls"] = [{name: call[name] for name in ("id", "type", "function")} for call in delta.calls]
    return message


def chunk_of(delta: Delta) -> dict[str, Any]:
    """A part of an answer as the ``delta`` of a stream's chunk."""
    return {**delta.texts, **({"tool_calls": delta.calls} if delta.calls else {})}


def completion_logprobs(entries: Sequence[dict[str, Any]], start: int = 0) -> dict[str, Any]:
    """The log-probabilities of a plain completion, in the older layout; ``start``: characters before these tokens."""
    offsets, at = [], start
    for entry in entries:
        offsets.append(at)
        at += len(entry["token"])
    return {
        "tokens": [entry["token"] for entry in entries],
        "token_logprobs": [entry["logprob"] for entry in entries],
        "top_logprobs": [{one["token"]: one["logprob"] for one in entry["top_logprobs"]} for entry in entries],
        "text_offset": offsets,
    }


def usage_of(prompt_tokens: int, completion_tokens: int) -> dict[str, int]:
    """Counts of tokens; an answer's end token is one of them."""
    total = prompt_tokens + completion_tokens
    return {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens, "total_tokens": total}
