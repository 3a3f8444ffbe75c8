"""The tokenizer that every stage uses: byte-level BPE and ChatML, in Hugging Face's files.

Only the chat template writes control tokens. Text is encoded by a twin of the tokenizer that has no special tokens at
all, so what a user or a record says can never open or close a turn.
"""

import hashlib
import json
import operator
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, SupportsIndex

import tokenizers

from minimind_lite.files import read_json, write_text
from minimind_lite.tokenizer.byte_bpe import MAX_TOKEN_BYTES, byte_alphabet, train_byte_bpe, without_special_tokens
from minimind_lite.tokenizer.chat_template import (
    END_OF_TEXT,
    OWN_TEMPLATE,
    TURN_END,
    TURN_START,
    Message,
    Piece,
    conversation_pieces,
    jinja_template,
    tokenizer_config,
)
from minimind_lite.tokenizer.kept_template import CONFIG, FILES, TEMPLATE, KeptTemplate

CHATML = (END_OF_TEXT, TURN_START, TURN_END)
BEFORE_CHATML = ("<unk>", "<s>", "</s>")  # the same three in MiniMind's tokenizers before April 2025
_BYTE_OF = byte_alphabet()
_CHARACTER_OF = {byte: character for character, byte in _BYTE_OF.items()}


def _as_id(token: SupportsIndex) -> int:
    """A token id as a plain int; integers of numpy and torch are taken too, everything else is a ValueError."""
    try:
        return operator.index(token)
    except TypeError:
        raise ValueError(
            f"a token id must be an integer, not {type(token).__name__} {str(token)[:40]}: ids are one row (1-d)"
        ) from None


@dataclass(frozen=True)
class Rendered:
    """A conversation as tokens: ``loss_mask`` is 1 where the token is a training target; equal lengths."""

    ids: list[int]
    loss_mask: list[int]


class Tokenizer:
    """A byte-level BPE tokenizer with ChatML.

    >>> tokenizer = Tokenizer.train(["low lower lowest 你好"] * 2, vocab_size=300)
    >>> tokenizer.decode(tokenizer.encode("你好, lowest!"))
    '你好, lowest!'
    """

    def __init__(
        self,
        backend: tokenizers.Tokenizer,
        default_system: str | None = None,
        template: str | None = None,
        files: Mapping[str, str] | None = None,
    ) -> None:
        """template: a chat template of others, in Jinja; files: those it came in, by name, to be written back."""
        self.backend = backend
        self.default_system = default_system  # a system turn for conversations that have none
        state = json.loads(backend.to_str())
        if (state["decoder"] or {}).get("type") != "ByteLevel":
            raise ValueError("this is not a byte-level BPE tokenizer: its tokens cannot be turned back into bytes")
        self._specials = {token["content"]: token["id"] for token in state["added_tokens"]}
        older = template is not None and all(name in self._specials for name in BEFORE_CHATML)
        pad, start, end = BEFORE_CHATML if older else CHATML
        for name in (pad, start, end):
            if name not in self._specials:
                raise ValueError(f"the tokenizer has no special token {name}, which ChatML needs")
        self.control_ids = frozenset(self._specials.values())  # control tokens and tags: never produced from text
        self._hidden = {token["id"] for token in state["added_tokens"] if token["special"]}
        self.end_of_text_id = self.pad_id = self._specials[pad]
        self.bos_id, self.eos_id = self._specials[start], self._specials[end]
        self._plain = without_special_tokens(state)
        self.template = (
            None if template is None else KeptTemplate(template, files or {}, start, end, tuple(self._specials))
        )

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        vocab_size: int,
        max_token_bytes: int = MAX_TOKEN_BYTES,
        default_system: str | None = None,
    ) -> "Tokenizer":
        """Learn merges from a stream of texts; `train_byte_bpe` explains the settings."""
        return cls(train_byte_bpe(texts, vocab_size, max_token_bytes), default_system)

    @classmethod
    def load(cls, path: str | Path, default_system: str | None = None) -> "Tokenizer":
        """Read a folder with `tokenizer.json` (and perhaps `tokenizer_config.json`), or a `tokenizer.json` itself.

        A chat template that is not ours is kept, and rules how conversations are written.
        default_system: for folders that do not name one.
        Raises FileNotFoundError, or ValueError for a file that is not a byte-level BPE tokenizer with ChatML's tokens.
        """
        file = Path(path) / "tokenizer.json" if Path(path).is_dir() else Path(path)
        if not file.is_file():
            raise FileNotFoundError(f"{file} does not exist; give a folder with tokenizer.json, or the file itself")
        config_file = file.with_name("tokenizer_config.json")
        config: dict[str, Any] = read_json(config_file) if config_file.is_file() else {}
        system = config.get("default_system", default_system)
        if system is not None and not isinstance(system, str):
            raise ValueError(f"{config_file}: default_system must be text or null, not {type(system).__name__}")
        try:
            read_json(file)  # says where it is broken; the library below would not, and may recurse into it
            backend = tokenizers.Tokenizer.from_str(file.read_text(encoding="utf-8-sig"))
            template, files = _kept(file.parent, config)
            return cls(backend, system, template, files)
        except Exception as error:  # the library raises bare Exception
            raise ValueError(f"{file.parent} does not hold a readable tokenizer: {error}") from error
        except BaseException as error:  # a panic in Rust is a BaseException of its own
            if type(error).__name__ != "PanicException":
                raise
            raise ValueError(f"{file.parent} does not hold a readable tokenizer: {error}") from error

    def save(self, folder: str | Path) -> None:
        """Write `tokenizer.json` and `tokenizer_config.json`, for transformers' AutoTokenizer, each all or nothing.

        With a chat template of others, its files are written as they were read.
        """
        if self.template is not None:
            for name, content in self.template.files.items():
                write_text(Path(folder) / name, content)
            return
        text = json.dumps(tokenizer_config(self.default_system), ensure_ascii=False, indent=2)
        write_text(Path(folder) / CONFIG, text + "\n")
        write_text(Path(folder) / "tokenizer.json", self.backend.to_str(pretty=True) + "\n")

    def jinja(self) -> str:
        """The chat template as Jinja: the kept one, or ours."""
        return jinja_template(self.default_system) if self.template is None else self.template.template

    def encode(self, text: str) -> list[int]:
        """Token ids of ``text``, which is never parsed for special tokens."""
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """`encode` for many texts at once. Raises ValueError for a single str, which would be taken apart."""
        if isinstance(texts, str):
            raise ValueError("texts must be many texts, such as a list; this is one str: use encode(text)")
        try:
            encodings = self._plain.encode_batch_fast(list(texts), add_special_tokens=False)
        except TypeError as error:  # how the library rejects a lone surrogate
            raise ValueError(
                "a text to encode must be a str of whole characters (no half of a surrogate pair)"
            ) from error
        return [encoding.ids for encoding in encodings]

    def encode_bytes(self, data: bytes) -> list[int]:
        """Token ids of arbitrary bytes: a byte that belongs to no UTF-8 character becomes that byte's own token."""
        ids: list[int] = []
        for run in re.findall("[\udc80-\udcff]|[^\udc80-\udcff]+", data.decode("utf-8", errors="surrogateescape")):
            stray = ord(run[0]) - 0xDC00  # surrogateescape hides a stray byte b in the character U+DC00 + b
            ids += [self._vocabulary[_CHARACTER_OF[stray]]] if 0x80 <= stray <= 0xFF else self.encode(run)
        return ids

    def decode(self, ids: Iterable[SupportsIndex], skip_special_tokens: bool = False) -> str:
        """Text of ``ids``; bytes that do not form a whole character become U+FFFD.

        skip_special_tokens: leave out ChatML's and spare tokens; think, answer and tool tags stay: they are content.
        """
        if isinstance(ids, str | bytes):
            raise ValueError(f"ids must be token ids, not {type(ids).__name__}: decode turns ids into text")
        kept = (token for token in map(_as_id, ids) if not (skip_special_tokens and token in self._hidden))
        return b"".join(map(self.token_bytes, kept)).decode("utf-8", errors="replace")

    def token_bytes(self, token_id: SupportsIndex) -> bytes:
        """The exact bytes of one token; a Chinese character may span several tokens."""
        try:
            return self._bytes[_as_id(token_id)]
        except KeyError:
            raise ValueError(f"token id {token_id} is not in the vocabulary: 0..{self.vocab_size - 1}") from None

    def token_label(self, token_id: SupportsIndex) -> str:
        """One token in readable form, for figures: ``␣the``, ``湖``, ``\\n``, ``<0xE6>`` for a byte of a character."""
        text = self.token_bytes(token_id).decode("utf-8", errors="surrogateescape")
        text = text.replace(" ", "␣").replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
        return re.sub("[\udc80-\udcff\x00-\x1f\x7f]", lambda byte: f"<0x{ord(byte[0]) & 0xFF:02X}>", text)

    def render(
        self,
        messages: Sequence[Message],
        add_generation_prompt: bool = False,
        thinking: bool | None = None,
        continue_final_message: bool = False,
        tools: Sequence[Mapping[str, Any]] | str | None = None,
    ) -> Rendered:
        """A conversation as token ids and a loss mask: 1 on what the assistant says, <|im_end|> included.

        add_generation_prompt: open an assistant's turn at the end, for the model to continue.
        thinking: in that turn, True opens a think block, False writes an empty one, None leaves it to the model. A
        message whose ``reasoning_content`` is "" shows in training what False asks for: that block is not a target.
        continue_final_message: leave the last assistant turn unfinished, without <|im_end|>.
        tools: functions the model may call, written as if the system turn held them; one is made if there is none.
        Raises ValueError, naming the message, for an unknown role, content that is not text, or unreadable tools.
        """
        write = conversation_pieces if self.template is None else self.template.pieces
        pieces = write(messages, add_generation_prompt, thinking, continue_final_message, self.default_system, tools)
        ids: list[int] = []
        loss_mask: list[int] = []
        for piece, tokens in zip(pieces, self._encode_pieces(pieces), strict=True):
            ids += tokens
            loss_mask += [int(piece.trained)] * len(tokens)
        return Rendered(ids, loss_mask)

    def _encode_pieces(self, pieces: Sequence[Piece]) -> list[list[int]]:
        """Ids of each piece; a tag that this tokenizer has no token for (MiniMind2's) is written as text."""
        control = [self._specials.get(piece.text) if piece.control else None for piece in pieces]
        texts = iter(self.encode_batch([p.text for p, token in zip(pieces, control, strict=True) if token is None]))
        return [next(texts) if token is None else [token] for token in control]

    def tag_ids(self, tag: str) -> list[int]:
        """The tokens of a tag in an assistant's turn: one of its own, or the pieces of its text (MiniMind2's)."""
        return [self._specials[tag]] if tag in self._specials else self.encode(tag)

    def control_id(self, text: str) -> int | None:
        """The id of a control token or tag, such as ``<think>``; None if this tokenizer has no such token."""
        return self._specials.get(text)

    @property
    def vocab_size(self) -> int:
        """Number of entries, special tokens included."""
        return len(self._vocabulary)

    @cached_property
    def fingerprint(self) -> str:
        """Hex SHA-256 of the tokenizer; stores and checkpoints record it to detect a different one."""
        kept = "" if self.template is None else self.template.identity
        return hashlib.sha256((self.backend.to_str() + kept).encode("utf-8")).hexdigest()

    @cached_property
    def _vocabulary(self) -> dict[str, int]:
        return self.backend.get_vocab(with_added_tokens=True)

    @cached_property
    def _bytes(self) -> dict[int, bytes]:
        return {
            token_id: token.encode("utf-8")
            if token in self._specials or not set(token) <= _BYTE_OF.keys()
            else bytes(_BYTE_OF[character] for character in token)
            for token, token_id in self._vocabulary.items()
        }


def _kept(folder: Path, config: Mapping[str, Any]) -> tuple[str | None, dict[str, str]]:
    """A folder's chat template, if it is not ours, and the files to keep with it; (None, {}) otherwise."""
    alone = folder / TEMPLATE
    template = alone.read_text(encoding="utf-8") if alone.is_file() else config.get("chat_template")
    if isinstance(template, list):  # several, by name
        template = next((one.get("template") for one in template if one.get("name") == "default"), None)
    system = config.get("default_system")
    if not isinstance(template, str) or template == (OWN_TEMPLATE if system is None else jinja_template(system)):
        return None, {}
    there = [name for name in FILES if (folder / name).is_file()]
    return template, {name: (folder / name).read_text(encoding="utf-8-sig") for name in there}
