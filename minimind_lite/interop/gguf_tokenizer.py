"""The tokenizer inside a GGUF file: byte-level BPE from its lists of tokens and merges."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers

from minimind_lite.tokenizer import SPLITS, Tokenizer
from minimind_lite.tokenizer.foreign_template import render_foreign
from minimind_lite.tokenizer.tokenizer import BEFORE_CHATML, CHATML

# llama.cpp's types of tokens; text is never merged into control and user-defined ones
NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5
_GPT2 = pre_tokenizers.ByteLevel(add_prefix_space=False)
_CUTS: dict[str, list[pre_tokenizers.PreTokenizer]] = {  # llama.cpp's names for the ways text is split before merging
    "gpt-2": [_GPT2],
    "smollm": [pre_tokenizers.Digits(individual_digits=True), _GPT2],
    "deepseek-coder": [
        *(pre_tokenizers.Split(Regex(split), "isolated") for split in SPLITS),  # ours
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ],
}
_PUBLISHED = "[一-龥ࠀ-一가-퟿]+"  # DeepSeek-Coder's pattern; llama.cpp takes wide spaces out of it


def build_tokenizer(get: Callable[[str], Any]) -> Tokenizer:
    """A Tokenizer from the metadata that ``get(key)`` returns (None if a key is missing).

    Raises ValueError, naming the field, for another kind of tokenizer or a chat template that is not ChatML.
    """
    kind, cut = get("tokenizer.ggml.model"), get("tokenizer.ggml.pre")
    if kind != "gpt2":
        raise ValueError(f"tokenizer.ggml.model is {kind!r}; only byte-level BPE ('gpt2') can be read here")
    if not isinstance(cut, str) or cut not in _CUTS:
        raise ValueError(f"tokenizer.ggml.pre is {cut!r}; the splits known here are {', '.join(_CUTS)}")
    tokens, merges = _texts(get, "tokenizer.ggml.tokens"), _texts(get, "tokenizer.ggml.merges")
    broken = next((merge for merge in merges if merge.count(" ") != 1), None)
    if broken is not None:
        raise ValueError(f"tokenizer.ggml.merges holds {broken[:40]!r}, which is not two tokens with a space between")
    vocab = {token: index for index, token in enumerate(tokens)}
    pairs = [(left, right) for left, right in (merge.split(" ") for merge in merges)]
    try:
        backend = tokenizers.Tokenizer(models.BPE(vocab, pairs))
    except Exception as error:  # the library raises bare Exception
        raise ValueError(f"tokenizer.ggml.merges do not fit tokenizer.ggml.tokens: {error}") from error
    backend.pre_tokenizer = pre_tokenizers.Sequence(_CUTS[cut])
    backend.decoder = decoders.ByteLevel()
    types = get("tokenizer.ggml.token_type") or []
    if not isinstance(types, list):
        raise ValueError(f"tokenizer.ggml.token_type is {types!r}, not a list of numbers")
    for token, token_type in zip(tokens, types, strict=False):
        if token_type in (CONTROL, USER_DEFINED):
            backend.add_tokens([AddedToken(token, special=token_type == CONTROL, normalized=False)])
    return _with_template(backend, get)


def cut_name(pre_tokenizer: Mapping[str, Any] | None) -> str:
    """llama.cpp's name for the cuts that a tokenizer.json describes. Raises ValueError if none of those known is it."""

    def plain(described: Mapping[str, Any] | None) -> list[dict[str, Any]]:
        parts = described.get("pretokenizers", [described]) if described else []
        return [_current({name: value for name, value in part.items() if name != "trim_offsets"}) for part in parts]

    for name, cuts in _CUTS.items():
        whole = tokenizers.Tokenizer(models.BPE())
        whole.pre_tokenizer = pre_tokenizers.Sequence(cuts)
        if plain(json.loads(whole.to_str())["pre_tokenizer"]) == plain(pre_tokenizer):
            return name
    raise ValueError(f"llama.cpp has no name for how this tokenizer cuts text; those known here are {', '.join(_CUTS)}")


def _current(part: dict[str, Any]) -> dict[str, Any]:
    """A cut; DeepSeek-Coder's as published, and as in our tokenizers of old, in the form that llama.cpp computes."""
    return part | {"pattern": {"Regex": SPLITS[3]}} if part.get("pattern") == {"Regex": _PUBLISHED} else part


class _NotChatML(ValueError):
    """A template that writes one question otherwise than ours does; ``text`` is what it writes."""

    def __init__(self, text: str) -> None:
        super().__init__(f"tokenizer.chat_template is not ChatML: one question becomes {text[:200]!r}")
        self.text = text


def _with_template(backend: tokenizers.Tokenizer, get: Callable[[str], Any]) -> Tokenizer:
    """The tokenizer with the chat template of the file: as ours with its system text, or kept if it says more."""
    template = get("tokenizer.chat_template")
    try:
        return Tokenizer(backend, default_system=_default_system(template))
    except _NotChatML as error:
        pad, start, end = next((names for names in (CHATML, BEFORE_CHATML) if names[1] in error.text), CHATML)
        if f"{start}assistant\n" not in error.text:
            raise
    described = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": start, "eos_token": end, "pad_token": pad,
                 "unk_token": pad, "clean_up_tokenization_spaces": False, "chat_template": template}  # fmt: skip
    files = {"tokenizer.json": backend.to_str(pretty=True), "tokenizer_config.json": json.dumps(described, indent=2)}
    return Tokenizer(backend, template=template, files=files)


def _texts(get: Callable[[str], Any], key: str) -> list[str]:
    """The list of strings called ``key``, which must be there."""
    value = get(key)
    if not value:
        raise ValueError(f"{key} is missing; convert the model again")
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"{key} is not a list of strings; convert the model again")
    return value


def _default_system(template: object) -> str | None:
    """The system text that a ChatML template adds to a conversation without one; None if it adds nothing.

    Found by rendering one question with it, within limits: a template is a program, and this one is not trusted.
    """
    if template is None:
        return None
    if not isinstance(template, str):
        raise ValueError(f"tokenizer.chat_template is a {type(template).__name__}, not text")
    question = [{"role": "user", "content": "Q"}]
    try:
        text = render_foreign(template, {"messages": question, "add_generation_prompt": True})
    except ValueError as error:
        raise ValueError(f"tokenizer.chat_template cannot be rendered: {error}") from error
    system = r"(?:<\|im_start\|>system\n(.*?)<\|im_end\|>\n)?"
    turns = r"<\|im_start\|>user\nQ<\|im_end\|>\n<\|im_start\|>assistant\n"
    match = re.fullmatch(system + turns, text, re.DOTALL)
    if match is None:
        raise _NotChatML(text)
    return match[1]
