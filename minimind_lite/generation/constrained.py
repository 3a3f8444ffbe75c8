"""Answers that must have a form: a JSON object, or a call of one of several functions.

A `Grammar` reads bytes and says after each whether the text can still become what was asked for. Before a token is
drawn, every token whose bytes the grammar would refuse gets the logit -inf. The tokens stand in a tree of bytes, so
those that begin alike are tried together, and what a state of the grammar allows is computed once.

    state       {"name": "Li", "age": 4        what may follow: a digit, a point, e, a space, a comma or }

Choices: strict JSON (RFC 8259) in UTF-8 · between two tokens of JSON at most one space or line break, because a model
that is unsure would write blanks to the end of its room · at most DEEPEST levels · ``\\u`` never begins half of a
surrogate pair. The answer is complete or it ends with "length": nothing can promise an end within a given room.
Source: the idea is Willard and Louf 2023 (arXiv 2307.09702), with a stack in the place of the finite automaton.
"""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor

from minimind_lite.generation.sampling import GenerationError
from minimind_lite.tokenizer import Tokenizer

DEEPEST = 16  # levels of objects and arrays
KEPT_MASKS = 512  # of states; each takes a byte per token
OBJECT = ("object", "")  # where a JSON object begins

_BLANK, _DIGITS, _HEX = frozenset(b" \n\r\t"), frozenset(b"0123456789"), frozenset(b"0123456789abcdefABCDEF")
_MAY_BE_BLANK = {"value", "first_key", "key", "colon", "after", "first_item"}
_WORDS = {ord(word[0]): word[1:] for word in ("true", "false", "null")}
# The bytes that may follow inside one UTF-8 character: how many more come, and the range of the next.
_UTF8 = {"u1": ("string", 0x80, 0xBF), "u2": ("u1", 0x80, 0xBF), "u3": ("u2", 0x80, 0xBF),
         "u2low": ("u1", 0xA0, 0xBF), "u2high": ("u1", 0x80, 0x9F),
         "u3low": ("u2", 0x90, 0xBF), "u3high": ("u2", 0x80, 0x8F)}  # fmt: skip
_NUMBERS = {  # mode → (characters, the mode after them) …
    "minus": ((b"0", "zero"), (b"123456789", "int")),
    "zero": ((b".", "point"), (b"eE", "exponent")),
    "int": ((b"0123456789", "int"), (b".", "point"), (b"eE", "exponent")),
    "point": ((b"0123456789", "fraction"),),
    "fraction": ((b"0123456789", "fraction"), (b"eE", "exponent")),
    "exponent": ((b"+-", "power"), (b"0123456789", "powers")),
    "power": ((b"0123456789", "powers"),),
    "powers": ((b"0123456789", "powers"),),
}
_MAY_END = {"zero", "int", "fraction", "powers"}

JsonState = tuple[str, str]  # what may come next; what is open, innermost last: "{", "[", and "k" for a key's string


def json_step(state: JsonState, byte: int) -> JsonState | None:
    """The state after one more byte of JSON, or None if no JSON goes on like this. The last state is ("end", "")."""
    mode, stack = state
    if byte in _BLANK and mode in _MAY_BE_BLANK:
        return f"{mode} ", stack
    mode = mode.rstrip()
    if mode in _NUMBERS:
        return _number(mode, stack, byte)
    if mode in _UTF8:
        after, first, last = _UTF8[mode]
        return (after, stack) if first <= byte <= last else None
    if mode == "string":
        return _string(stack, byte)
    if mode.startswith(("escape", "hex")):
        return _escape(mode, stack, byte)
    if mode.startswith("word "):
        rest = mode[5:]
        if byte != ord(rest[0]):
            return None
        return (f"word {rest[1:]}", stack) if rest[1:] else ("after", stack)
    return _between(mode, stack, byte)


def _between(mode: str, stack: str, byte: int) -> JsonState | None:
    """Outside of strings, numbers and words."""
    character = chr(byte)
    if character in "}]" and mode in ("after", "first_key" if character == "}" else "first_item"):
        return _closed(stack, "{" if character == "}" else "[")
    if mode == "after" and character == ",":
        return ("key" if stack[-1] == "{" else "value"), stack
    if mode in ("first_key", "key"):
        return ("string", stack + "k") if character == '"' else None
    if mode == "colon":
        return ("value", stack) if character == ":" else None
    if mode == "object":
        return ("first_key", "{") if character == "{" else None
    return _value(stack, byte) if mode in ("value", "first_item") else None


def _closed(stack: str, opened: str) -> JsonState | None:
    if stack[-1] != opened:
        return None
    return ("after", stack[:-1]) if stack[:-1] else ("end", "")


def _value(stack: str, byte: int) -> JsonState | None:
    character = chr(byte)
    if character in "{[":
        return ("first_key" if character == "{" else "first_item", stack + character) if len(stack) < DEEPEST else None
    if character == '"':
        return "string", stack
    if byte in _WORDS:
        return f"word {_WORDS[byte]}", stack
    if character == "-":
        return "minus", stack
    return _number("minus", stack, byte)


def _number(mode: str, stack: str, byte: int) -> JsonState | None:
    for characters, after in _NUMBERS[mode]:
        if byte in characters:
            return after, stack
    return json_step(("after", stack), byte) if mode in _MAY_END else None


def _string(stack: str, byte: int) -> JsonState | None:
    if byte == ord('"'):
        return ("colon", stack[:-1]) if stack[-1] == "k" else ("after", stack)
    if byte == ord("\\"):
        return "escape", stack
    if byte < 0x80:
        return ("string", stack) if byte >= 0x20 else None
    special = {0xE0: "u2low", 0xED: "u2high", 0xF0: "u3low", 0xF4: "u3high"}
    for first, last, mode in ((0xC2, 0xDF, "u1"), (0xE0, 0xEF, "u2"), (0xF0, 0xF4, "u3")):
        if first <= byte <= last:
            return special.get(byte, mode), stack
    return None


def _escape(mode: str, stack: str, byte: int) -> JsonState | None:
    """After a backslash; "hexd" is \\ud, which must not go on to a surrogate."""
    if mode == "escape":
        if byte == ord("u"):
            return "hex4", stack
        return ("string", stack) if byte in b'"\\/bfnrt' else None
    if byte not in _HEX or (mode == "hexd" and byte not in b"01234567"):
        return None
    if mode == "hex4" and byte in b"dD":
        return "hexd", stack
    return {"hex4": "hex3", "hex3": "hex2", "hexd": "hex2", "hex2": "hex1", "hex1": "string"}[mode], stack


class Token(NamedTuple):
    """A part of a grammar: one control token."""

    id: int


Literal = tuple[bytes, ...]  # a part of a grammar: one of these texts, none of which begins another
Part = Token | Literal | str  # "json": one JSON object
State = tuple[int, JsonState | Literal]  # in which part; where in it


class Grammar:
    """Parts in order, and then the end of the answer.

    >>> grammar = Grammar([(b"yes: ", b"no: "), "json"])
    >>> grammar.accepts(b'no: {"why": [1, true]}'), grammar.accepts(b"no: [1]")
    (True, False)
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = tuple(parts)
        self.start = self.enter(0)

    def enter(self, index: int) -> State:
        """The state at the beginning of part ``index``; one past the last is the end."""
        part = self.parts[index] if index < len(self.parts) else ()
        return index, OBJECT if isinstance(part, str) else () if isinstance(part, Token) else part

    def step(self, state: State, byte: int) -> State | None:
        """The state after one more byte, or None if that cannot be."""
        index, inner = state
        if index == len(self.parts) or isinstance(self.parts[index], Token):
            return None
        if isinstance(self.parts[index], str):
            after = json_step(cast(JsonState, inner), byte)
            return after and (self.enter(index + 1) if after[0] == "end" else (index, after))
        left = tuple(text[1:] for text in cast(Literal, inner) if text[0] == byte)
        if not left:
            return None
        return self.enter(index + 1) if b"" in left else (index, left)

    def read(self, state: State | None, data: bytes) -> State | None:
        """The state after several bytes."""
        for byte in data:
            state = state and self.step(state, byte)
        return state

    def accepts(self, data: bytes) -> bool:
        """Whether ``data`` is a whole answer (of a grammar without control tokens)."""
        return self.read(self.start, data) == self.enter(len(self.parts))


JSON_OBJECT = Grammar(["json"])


class _Node:
    """A place in the tree of all tokens' bytes."""

    __slots__ = ("children", "ids")

    def __init__(self) -> None:
        self.children: dict[int, _Node] = {}
        self.ids: list[int] = []  # tokens that end here


class Vocabulary:
    """A tokenizer's tokens as a tree, and which of them each state of a grammar allows; one serves many answers.

    Raises GenerationError if a single byte has no token: a grammar could then lead to a place without a way on.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer, self.size = tokenizer, tokenizer.vocab_size
        self.root = _Node()
        for token in set(range(self.size)) - tokenizer.control_ids:
            node = self.root
            for byte in tokenizer.token_bytes(token):
                node = node.children.setdefault(byte, _Node())
            node.ids.append(token)
        missing = [byte for byte in range(256) if byte not in self.root.children or not self.root.children[byte].ids]
        if missing:
            raise GenerationError(f"the tokenizer has no token for the byte {missing[0]}: its answers cannot be forced")
        self._masks: dict[tuple[tuple[Part, ...], State], Tensor] = {}

    def mask(self, grammar: Grammar, state: State, end_ids: Iterable[int]) -> Tensor:
        """(vocab,) bool: True where a token may come next."""
        key = grammar.parts, state
        if key not in self._masks:
            if len(self._masks) >= KEPT_MASKS:
                del self._masks[next(iter(self._masks))]
            allowed = torch.zeros(self.size, dtype=torch.bool)
            allowed[self._allowed(grammar, state, end_ids)] = True
            self._masks[key] = allowed
        return self._masks[key]

    def _allowed(self, grammar: Grammar, state: State, end_ids: Iterable[int]) -> list[int]:
        index = state[0]
        if index == len(grammar.parts):
            return list(end_ids)
        part = grammar.parts[index]
        if isinstance(part, Token):
            return [part.id]
        found: list[int] = []
        waiting = [(self.root, state)]
        while waiting:
            node, here = waiting.pop()
            for byte, child in node.children.items():
                after = grammar.step(here, byte)
                if after is not None:
                    found += child.ids
                    waiting.append((child, after))
        return found


class Constraint:
    """An adjustment (see ``generation.adjust``) that lets one answer follow a grammar, and then end."""

    def __init__(self, vocabulary: Vocabulary, grammar: Grammar) -> None:
        tokenizer = vocabulary.tokenizer
        self.vocabulary, self.grammar, self.state = vocabulary, grammar, grammar.start
        self.end_ids = (tokenizer.eos_id, tokenizer.end_of_text_id)
        self.seen: int | None = None  # tokens read so far

    def __call__(self, logits: Tensor, tokens: Sequence[int]) -> Tensor:
        for token in tokens[len(tokens) if self.seen is None else self.seen :]:
            self._read(token)
        self.seen = len(tokens)
        mask = self.vocabulary.mask(self.grammar, self.state, self.end_ids)
        return logits.masked_fill(~mask.to(logits.device), -math.inf)

    def _read(self, token: int) -> None:
        index = self.state[0]
        if index < len(self.grammar.parts) and self.grammar.parts[index] == (token,):
            self.state = self.grammar.enter(index + 1)
            return
        after = self.grammar.read(self.state, self.vocabulary.tokenizer.token_bytes(token))
        if after is None:
            raise GenerationError(f"token {token} does not fit the grammar: was the mask not used?")
        self.state = after
