"""A GGUF file of ours in llama.cpp, through the C interface that llama-cpp-python wraps.

The package builds llama.cpp from its source, which takes minutes, so nothing requires it: pip install '.[llama-cpp]',
with CMAKE_ARGS=-DLLAVA_BUILD=OFF in the environment to leave out what reads pictures.
Where it has to be exact, keys and values are kept in float32, as ours are, and attention is the plain one: llama.cpp's
defaults, float16 there and flash attention, move the logits of our small models in the third decimal.
"""

import ctypes
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from minimind_lite.data.records import read_records
from minimind_lite.files import repository_root
from minimind_lite.interop.gguf_export import GGUFType, export_gguf
from minimind_lite.model.transformer import Transformer
from minimind_lite.tokenizer import Tokenizer

ERRORS = 4  # of llama.cpp's levels of messages
Tokens = list[list[int]]


def has_llama_cpp() -> bool:
    """Whether llama-cpp-python is installed."""
    return find_spec("llama_cpp") is not None


@cache
def _library() -> tuple[Any, Any]:
    """llama_cpp, told to report errors only; and that function, which must not be collected."""
    import llama_cpp

    @llama_cpp.llama_log_callback
    def errors_only(level: int, text: bytes, _: object) -> None:
        if level == ERRORS:
            print(text.decode("utf-8", errors="replace"), end="")

    llama_cpp.llama_log_set(errors_only, ctypes.c_void_p(0))
    return llama_cpp, errors_only


def built_for() -> str:
    """Which of the processor's instructions llama.cpp was built for, in its own words."""
    said: str = _library()[0].llama_print_system_info().decode()
    return said.strip(" |")


class GGUFPeer:
    """A file opened by llama.cpp, with room for ``rows`` texts of ``context`` tokens each."""

    def __init__(self, path: str | Path, context: int, rows: int = 1, threads: int = 1, exact: bool = True) -> None:
        self.library, _ = _library()
        reading = self.library.llama_model_default_params()
        reading.use_mmap = False  # the file may go
        self.model = self.library.llama_model_load_from_file(str(path).encode(), reading)
        if not self.model:
            raise ValueError(f"llama.cpp cannot open {path}")
        wanted = self.library.llama_context_default_params()
        wanted.n_ctx = wanted.n_batch = context * rows
        wanted.n_seq_max = rows
        wanted.n_threads = wanted.n_threads_batch = threads
        if exact:
            wanted.type_k = wanted.type_v = self.library.GGML_TYPE_F32
            wanted.flash_attn_type = self.library.LLAMA_FLASH_ATTN_TYPE_DISABLED
        self.context = self.library.llama_init_from_model(self.model, wanted)
        if not self.context:
            raise ValueError(f"llama.cpp has no room for {rows} texts of {context} tokens of {path}")
        self.vocab = self.library.llama_model_get_vocab(self.model)
        self.vocab_size = int(self.library.llama_vocab_n_tokens(self.vocab))
        self.batch = self.library.llama_batch_init(context * rows, 0, 1)

    def close(self) -> None:
        """Free what llama.cpp holds."""
        self.library.llama_batch_free(self.batch)
        self.library.llama_free(self.context)
        self.library.llama_model_free(self.model)

    def encode(self, text: str, control: bool = False) -> list[int]:
        """Token ids of ``text``; control: the text of a control token becomes that token."""
        raw = text.encode()
        ids = (ctypes.c_int32 * (len(raw) + 8))()
        count = self.library.llama_tokenize(self.vocab, raw, len(raw), ids, len(ids), False, control)
        return list(ids[:count])

    def render(self, messages: Sequence[Mapping[str, str]]) -> str:
        """A conversation with an assistant's turn opened, in the layout that llama.cpp sees in the template."""
        turns = [(one["role"].encode(), one["content"].encode()) for one in messages]
        chat = (self.library.llama_chat_message * len(turns))(*turns)
        template = self.library.llama_model_chat_template(self.model, None)
        room = ctypes.create_string_buffer(256 + 4 * sum(len(role) + len(content) + 32 for role, content in turns))
        size = self.library.llama_chat_apply_template(template, chat, len(turns), True, room, len(room))
        if not 0 <= size <= len(room):
            raise ValueError("llama.cpp does not know the layout of this chat template")
        return room.raw[:size].decode()

    def template(self) -> str:
        """The file's chat template, as llama.cpp read it."""
        said: bytes = self.library.llama_model_chat_template(self.model, None)
        return said.decode()

    def logits(self, ids: Sequence[int]) -> np.ndarray[Any, Any]:
        """(tokens, vocabulary): what follows each token of one text."""
        self._forget()
        self._read([(0, place, token, True) for place, token in enumerate(ids)])
        return np.stack([self._logits(place) for place in range(len(ids))])

    def greedy(self, prompts: Sequence[Sequence[int]], new: int) -> Tokens:
        """The likeliest ``new`` tokens after every prompt, all prompts at once."""
        self._forget()
        asked, last = [], []
        for row, prompt in enumerate(prompts):
            asked += [(row, place, token, place == len(prompt) - 1) for place, token in enumerate(prompt)]
            last.append(len(asked) - 1)
        made: Tokens = [[] for _ in prompts]
        for step in range(new):
            self._read(asked)
            for row, at in enumerate(last):
                made[row].append(int(self._logits(at).argmax()))
            asked = [(row, len(prompts[row]) + step, made[row][-1], True) for row in range(len(prompts))]
            last = list(range(len(prompts)))
        return made

    def _forget(self) -> None:
        self.library.llama_memory_clear(self.library.llama_get_memory(self.context), False)

    def _read(self, tokens: Sequence[tuple[int, int, int, bool]]) -> None:
        """Take in (row, place in the row, token, whether its logits are wanted)."""
        batch = self.batch
        batch.n_tokens = len(tokens)
        for at, (row, place, token, wanted) in enumerate(tokens):
            batch.token[at], batch.pos[at], batch.logits[at] = token, place, wanted
            batch.n_seq_id[at], batch.seq_id[at][0] = 1, row
        failed = self.library.llama_decode(self.context, batch)
        if failed:
            raise RuntimeError(f"llama_decode failed with {failed}")

    def _logits(self, at: int) -> np.ndarray[Any, Any]:
        """Of the token at this place of the last batch."""
        pointer = self.library.llama_get_logits_ith(self.context, at)
        return np.ctypeslib.as_array(pointer, (self.vocab_size,)).copy()


@cache
def tokenizer_of(entries: int) -> Tokenizer:
    """A tokenizer of so many tokens, trained on the course's texts."""
    texts = (one.text for one in read_records(repository_root() / "data_samples" / "pretrain", "text"))
    return Tokenizer.train(texts, entries)


def peer_of(model: Transformer, kind: GGUFType, context: int, rows: int, threads: int) -> GGUFPeer:
    """llama.cpp with the weights of ``model`` and a tokenizer of as many tokens as it has rows; exact if float32."""
    tokenizer = tokenizer_of(model.config.vocab_size)
    with tempfile.TemporaryDirectory() as folder:
        path = export_gguf(model, tokenizer, Path(folder) / "a.gguf", kind)[0]
        return GGUFPeer(path, context, rows, threads, exact=kind == "f32")
